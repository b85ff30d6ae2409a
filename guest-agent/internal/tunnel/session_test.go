package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"portico.dev/agent/internal/proto"
	"portico.dev/agent/internal/proto/vectors"
)

func TestEchoVectors(t *testing.T) {
	for _, vector := range vectors.Load(t).Preamble.Agent {
		raw := vectors.Bytes(t, vector.Hex)
		nonce := vectors.Bytes(t, vector.Nonce)
		for _, most := range []int{len(raw) + 1, 5000, 3} {
			restarts := 0
			var finder *echoFinder
			finder = &echoFinder{onRestart: func(uint64) { restarts++ }}
			for _, b := range nonce {
				finder.nonce = finder.nonce<<8 | uint64(b)
			}
			var found bool
			var err error
			rest := raw
			for len(rest) > 0 && !found && err == nil {
				n := min(len(rest), 1+rand.IntN(most))
				var used int
				used, found, err = finder.push(rest[:n])
				rest = rest[used:]
			}
			if (err != nil) != (vector.Error != "") || err == nil && found == vector.Waiting {
				t.Errorf("%s: found %v, %v", vector.Name, found, err)
			}
			if found && !bytes.Equal(rest, vectors.Bytes(t, vector.Rest)) {
				t.Errorf("%s: %x is left", vector.Name, rest)
			}
			if vector.Restarts != nil && restarts != *vector.Restarts {
				t.Errorf("%s: %d restarts", vector.Name, restarts)
			}
		}
	}
}

func TestSessionVectors(t *testing.T) {
	for _, vector := range vectors.Load(t).Sessions {
		for _, chunk := range []int{0, 5} {
			t.Run(fmt.Sprintf("%s/%d", vector.Name, chunk), func(t *testing.T) {
				s := start(t, proto.MinWindow, proto.MinWindow)
				s.chunk = chunk
				s.send(vectors.Bytes(t, vector.Hex))
				if vector.Expect.ConnectionError {
					if err := s.endsWith(); err == nil || errors.Is(err, io.EOF) {
						t.Fatalf("ended with %v", err)
					}
					return
				}
				if vector.Expect.Paused {
					if frame := s.next(); frame.Type != proto.TypePaused {
						t.Fatalf("it sent %v", frame)
					}
					return
				}
				sent := s.ping()
				if len(sent) != len(vector.Expect.Resets) {
					t.Fatalf("it sent %v", sent)
				}
				for i, want := range vector.Expect.Resets {
					e, err := proto.ReadError(sent[i].Payload)
					if sent[i].Type != proto.TypeReset || sent[i].Stream != want.Stream || err != nil || e.Code != want.Code {
						t.Errorf("it sent %v", sent[i])
					}
				}
			})
		}
	}
}

func TestFlushWhileWaitingBringsANewPreamble(t *testing.T) {
	s := startRaw(t, proto.DefaultWindow)
	first := s.preamble()
	s.next()
	s.send(bytes.Repeat([]byte{0xff}, 65_552))
	second := s.preamble()
	if bytes.Equal(first, second) {
		t.Fatal("the same 8 bytes again")
	}
	s.next()
	s.send(second)
	s.frame(proto.TypeHello, 0, []byte(`{"generation":1,"role":"runner","window":65536}`))
	s.ping()
}

func TestFlushEndsASessionInTheMiddleOfAFrame(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.DefaultWindow)
	s.frame(proto.TypeOpen, 1, nil)
	s.send(proto.AppendHeader(nil, proto.TypeData, proto.MaxData, 1))
	go func() { _, _ = s.conn.Write(bytes.Repeat([]byte{0xff}, 65_552)) }()
	if err := s.endsWith(); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("ended with %v", err)
	}
}

func TestFrameBeforeHelloEndsTheSession(t *testing.T) {
	s := startRaw(t, proto.DefaultWindow)
	s.send(s.preamble())
	s.frame(proto.TypePing, 0, make([]byte, 8))
	if err := s.endsWith(); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("ended with %v", err)
	}
}

func TestOldGenerationIsToldAndLeft(t *testing.T) {
	s := startRaw(t, proto.DefaultWindow)
	s.send(s.preamble())
	s.next()
	s.frame(proto.TypeHello, 0, []byte(`{"generation":0,"role":"runner","window":65536}`))
	goaway := s.next()
	if e, err := proto.ReadError(goaway.Payload); goaway.Type != proto.TypeGoaway || err != nil || e.Code != proto.CodeVersionUnsupported {
		t.Fatalf("it sent %v", goaway)
	}
	if err := s.endsWith(); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("ended with %v", err)
	}
}

