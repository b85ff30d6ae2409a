package http1

import (
	"io"
	"net/http"
	"strconv"
	"sync"
)

const (
	// heldBack is how much of an answer waits for the rest, so that a short one crosses whole and tells its length.
	heldBack = 2 << 10
	// copied is the block in which files are sent: what one frame holds.
	copied = 64 << 10
)

var blocks = sync.Pool{New: func() any { return new([copied]byte) }}

// answer is the http.ResponseWriter of one request. Handlers vouch for the text of their headers.
//
//	asked ──WriteHeader──▶ decided ──more than is held back, or Flush──▶ head sent ──finish──▶ whole
type answer struct {
	stream   io.Writer
	header   http.Header
	status   int
	headOnly bool
	length   int64 // what the handler has announced; negative if it has not
	written  int64
	headSent bool
	chunked  bool
	switched bool   // HTTP is over
	held     []byte // body that waits for the head
	fault    error
}

// Header is the answer's header, until its head is sent.
func (w *answer) Header() http.Header { return w.header }

// WriteHeader decides the status, once.
func (w *answer) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	if text := w.header.Get("Content-Length"); text != "" {
		if length, err := strconv.ParseInt(text, 10, 64); err == nil && length >= 0 {
			w.length = length
		} else {
			w.header.Del("Content-Length")
		}
	}
}

// Write sends a part of the body, or holds it back.
func (w *answer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	switch {
	case w.fault != nil:
		return 0, w.fault
	case w.switched || !w.hasBody():
		return 0, http.ErrBodyNotAllowed
	case w.length >= 0 && w.written+int64(len(p)) > w.length:
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	switch {
	case w.headOnly:
	case !w.headSent && len(w.held)+len(p) <= heldBack:
		w.held = append(w.held, p...)
	default:
		w.send(p)
	}
	if w.fault != nil {
		return 0, w.fault
	}
	return len(p), nil
}

// ReadFrom sends all that a reader has.
func (w *answer) ReadFrom(from io.Reader) (n int64, err error) {
	block := blocks.Get().(*[copied]byte)
	defer blocks.Put(block)
	return io.CopyBuffer(struct{ io.Writer }{w}, from, block[:])
}

// Flush sends what is held back.
func (w *answer) Flush() {
	w.WriteHeader(http.StatusOK)
	w.send(nil)
}

// finish sends what is left. An answer shorter than it was announced stays so, and its reader sees that.
func (w *answer) finish() {
	if w.switched {
		return
	}
	w.WriteHeader(http.StatusOK)
	if !w.headSent && w.length < 0 && w.hasBody() && !w.headOnly {
		w.length = w.written
		w.header["Content-Length"] = []string{strconv.FormatInt(w.length, 10)}
	}
	w.send(nil)
	if w.chunked && w.fault == nil {
		_, w.fault = io.WriteString(w.stream, "0\r\n\r\n")
	}
}

// hasBody tells whether an answer of this status has one.
func (w *answer) hasBody() bool {
	return w.status >= http.StatusOK && w.status != http.StatusNoContent && w.status != http.StatusNotModified
}

// send writes the head, if it is due, what was held back, and p.
func (w *answer) send(p []byte) {
	var out []byte
	if !w.headSent {
		out = w.appendHead(make([]byte, 0, 256+len(w.held)))
		w.headSent = true
	}
	if size := len(w.held) + len(p); w.chunked && size > 0 {
		out = append(strconv.AppendInt(out, int64(size), 16), "\r\n"...)
		out = append(append(append(out, w.held...), p...), "\r\n"...)
		p = nil
	} else {
		out = append(out, w.held...)
	}
	w.held = nil
	for _, part := range [2][]byte{out, p} {
		if len(part) > 0 && w.fault == nil {
			_, w.fault = w.stream.Write(part)
		}
	}
}

func (w *answer) appendHead(b []byte) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = append(strconv.AppendInt(b, int64(w.status), 10), ' ')
	b = append(append(b, http.StatusText(w.status)...), "\r\nConnection: close\r\n"...)
	for name, values := range w.header {
		for _, value := range values {
			b = append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
		}
	}
	if w.chunked = w.length < 0 && w.hasBody() && !w.headOnly; w.chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	return append(b, "\r\n"...)
}
