package files

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"portico.dev/agent/internal/proto"
)

// entry is one row of a listing.
type entry struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	Size       int64  `json:"size"`
	Mode       string `json:"mode"`
	ModifiedAt string `json:"modified_at"`
}

// List is the handler of GET /files/list: a directory's entries by name. Links are told, not followed.
func List(w http.ResponseWriter, r *http.Request) {
	_, path, failure := query(r)
	var entries []entry
	if failure == nil {
		entries, failure = list(path)
	}
	if failure != nil {
		proto.AnswerFailure(w, failure)
		return
	}
	proto.Answer(w, struct {
		Path    string  `json:"path"`
		Entries []entry `json:"entries"`
	}{path, entries})
}

func list(path string) ([]entry, *proto.Failure) {
	found, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, proto.FailureOf(err, "cannot list "+quoted(path))
	}
	entries := make([]entry, 0, len(found))
	for _, one := range found {
		status, err := one.Info()
		if err != nil {
			continue // it is gone again
		}
		entries = append(entries, entry{
			Name:       strings.ToValidUTF8(one.Name(), "\ufffd"),
			Type:       kindOf(status.Mode()),
			Size:       status.Size(),
			Mode:       fmt.Sprintf("%04o", bitsOf(status.Mode())),
			ModifiedAt: status.ModTime().UTC().Format("2006-01-02T15:04:05.000Z"),
		})
	}
	return entries, nil
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "file"
	case mode.IsDir():
		return "directory"
	case mode&fs.ModeSymlink != 0:
		return "symlink"
	}
	return "other"
}

// bitsOf are the 12 permission bits as stat tells them.
func bitsOf(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&flag != 0 {
			bits |= bit
		}
	}
	return bits
}