func TestNoHelloWithinTheLimit(t *testing.T) {
	server := NewServer(proto.DefaultWindow)
	if server.helloLimit != 10*time.Second {
		t.Errorf("the limit is %v", server.helloLimit)
	}
	server.helloLimit = 20 * time.Millisecond
	s := startServer(t, server)
	s.send(s.preamble())
	if err := s.endsWith(); !errors.Is(err, errNoHello) {
		t.Fatalf("ended with %v", err)
	}
}

func TestPeerThatLeavesEndsTheSessionAndItsStreams(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.DefaultWindow)
	s.frame(proto.TypeOpen, 1, nil)
	stream := s.accept()
	_ = s.conn.Close()
	if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, errDisconnected) {
		t.Errorf("read ends with %v", err)
	}
	if _, err := stream.Write([]byte("x")); !errors.Is(err, errDisconnected) {
		t.Errorf("write ends with %v", err)
	}
	if err := s.endsWith(); !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v", err)
	}
	select {
	case <-stream.Gone():
		t.Error("the caller counts as gone")
	default:
	}
}

func TestStreamsUpToTheLimit(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.DefaultWindow)
	var all []*Stream
	for i := range uint32(proto.MaxStreams) {
		s.frame(proto.TypeOpen, 1+2*i, nil)
		all = append(all, s.accept())
	}
	s.frame(proto.TypeOpen, 2*proto.MaxStreams+1, nil)
	reset := s.next()
	if e, err := proto.ReadError(reset.Payload); reset.Type != proto.TypeReset || err != nil || e.Code != proto.CodeTooManyStreams {
		t.Fatalf("it sent %v", reset)
	}
	s.frame(proto.TypeEnd, 1, nil)
	_ = all[0].Close()
	if frame := s.next(); frame.Type != proto.TypeOpen || frame.Stream != 1 {
		t.Fatalf("it sent %v", frame)
	}
	s.next()
	s.frame(proto.TypeOpen, 2*proto.MaxStreams+3, nil)
	if id := s.accept().id; id != 2*proto.MaxStreams+3 {
		t.Errorf("stream %d was accepted", id)
	}
}

func TestSlowReaderStopsOnlyItsOwnStream(t *testing.T) {
	s := start(t, proto.MinWindow, proto.DefaultWindow)
	s.frame(proto.TypeOpen, 1, nil)
	slow := s.accept()
	s.frame(proto.TypeData, 1, make([]byte, proto.MinWindow))
	s.frame(proto.TypeOpen, 3, nil)
	quick := s.accept()
	total := 40 * proto.MinWindow
	go func() {
		_, _ = io.CopyN(io.Discard, quick, int64(total))
		_ = quick.Close()
	}()
	credit, sent := proto.MinWindow, 0
	for sent < total {
		if credit > 0 {
			n := min(credit, 5000, total-sent)
			s.frame(proto.TypeData, 3, make([]byte, n))
			sent, credit = sent+n, credit-n
			continue
		}
		frame := s.next()
		if frame.Stream != 3 || frame.Type != proto.TypeCredit {
			t.Fatalf("it sent %v", frame)
		}
		credit += int(frame.Credit())
	}
	if n, err := io.ReadFull(slow, make([]byte, proto.MinWindow)); err != nil {
		t.Errorf("the slow reader got %d bytes, %v", n, err)
	}
}

func TestWriterWaitsForCredit(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.MinWindow)
	s.frame(proto.TypeOpen, 1, nil)
	stream := s.accept()
	done := make(chan error, 1)
	go func() {
		_, err := stream.Write(make([]byte, proto.MinWindow+10))
		done <- err
	}()
	if frame := s.next(); frame.Type != proto.TypeOpen {
		t.Fatalf("it sent %v", frame)
	}
	got := 0
	for got < proto.MinWindow {
		got += len(s.next().Payload)
	}
	if before := s.ping(); got != proto.MinWindow || len(before) != 0 {
		t.Fatalf("%d bytes without credit", got)
	}
	s.send(proto.AppendCredit(nil, 1, 10))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if rest := s.next(); len(rest.Payload) != 10 {
		t.Errorf("%d bytes for 10 of credit", len(rest.Payload))
	}
}

func TestHalfCloseKeepsTheAnswer(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.DefaultWindow)
	s.frame(proto.TypeOpen, 1, nil)
	s.frame(proto.TypeData, 1, []byte("question"))
	s.frame(proto.TypeEnd, 1, nil)
	stream := s.accept()
	question, err := io.ReadAll(stream)
	if err != nil || string(question) != "question" {
		t.Fatalf("%q, %v", question, err)
	}
	if _, err := stream.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	_ = stream.Close()
	var kinds []byte
	for range 3 {
		kinds = append(kinds, s.next().Type)
	}
	if !bytes.Equal(kinds, []byte{proto.TypeOpen, proto.TypeData, proto.TypeEnd}) {
		t.Errorf("it sent %v", kinds)
	}
	select {
	case <-stream.Gone():
		t.Error("the caller counts as gone")
	default:
	}
}

