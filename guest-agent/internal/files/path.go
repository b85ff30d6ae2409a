// Package files serves the sandbox's files: read, write and list of docs/protocol.md. Each handler takes its path from the query and works
// on the tree that the agent itself stands in.
package files

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"portico.dev/agent/internal/proto"
)

// maxLinks is how many symbolic links in a row the kernel follows.
const maxLinks = 40

// query reads a request's parameters and its path, which must be absolute.
func query(r *http.Request) (url.Values, string, *proto.Failure) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, "", proto.Fail(proto.CodeInvalidRequest, "cannot read the request: its query is malformed")
	}
	path := values.Get("path")
	if !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) {
		return nil, "", proto.Fail(proto.CodeInvalidPath, "cannot use the path: it must be absolute and hold no zero byte")
	}
	return values, path, nil
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
		if !filepath.IsAbs(next) {
			// Not cleaned: the kernel resolves ".." after the links before it.
			next = filepath.Dir(path) + "/" + next
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
