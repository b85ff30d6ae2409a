package files

import (
	"net/http"
	"os"
	"strings"
	"syscall"

	"portico.dev/agent/internal/proto"
)

// mkdir is POST /files/mkdir. The mode is that of the last directory, and only if it was made.
func mkdir(r *http.Request) (any, *proto.Failure) {
	var wanted struct {
		named
		Parents bool   `json:"parents"`
		Mode    string `json:"mode"`
	}
	if failure := proto.ReadJSON(r, maxRequest, &wanted); failure != nil {
		return nil, failure
	}
	path, failure := wanted.path()
	if failure != nil {
		return nil, failure
	}
	mode, failure := modeOf(wanted.Mode)
	if failure != nil {
		return nil, failure
	}
	if err := makeFolder(path, wanted.Parents, mode); err != nil {
		return nil, failed(err, "make the directory", path)
	}
	return didTo(path), nil
}

// makeParents makes a directory and those above it. The folder ends in a slash, which would hide that a file is in the way.
func makeParents(folder string) error {
	if folder = strings.TrimRight(folder, "/"); folder == "" {
		return nil
	}
	return os.MkdirAll(folder, 0o755)
}

func makeFolder(path string, parents bool, mode *uint32) error {
	folder, _ := split(path)
	if parents {
		if status, err := os.Stat(path); err == nil && status.IsDir() {
			return nil
		}
		if err := makeParents(folder); err != nil {
			return err
		}
	}
	err := syscall.Mkdir(path, 0o755)
	if err == syscall.EEXIST && parents {
		if status, err := os.Stat(path); err == nil && status.IsDir() {
			return nil // made by somebody else meanwhile
		}
	}
	if err != nil || mode == nil {
		return err
	}
	return syscall.Chmod(path, *mode)
}
