package http1

// A request that asks for another protocol, and the stream after the answer that grants it: raw bytes, each direction with an end of its own.

import (
	"io"
	"net/http"
	"strings"

	"portico.dev/agent/internal/proto"
)

// Raw is a stream whose protocol was switched.
type Raw interface {
	io.ReadWriter
	// CloseWrite sends END.
	CloseWrite() error
	// Reset ends both directions now, and tells the peer why.
	Reset(failure *proto.Failure)
	// Over waits until both directions have ended, and tells the fault that ended them, if one did.
	Over() error
}

// Asks tells whether a request asks for a protocol in place of HTTP.
func Asks(r *http.Request, protocol string) bool {
	return asksForAny(r.Header) && strings.EqualFold(r.Header.Get("Upgrade"), protocol)
}

// Switch answers 101 and gives the raw stream, which is the handler's until it returns. False where the stream can only carry HTTP.
func Switch(w http.ResponseWriter, r *http.Request, protocol string) (Raw, bool) {
	answer, ours := w.(*answer)
	if !ours {
		return nil, false
	}
	stream, raw := answer.stream.(Raw)
	if !raw || answer.status != 0 {
		return nil, false
	}
	answer.switched = true
	head := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"
	if _, err := io.WriteString(stream, head); err != nil {
		return nil, false
	}
	return &switched{Raw: stream, in: r.Body}, true
}

// switched reads what had come with the head first.
type switched struct {
	Raw
	in io.Reader
}

func (s *switched) Read(p []byte) (int, error) { return s.in.Read(p) }

func asksForAny(header http.Header) bool {
	if len(header["Upgrade"]) != 1 {
		return false
	}
	for _, line := range header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(name), "upgrade") {
				return true
			}
		}
	}
	return false
}

// rest is all that follows a head, to the end of the stream.
type rest struct {
	stream io.Reader
	first  []byte
}

func (r *rest) Read(p []byte) (int, error) {
	if len(r.first) == 0 {
		return r.stream.Read(p)
	}
	n := copy(p, r.first)
	r.first = r.first[n:]
	return n, nil
}

// Close does nothing: the stream takes care of what is not read.
func (r *rest) Close() error { return nil }
