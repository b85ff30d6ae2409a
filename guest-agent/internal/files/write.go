package files

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"portico.dev/agent/internal/proto"
)

// temporaryPrefix begins the name of a file that is being written. It is in the folder of the file that it will replace.
const temporaryPrefix = ".portico-upload-"

// blocks are what bodies are copied through: a quarter of the greatest that a file system writes at once, and a whole window.
var blocks = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// Write is the handler of PUT /files: the body becomes the file in one step, or nothing changes. Parents are made.
func Write(w http.ResponseWriter, r *http.Request) {
	values, path, failure := query(r)
	var size int64
	if failure == nil {
		size, failure = write(r, values, path)
	}
	if failure != nil {
		proto.AnswerFailure(w, failure)
		return
	}
	proto.Answer(w, struct {
		Path string `json:"path"`
		Size int64  `json:"size"`
	}{path, size})
}

func write(r *http.Request, values url.Values, path string) (int64, *proto.Failure) {
	what := "cannot write " + quoted(path)
	mode, failure := modeOf(values)
	if failure != nil {
		return 0, failure
	}
	if strings.HasSuffix(path, "/") {
		return 0, proto.Fail(proto.CodeIsDirectory, "%s: it names a directory", what)
	}
	place, status, err := target(path)
	if err != nil {
		return 0, proto.FailureOf(err, what)
	}
	if status == nil {
		if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
			return 0, proto.FailureOf(err, what)
		}
		if mode == nil {
			usual := fs.FileMode(0o644)
			mode = &usual
		}
	} else if status.IsDir() {
		return 0, proto.Fail(proto.CodeIsDirectory, "%s: it is a directory", what)
	} else if !status.Mode().IsRegular() {
		return 0, proto.Fail(proto.CodeConflict, "%s: it is not a regular file", what)
	}
	size, err := replace(place, status, mode, r.Body)
	if err != nil {
		return 0, proto.FailureOf(err, what)
	}
	return size, nil
}

// modeOf reads the permission bits that the query asks for; nil if it asks for none.
func modeOf(values url.Values) (*fs.FileMode, *proto.Failure) {
	text := values.Get("mode")
	if text == "" {
		return nil, nil
	}
	bits, err := strconv.ParseUint(text, 8, 32)
	if err != nil || bits > 0o7777 {
		return nil, proto.Fail(proto.CodeInvalidRequest, "cannot write the file: mode must be octal, such as 0644")
	}
	mode := fs.FileMode(bits & 0o777)
	for bit, flag := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			mode |= flag
		}
	}
	return &mode, nil
}

// replace writes a body beside the place and moves it there. A body that breaks off, or a disk that is full, leaves nothing.
func replace(place string, before os.FileInfo, mode *fs.FileMode, body io.Reader) (size int64, err error) {
	temporary, err := createTemporary(filepath.Dir(place))
	if err != nil {
		return 0, err
	}
	defer func() {
		_ = temporary.Close()
		if err != nil {
			_ = os.Remove(temporary.Name())
		}
	}()
	if size, err = copyBody(temporary, body); err != nil {
		return 0, err
	}
	if before != nil {
		if owner, ok := before.Sys().(*syscall.Stat_t); ok {
			if err := temporary.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
				return 0, err
			}
		}
		if mode == nil {
			kept := before.Mode()
			mode = &kept
		}
	}
	if err := temporary.Chmod(*mode); err != nil {
		return 0, err
	}
	return size, os.Rename(temporary.Name(), place)
}

func createTemporary(folder string) (*os.File, error) {
	var random [8]byte
	_, _ = rand.Read(random[:])
	name := filepath.Join(folder, temporaryPrefix+hex.EncodeToString(random[:]))
	return os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func copyBody(file *os.File, body io.Reader) (size int64, err error) {
	block := blocks.Get().(*[256 << 10]byte)
	defer blocks.Put(block)
	for {
		n, err := body.Read(block[:])
		if n > 0 {
			if _, err := file.Write(block[:n]); err != nil {
				return size, err
			}
			size += int64(n)
		}
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, proto.Fail(proto.CodeCancelled, "cannot write the file: the upload broke off")
		}
	}
}
