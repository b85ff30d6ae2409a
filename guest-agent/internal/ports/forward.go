// Package ports leads to what listens inside the machine: GET /ports and POST /tcp of docs/protocol.md.
package ports

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"

	"portico.dev/agent/internal/http1"
	"portico.dev/agent/internal/proto"
)

const (
	dialLimit = 5 * time.Second
	pieceSize = 64 << 10
)

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// hosts are tried in this order: what is bound to one address of the machine alone is reached as well.
var hosts = []string{"127.0.0.1", "::1"}

// Forward is the handler of POST /tcp?port=N: the request's body goes to what listens there, and what comes back is the answer's. Each
// direction ends by itself. A connection that breaks breaks the answer off. Asked for an upgrade, it carries the bytes as they are (raw.go).
func Forward(gone func(*http.Request) <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		port, failure := portOf(r.URL.RawQuery)
		if failure != nil {
			proto.AnswerFailure(w, failure)
			return
		}
		conn, failure := dial(port)
		if failure != nil {
			proto.AnswerFailure(w, failure)
			return
		}
		defer func() { _ = conn.Close() }()
		if http1.Asks(r, protocol) {
			forwardRaw(w, r, conn)
			return
		}
		w.Header()["Content-Type"] = []string{"application/octet-stream"}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		over := make(chan struct{})
		defer close(over)
		go func() {
			select {
			case <-gone(r):
				_ = conn.Close()
			case <-over:
			}
		}()
		go send(conn, r.Body)
		if !receive(w, conn) {
			panic(http.ErrAbortHandler)
		}
	}
}

func portOf(query string) (int, *proto.Failure) {
	values, err := url.ParseQuery(query)
	port, wrong := strconv.Atoi(values.Get("port"))
	if err != nil || wrong != nil || port < 1 || port > 65535 {
		return 0, proto.Fail(proto.CodeInvalidRequest, "cannot reach the port: it must be 1 to 65535")
	}
	return port, nil
}

func dial(port int) (*net.TCPConn, *proto.Failure) {
	var refused error
	for _, host := range hosts {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, strconv.Itoa(port)), dialLimit)
		if err == nil {
			return conn.(*net.TCPConn), nil
		}
		if refused == nil {
			refused = err
		}
	}
	if errors.Is(refused, syscall.ECONNREFUSED) {
		return nil, proto.Fail(proto.CodePortClosed, "cannot reach port %d: nothing listens on it in the sandbox", port)
	}
	return nil, proto.Fail(proto.CodePortClosed, "cannot reach port %d: the program that listens on it does not answer", port)
}

// send passes the caller's bytes on, and their end. A body that breaks off breaks the connection.
func send(conn *net.TCPConn, from io.Reader) {
	piece := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(piece)
	if _, err := io.CopyBuffer(struct{ io.Writer }{conn}, from, piece[:]); err != nil {
		_ = conn.SetLinger(0)
		_ = conn.Close()
		return
	}
	_ = conn.CloseWrite()
}

// receive sends what comes as soon as it comes, and tells whether it came to its end.
func receive(w http.ResponseWriter, conn *net.TCPConn) bool {
	piece := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(piece)
	control := http.NewResponseController(w)
	for {
		n, err := conn.Read(piece[:])
		if n > 0 {
			if _, fault := w.Write(piece[:n]); fault != nil || control.Flush() != nil {
				return false
			}
		}
		if err != nil {
			return err == io.EOF
		}
	}
}
