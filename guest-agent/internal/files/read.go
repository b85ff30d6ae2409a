package files

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"

	"portico.dev/agent/internal/proto"
)

// Read is the handler of GET /files: the bytes of a regular file, or a range of them.
func Read(w http.ResponseWriter, r *http.Request) {
	_, path, failure := query(r)
	if failure == nil {
		failure = read(w, r, path)
	}
	if failure != nil {
		proto.AnswerFailure(w, failure)
	}
}

func read(w http.ResponseWriter, r *http.Request, path string) *proto.Failure {
	what := "cannot read " + quoted(path)
	// Non-blocking, as a named pipe would wait for a writer.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return proto.FailureOf(err, what)
	}
	defer func() { _ = file.Close() }()
	status, err := file.Stat()
	switch {
	case err != nil:
		return proto.FailureOf(err, what)
	case status.IsDir():
		return proto.Fail(proto.CodeIsDirectory, "%s: it is a directory", what)
	case !status.Mode().IsRegular():
		return proto.Fail(proto.CodeConflict, "%s: it is not a regular file", what)
	}
	w.Header()["Content-Type"] = []string{"application/octet-stream"}
	if status.Size() == 0 {
		return readUnsized(w, file, what)
	}
	if system, ok := status.Sys().(*syscall.Stat_t); ok {
		w.Header()["Etag"] = []string{etagOf(system)}
	}
	http.ServeContent(w, r, "", status.ModTime(), file)
	return nil
}

// etagOf tells one content from another, so that a range may be asked for under the condition that the rest is still of the same file.
func etagOf(status *syscall.Stat_t) string {
	return fmt.Sprintf(`"%x-%x-%x"`, status.Ino, status.Size, status.Mtim.Nano())
}

// readUnsized sends a file that tells no size: an empty one, or one of /proc.
func readUnsized(w http.ResponseWriter, file *os.File, what string) *proto.Failure {
	first := make([]byte, 4096)
	n, err := file.Read(first)
	if err != nil && err != io.EOF {
		return proto.FailureOf(err, what)
	}
	_, _ = w.Write(first[:n])
	if n > 0 {
		if _, err := io.Copy(w, file); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	return nil
}
