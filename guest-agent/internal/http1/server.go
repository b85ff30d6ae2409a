// Package http1 answers HTTP/1.1 on the streams of docs/protocol.md: one request on each, after which it ends. It hands the standard library's
// types to handlers, and does without its server, most of which is for connections that live on: on an emulated machine that was just restored,
// each part of a program that runs for the first time is translated first, and the user waits for it.
//
//	head ──▶ handler ──▶ answer whole, END        anything wrong with the head ──▶ its error, END
//	            └──panics──▶ END where the answer stands, so that nobody takes it for whole
package http1

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"

	"portico.dev/agent/internal/proto"
)

// Stream is what a request comes and its answer goes on. Closing it sends END, and lets the peer come to its own.
type Stream interface {
	io.ReadWriteCloser
	// Gone is closed when the caller has gone away.
	Gone() <-chan struct{}
}

type streamKey struct{}

// CallerGone tells when the caller of a request has left. The end of the request's body is no such thing.
func CallerGone(r *http.Request) <-chan struct{} {
	return r.Context().Value(streamKey{}).(Stream).Gone()
}

// Serve answers the one request of a stream and closes it.
func Serve(stream Stream, handler http.HandlerFunc) {
	defer func() { _ = stream.Close() }()
	defer contain()
	w := &answer{stream: stream, header: http.Header{}, length: -1}
	request, failure := readRequest(stream)
	switch {
	case failure == errNoRequest:
		return
	case failure != nil:
		proto.AnswerFailure(w, failure)
	default:
		w.headOnly = request.Method == http.MethodHead
		handler(w, request.WithContext(context.WithValue(context.Background(), streamKey{}, stream)))
	}
	w.finish()
}

// contain keeps a handler's panic from ending the agent.
func contain() {
	if fault := recover(); fault != nil && fault != http.ErrAbortHandler {
		_, _ = fmt.Fprintf(os.Stderr, "portico-agent: a request failed: %v\n%s", fault, debug.Stack())
	}
}
