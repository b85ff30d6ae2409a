package files

// What one path is: GET /files/stat and GET /files/exists. Both tell of a link itself.

import (
	"errors"
	"net/http"
	"os"
	"strconv"
	"syscall"

	"portico.dev/agent/internal/proto"
)

type described struct {
	Name          string `json:"name"`
	Path          string `json:"path"`
	PathBase64    string `json:"path_base64,omitempty"`
	Type          string `json:"type"`
	IsDir         bool   `json:"is_dir"`
	Size          int64  `json:"size"`
	Allocated     int64  `json:"allocated"`
	Permissions   string `json:"permissions"`
	ModifiedAt    string `json:"modified_at"`
	Owner         string `json:"owner"`
	Group         string `json:"group"`
	UID           uint32 `json:"uid"`
	GID           uint32 `json:"gid"`
	SymlinkTarget string `json:"symlink_target"`
}

func stat(r *http.Request) (any, *proto.Failure) {
	_, path, failure := query(r)
	if failure != nil {
		return nil, failure
	}
	what := "cannot look at " + quoted(path)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, proto.FailureOf(err, what)
	}
	status := info.Sys().(*syscall.Stat_t)
	_, name := split(path)
	if name == "" {
		name = "/"
	}
	accounts := accountNames{}
	d := described{
		Name: name, Path: path, PathBase64: inBase64(path), Type: kindOf(status.Mode), IsDir: info.IsDir(),
		Size: status.Size, Allocated: status.Blocks * 512, // what st_blocks counts in
		Permissions: strconv.FormatUint(uint64(status.Mode&0o7777), 8), ModifiedAt: momentOf(info.ModTime()),
		Owner: accounts.user(status.Uid), Group: accounts.group(status.Gid), UID: status.Uid, GID: status.Gid,
	}
	if d.Type == "symlink" {
		if d.SymlinkTarget, err = os.Readlink(path); err != nil {
			return nil, proto.FailureOf(err, what)
		}
	}
	return d, nil
}

func exists(r *http.Request) (any, *proto.Failure) {
	_, path, failure := query(r)
	if failure != nil {
		return nil, failure
	}
	var status syscall.Stat_t
	err := syscall.Lstat(path, &status)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR) {
		return map[string]any{"exists": false}, nil
	}
	if err != nil {
		return nil, proto.FailureOf(err, "cannot look at "+quoted(path))
	}
	return map[string]any{"exists": true, "entry_type": kindOf(status.Mode)}, nil
}