func TestClosedStreamLetsThePeerFinish(t *testing.T) {
	s := start(t, proto.MinWindow, proto.DefaultWindow)
	s.frame(proto.TypeOpen, 1, nil)
	_ = s.accept().Close()
	s.next()
	s.next()
	credit := proto.MinWindow
	for range 10 {
		s.frame(proto.TypeData, 1, make([]byte, proto.MinWindow/2))
		credit += int(s.next().Credit()) - proto.MinWindow/2
	}
	s.frame(proto.TypeEnd, 1, nil)
	s.ping()
	if credit != proto.MinWindow {
		t.Errorf("%d bytes of credit are left", credit)
	}
}

func TestResetReachesReaderWriterAndWatcher(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.MinWindow)
	s.frame(proto.TypeOpen, 1, nil)
	stream := s.accept()
	errs := make(chan error, 2)
	go func() {
		_, err := stream.Read(make([]byte, 1))
		errs <- err
	}()
	go func() {
		_, err := stream.Write(make([]byte, 2*proto.MinWindow))
		errs <- err
	}()
	for got := 0; got < proto.MinWindow; {
		got += len(s.next().Payload)
	}
	s.send(proto.AppendError(nil, proto.TypeReset, 1, proto.WireError{Code: proto.CodeCancelled, Message: "cannot go on"}))
	<-stream.Gone()
	for range 2 {
		var failure *proto.Failure
		if err := <-errs; !errors.As(err, &failure) || failure.Code != proto.CodeCancelled {
			t.Errorf("ended with %v", err)
		}
	}
}

func TestNothingIsReadAfterClose(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.MinWindow)
	s.frame(proto.TypeOpen, 1, nil)
	stream := s.accept()
	_ = stream.Close()
	if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("it ends with %v", err)
	}
}

func TestGoAwayRefusesNewStreamsAndLetsOpenOnesFinish(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.DefaultWindow)
	s.frame(proto.TypeOpen, 1, nil)
	stream := s.accept()
	s.server.GoAway(proto.WireError{Code: proto.CodeSandboxNotRunning, Message: "cannot take more: stopping"}, testLimit)
	if frame := s.next(); frame.Type != proto.TypeGoaway {
		t.Fatalf("it sent %v", frame)
	}
	s.frame(proto.TypeOpen, 3, nil)
	reset := s.next()
	if e, err := proto.ReadError(reset.Payload); reset.Type != proto.TypeReset || err != nil || e.Code != proto.CodeSandboxNotRunning {
		t.Fatalf("it sent %v", reset)
	}
	if _, err := stream.Write([]byte("still here")); err != nil {
		t.Error(err)
	}
}

func TestPeerThatAsksAndNeverReadsLosesTheSession(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.DefaultWindow)
	go func() {
		for range s.server.Listener.streams {
		}
	}()
	id := uint32(1)
	for range proto.MaxStreams {
		s.frame(proto.TypeOpen, id, nil)
		id += 2
	}
	go func() {
		for { // each is answered with too_many_streams
			if _, err := s.conn.Write(proto.AppendHeader(nil, proto.TypeOpen, 0, id)); err != nil {
				return
			}
			id += 2
		}
	}()
	if err := s.endsWith(); !errors.Is(err, errBacklog) {
		t.Errorf("ended with %v", err)
	}
}

func TestManyPingsLeaveOnePong(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.DefaultWindow)
	var pings []byte
	for i := range 200_000 {
		pings = proto.AppendFrame(pings, proto.TypePing, 0, fmt.Appendf(nil, "%08d", i))
	}
	s.send(pings)
	for {
		if pong := s.next(); string(pong.Payload) == "00199999" {
			return
		}
	}
}

func TestRandomBytesEndTheSessionOrWaitForMore(t *testing.T) {
	for range 200 {
		s := start(t, proto.MinWindow, proto.MinWindow)
		raw := make([]byte, 1+rand.IntN(300))
		for i := range raw {
			raw[i] = byte(rand.Uint32()) & byte(rand.Uint32())
		}
		s.chunk = 40
		s.conn.(*net.UnixConn).SetWriteBuffer(1 << 20)
		_, _ = s.conn.Write(raw)
		_ = s.conn.Close()
		_ = s.endsWith()
	}
}
