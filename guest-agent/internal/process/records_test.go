package process

// The golden records of shared/vectors, which the other side reads and writes too.

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type goldenRecord struct {
	Name   string
	Hex    string
	Kind   string
	Offset int64
	Text   string
	Lost   uint64
}

func goldenRecords(t *testing.T) (tables struct{ Output, Input []goldenRecord }) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "vectors", "process-records.json"))
	if err == nil {
		err = json.Unmarshal(text, &tables)
	}
	if err != nil || len(tables.Output) == 0 || len(tables.Input) == 0 {
		t.Fatalf("cannot read the golden records: %v", err)
	}
	return tables
}

func TestOutputRecordsAreTheGoldenOnes(t *testing.T) {
	kinds := map[string]byte{"nothing": recordNothing, "stdout": byte(toStdout), "stderr": byte(toStderr), "end": recordEnd,
		"gap": recordGap, "mark": byte(toMark)}
	for _, golden := range goldenRecords(t).Output {
		payload := []byte(golden.Text)
		if golden.Kind == "gap" {
			payload = binary.BigEndian.AppendUint64(nil, golden.Lost)
		}
		kind, known := kinds[golden.Kind]
		answer := httptest.NewRecorder()
		sent := sendRecord(answer, make([]byte, outputHead), kind, golden.Offset, payload)
		if got := hex.EncodeToString(answer.Body.Bytes()); !known || !sent || got != golden.Hex {
			t.Errorf("%s: wrote %s, not %s", golden.Name, got, golden.Hex)
		}
	}
}

// Of the golden input a process takes its data, and the signal ends it.
func TestInputRecordsAreTheGoldenOnes(t *testing.T) {
	raw := map[string][]byte{}
	for _, golden := range goldenRecords(t).Input {
		b, err := hex.DecodeString(golden.Hex)
		if err != nil {
			t.Fatal(err)
		}
		raw[golden.Name] = b
	}
	k := keep(t)
	reading := k.start(map[string]any{"shell": "cat", "stdin_open": true})
	h := k.listen("POST", "/processes/attach?id="+reading.ID, bytes.NewReader(append(append(raw["data"], raw["no data"]...), raw["the end"]...))).all()
	if h.stdout.String() != "ls\n" || h.end == nil || h.end.ExitCode != 0 {
		t.Errorf("%q %+v", h.stdout.String(), h.end)
	}
	resized := k.start(map[string]any{"shell": "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.1; done", "tty": size{}})
	k.listen("GET", "/processes/output?id="+resized.ID, nil).until("ready")
	h = k.listen("POST", "/processes/attach?id="+resized.ID, bytes.NewReader(raw["a size"])).all()
	if !strings.Contains(h.stdout.String(), "40 120") {
		t.Errorf("%q", h.stdout.String())
	}
	signalled := k.start(map[string]any{"argv": []string{"sleep", "100"}})
	h = k.listen("POST", "/processes/attach?id="+signalled.ID, bytes.NewReader(raw["a signal"])).all()
	if h.end == nil || h.end.Signal != "SIGINT" {
		t.Errorf("%+v", h.end)
	}
}
