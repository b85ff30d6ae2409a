package tunnel

// A peer that speaks by hand, and a server under test on the other end of a socket.

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"portico.dev/agent/internal/http1"
	"portico.dev/agent/internal/proto"
)

const testLimit = 20 * time.Second

// peer is the runner's end. Frames are taken with next.
type peer struct {
	t       testing.TB
	conn    net.Conn
	pending []byte
	chunk   int // greatest piece of a write; 0 writes all at once
}

type subject struct {
	*peer
	server *Server
	ended  chan error
}

func socketPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := [2]net.Conn{}
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socket")
		if ends[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
	return ends[0], ends[1]
}

// start runs a session with HELLOs exchanged; the peer grants window.
func start(t testing.TB, ours, theirs int) *subject {
	t.Helper()
	s := startRaw(t, ours)
	s.greet(theirs)
	return s
}

func startRaw(t testing.TB, window int) *subject {
	t.Helper()
	return startServer(t, NewServer(window))
}

func startServer(t testing.TB, server *Server) *subject {
	t.Helper()
	agent, runner := socketPair(t)
	s := &subject{&peer{t: t, conn: runner}, server, make(chan error, 1)}
	_ = runner.SetDeadline(time.Now().Add(testLimit))
	go func() { s.ended <- s.server.Serve(agent) }()
	t.Cleanup(func() {
		_ = runner.Close()
		_ = s.server.Listener.Close()
		_ = agent.Close()
	})
	return s
}

func (p *peer) greet(window int) {
	p.t.Helper()
	nonce := p.preamble()
	if hello := p.next(); hello.Type != proto.TypeHello {
		p.t.Fatalf("a frame of type %d instead of the hello", hello.Type)
	}
	p.send(nonce)
	p.frame(proto.TypeHello, 0, fmt.Appendf(nil, `{"generation":1,"role":"runner","window":%d}`, window))
}

// preamble reads the agent's and answers with its 8 bytes.
func (p *peer) preamble() []byte {
	p.t.Helper()
	b := make([]byte, 16)
	if _, err := io.ReadFull(p.conn, b); err != nil || string(b[:8]) != proto.PreambleMark {
		p.t.Fatalf("no preamble: %x, %v", b, err)
	}
	return b[8:]
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	for len(b) > 0 {
		n := len(b)
		if p.chunk > 0 {
			n = min(n, 1+rand.IntN(p.chunk))
		}
		if _, err := p.conn.Write(b[:n]); err != nil {
			p.t.Fatal(err)
		}
		b = b[n:]
	}
}

func (p *peer) frame(kind byte, stream uint32, payload []byte) {
	p.t.Helper()
	p.send(proto.AppendFrame(nil, kind, stream, payload))
}

// next waits for the agent's next frame.
func (p *peer) next() proto.Frame {
	p.t.Helper()
	frame, err := p.tryNext()
	if err != nil {
		p.t.Fatal(err)
	}
	return frame
}

func (p *peer) tryNext() (proto.Frame, error) {
	for {
		frame, n, err := proto.ReadFrame(p.pending)
		if err != nil {
			return frame, err
		}
		if n > 0 {
			frame.Payload = bytes.Clone(frame.Payload)
			p.pending = p.pending[n:]
			return frame, nil
		}
		chunk := make([]byte, 1<<17)
		got, err := p.conn.Read(chunk)
		p.pending = append(p.pending, chunk[:got]...)
		if err != nil {
			return frame, err
		}
	}
}

// ping makes sure that all that was sent has been handled: it waits for the answer and gives back what came before it.
func (p *peer) ping() []proto.Frame {
	p.t.Helper()
	p.frame(proto.TypePing, 0, []byte("12345678"))
	var before []proto.Frame
	for {
		frame := p.next()
		if frame.Type == proto.TypePong {
			return before
		}
		before = append(before, frame)
	}
}

// accept waits for the server's next stream.
func (s *subject) accept() *Stream {
	s.t.Helper()
	stream, err := s.server.Listener.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	return stream
}

// answerWith answers the requests on all streams from now on.
func (s *subject) answerWith(handler http.HandlerFunc) {
	go func() {
		for {
			stream, err := s.server.Listener.Accept()
			if err != nil {
				return
			}
			go http1.Serve(stream, handler)
		}
	}()
}

func (s *subject) endsWith() error {
	s.t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(testLimit):
		s.t.Fatal("the session does not end")
		return nil
	}
}
