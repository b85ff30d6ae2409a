package files

import (
	"net/http"
	"sync/atomic"
)

// handlers are the calls that may take long, and end early when their caller goes away.
type handlers struct {
	gone    func(*http.Request) <-chan struct{}
	watches atomic.Int32
}

// Routes are the routes of files. gone tells when the caller of a request has left.
func Routes(gone func(*http.Request) <-chan struct{}) map[string]map[string]http.HandlerFunc {
	h := &handlers{gone: gone}
	return map[string]map[string]http.HandlerFunc{
		"/files":         {"GET": Read, "HEAD": Read, "PUT": Write, "DELETE": answering(h.remove)},
		"/files/list":    {"GET": List},
		"/files/stat":    {"GET": answering(stat)},
		"/files/exists":  {"GET": answering(exists)},
		"/files/mkdir":   {"POST": answering(mkdir)},
		"/files/move":    {"POST": h.transfer("move", move)},
		"/files/copy":    {"POST": h.transfer("copy", copyTo)},
		"/files/chmod":   {"POST": answering(h.chmod)},
		"/files/chown":   {"POST": answering(h.chown)},
		"/files/search":  {"POST": answering(h.search)},
		"/files/watch":   {"GET": h.watch},
		"/files/archive": {"GET": h.pack, "PUT": answering(h.unpack)},
	}
}
