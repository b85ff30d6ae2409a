// Package vectors reads shared/vectors/frames.json for the tests of proto and tunnel. No other code uses it.
package vectors

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Frame is what a decoder makes of some bytes; JSON, if there, stands for the payload.
type Frame struct {
	Type       int             `json:"type"`
	Stream     uint32          `json:"stream"`
	PayloadHex string          `json:"payloadHex"`
	JSON       json.RawMessage `json:"json"`
}

// Case is one row of any of the tables; each table fills its own fields.
type Case struct {
	Name     string  `json:"name"`
	Hex      string  `json:"hex"`
	Frames   []Frame `json:"frames"`
	Error    string  `json:"error"`
	Text     string  `json:"text"`
	Ok       bool    `json:"ok"`
	Code     string  `json:"code"`
	Message  string  `json:"message"`
	Nonce    string  `json:"nonce"`
	Rest     string  `json:"rest"`
	Waiting  bool    `json:"waiting"`
	Restarts *int    `json:"restarts"`
	Expect   struct {
		ConnectionError bool `json:"connectionError"`
		Paused          bool `json:"paused"`
		Resets          []struct {
			Stream uint32 `json:"stream"`
			Code   string `json:"code"`
		} `json:"resets"`
	} `json:"expect"`
}

// Tables is the whole file.
type Tables struct {
	Frames     []Case `json:"frames"`
	Bad        []Case `json:"bad"`
	Hellos     []Case `json:"hellos"`
	WireErrors []Case `json:"wireErrors"`
	Sessions   []Case `json:"sessions"`
	Preamble   struct {
		Agent []Case `json:"agent"`
	} `json:"preamble"`
}

// Load reads the file that PORTICO_VECTORS names, or the one beside the module.
func Load(t testing.TB) Tables {
	t.Helper()
	path := os.Getenv("PORTICO_VECTORS")
	if path == "" {
		path = filepath.Join(moduleFolder(t), "..", "shared", "vectors", "frames.json")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("cannot read the vectors: %v", err)
	}
	var tables Tables
	if err := json.Unmarshal(text, &tables); err != nil {
		t.Fatalf("cannot read the vectors: %v", err)
	}
	if len(tables.Frames) == 0 || len(tables.Bad) == 0 || len(tables.Sessions) == 0 || len(tables.Preamble.Agent) == 0 {
		t.Fatal("cannot read the vectors: a table is empty")
	}
	return tables
}

func moduleFolder(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; folder != "/"; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
	}
	t.Fatal("cannot find the module's folder")
	return ""
}

// Bytes reads groups of hex digits; bb*N is the byte bb N times over.
func Bytes(t testing.TB, text string) []byte {
	t.Helper()
	var all []byte
	for _, group := range strings.Fields(text) {
		digits, times, repeated := strings.Cut(group, "*")
		piece, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatalf("cannot read %q: %v", group, err)
		}
		count := 1
		if repeated {
			if count, err = strconv.Atoi(times); err != nil {
				t.Fatalf("cannot read %q: %v", group, err)
			}
		}
		for range count {
			all = append(all, piece...)
		}
	}
	return all
}
