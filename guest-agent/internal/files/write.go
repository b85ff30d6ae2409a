package files

import (
	"crypto/rand"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"os"
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
		Path       string `json:"path"`
		PathBase64 string `json:"path_base64,omitempty"`
		Size       int64  `json:"size"`
	}{path, inBase64(path), size})
}

func write(r *http.Request, values url.Values, path string) (int64, *proto.Failure) {
	what := "cannot write " + quoted(path)
	mode, failure := modeOf(values.Get("mode"))
	if failure != nil {
		return 0, failure
	}
	to, failure := ownerIn(values)
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
		folder, _ := split(place)
		if err := makeParents(folder); err != nil {
			return 0, proto.FailureOf(err, what)
		}
	} else if status.IsDir() {
		return 0, proto.Fail(proto.CodeIsDirectory, "%s: it is a directory", what)
	} else if !status.Mode().IsRegular() {
		return 0, proto.Fail(proto.CodeConflict, "%s: it is not a regular file", what)
	}
	size, err := replace(place, dressOf(status, mode, to), r.Body)
	if err != nil {
		return 0, proto.FailureOf(err, what)
	}
	return size, nil
}

// clothes are the mode and the owner that a file is to have.
type clothes struct {
	mode uint32
	owner
}

// dressOf are those that are asked for, else those of the file that is replaced, else the usual ones.
func dressOf(before os.FileInfo, mode *uint32, to owner) clothes {
	wanted := clothes{0o644, to}
	if before != nil {
		status := before.Sys().(*syscall.Stat_t)
		wanted.mode = status.Mode & 0o7777
		if to.uid == unchanged {
			wanted.uid = int(status.Uid)
		}
		if to.gid == unchanged {
			wanted.gid = int(status.Gid)
		}
	}
	if mode != nil {
		wanted.mode = *mode
	}
	return wanted
}

// replace writes a body beside the place and moves it there. A body that breaks off, or a disk that is full, leaves nothing.
func replace(place string, wanted clothes, body io.Reader) (size int64, err error) {
	folder, _ := split(place)
	temporary, err := createTemporary(folder)
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
	if wanted.asked() {
		if err := temporary.Chown(wanted.uid, wanted.gid); err != nil {
			return 0, err
		}
	}
	if err := syscall.Fchmod(int(temporary.Fd()), wanted.mode); err != nil {
		return 0, err
	}
	return size, os.Rename(temporary.Name(), place)
}

func createTemporary(folder string) (*os.File, error) {
	var random [8]byte
	_, _ = rand.Read(random[:])
	name := folder + temporaryPrefix + hex.EncodeToString(random[:])
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
