// Package files serves the sandbox's files: reading and writing, listing, changing, watching, packing and searching, as docs/protocol.md has
// it. Each handler works on the tree that the agent itself stands in. A path is any bytes but zero; one that is not UTF-8 comes and is told
// in base64.
package files

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"

	"portico.dev/agent/internal/proto"
)

// maxLinks is how many symbolic links in a row the kernel follows.
const maxLinks = 40

// query reads a request's parameters and its path.
func query(r *http.Request) (url.Values, string, *proto.Failure) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, "", proto.Fail(proto.CodeInvalidRequest, "cannot read the request: its query is malformed")
	}
	var plain, coded *string
	if values.Has("path") {
		text := values.Get("path")
		plain = &text
	}
	if values.Has("path_base64") {
		// A plus sign that was not escaped reads as a space.
		text := strings.ReplaceAll(values.Get("path_base64"), " ", "+")
		coded = &text
	}
	path, failure := pathOf(plain, coded, "path")
	return values, path, failure
}

// pathOf reads a path that was given in one of two ways. It must be absolute.
func pathOf(plain, coded *string, field string) (string, *proto.Failure) {
	var path string
	switch {
	case plain != nil && coded != nil:
		return "", proto.Fail(proto.CodeInvalidRequest, "cannot read the request: give either %s or %s_base64", field, field)
	case plain != nil:
		path = *plain
	case coded != nil:
		text := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(*coded), "=")
		bytes, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil {
			return "", proto.Fail(proto.CodeInvalidRequest, "cannot read the request: %s_base64 is not base64", field)
		}
		path = string(bytes)
	}
	if !strings.HasPrefix(path, "/") || strings.IndexByte(path, 0) >= 0 {
		return "", proto.Fail(proto.CodeInvalidPath, "cannot use the %s: it must be absolute and hold no zero byte", field)
	}
	return path, nil
}

// inBase64 tells bytes that are not UTF-8; it is empty for those that are.
func inBase64(text string) string {
	if utf8.ValidString(text) {
		return ""
	}
	return base64.StdEncoding.EncodeToString([]byte(text))
}

// flag reads a parameter that is true or false.
func flag(values url.Values, name string) (bool, *proto.Failure) {
	switch values.Get(name) {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	}
	return false, proto.Fail(proto.CodeInvalidRequest, "cannot read the request: %s must be true or false", name)
}

// split takes a path apart into its directory and its last name, without slashes at its end. Nothing else is cleaned, as the kernel resolves
// ".." after the links before it. The name of the root is empty.
func split(path string) (folder, name string) {
	path = strings.TrimRight(path, "/")
	at := strings.LastIndexByte(path, '/')
	if at < 0 {
		return "/", ""
	}
	return path[:at+1], path[at+1:]
}

// place is a name in an open directory, there or not.
type place struct {
	folder int
	name   string
	path   string
}

// openPlace finds where a path's last name is, and makes the directories above it if asked to.
func openPlace(path string, make bool) (*place, error) {
	folder, name := split(path)
	if name == "" || isDots([]byte(name)) {
		return nil, proto.Fail(proto.CodeInvalidPath, "cannot use %s: it must end in a name of its own", quoted(path))
	}
	if make {
		if err := makeParents(folder); err != nil {
			return nil, err
		}
	}
	fd, err := openAt(here, folder, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &place{fd, name, path}, nil
}

func (p *place) close() { _ = syscall.Close(p.folder) }

func (p *place) stat() (status syscall.Stat_t, err error) {
	err = statAt(p.folder, p.name, &status)
	if err == nil && strings.HasSuffix(p.path, "/") && status.Mode&syscall.S_IFMT != syscall.S_IFDIR && status.Mode&syscall.S_IFMT != syscall.S_IFLNK {
		err = syscall.ENOTDIR
	}
	return status, err
}

// target follows the symbolic links that a path ends in, as open would, also where the last one points at nothing yet. The status is nil if
// nothing is there.
func target(path string) (string, os.FileInfo, error) {
	for range maxLinks {
		status, err := os.Lstat(path)
		if os.IsNotExist(err) {
			return path, nil, nil
		}
		if err != nil {
			return path, nil, err
		}
		if status.Mode()&os.ModeSymlink == 0 {
			return path, status, nil
		}
		next, err := os.Readlink(path)
		if err != nil {
			return path, nil, err
		}
		if !strings.HasPrefix(next, "/") {
			folder, _ := split(path)
			next = folder + next
		}
		path = next
	}
	return path, nil, syscall.ELOOP
}

// quoted shortens a path for a message.
func quoted(path string) string {
	const most = 200
	if len(path) > most {
		return "…" + strings.ToValidUTF8(path[len(path)-most:], "")
	}
	return path
}
