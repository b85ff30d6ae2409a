package tunnel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"portico.dev/agent/internal/proto"
)

var mark = []byte("0123456789abcdef")

// next carrier: a peer that is offered the session with this mark, if any, and goes on with another, if any.
func (s *subject) again(t *testing.T, offered, resume string) *subject {
	t.Helper()
	next := startServer(t, s.server)
	nonce := next.preamble()
	var hello struct {
		Paused string `json:"paused"`
	}
	if frame := next.next(); frame.Type != proto.TypeHello || json.Unmarshal(frame.Payload, &hello) != nil || hello.Paused != offered {
		t.Fatalf("it said %s, want the mark %q", frame.Payload, offered)
	}
	next.send(nonce)
	extra := ""
	if resume != "" {
		extra = fmt.Sprintf(`,"resume":"%s"`, resume)
	}
	next.frame(proto.TypeHello, 0, fmt.Appendf(nil, `{"generation":1,"role":"runner","window":%d%s}`, proto.MinWindow, extra))
	return next
}

// pause pauses the session and closes its carrier; it gives back what came before PAUSED.
func (s *subject) pause() []proto.Frame {
	s.t.Helper()
	s.frame(proto.TypePause, 0, mark)
	var before []proto.Frame
	for {
		frame := s.next()
		if frame.Type == proto.TypePaused {
			break
		}
		before = append(before, frame)
	}
	_ = s.conn.Close()
	if err := s.endsWith(); !errors.Is(err, io.EOF) {
		s.t.Fatalf("ended with %v", err)
	}
	return before
}

func TestAPausedSessionGoesOn(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.MinWindow)
	s.frame(proto.TypeOpen, 1, nil)
	s.frame(proto.TypeData, 1, []byte("ask"))
	stream := s.accept()
	s.pause()
	go func() {
		_, _ = stream.Write([]byte("answer"))
		_ = stream.Close()
	}()
	next := s.again(t, proto.MarkName(mark), proto.MarkName(mark))
	next.frame(proto.TypeData, 1, []byte("ing"))
	next.frame(proto.TypeEnd, 1, nil)
	for _, want := range []string{"", "answer", ""} {
		if frame := next.next(); frame.Stream != 1 || string(frame.Payload) != want {
			t.Fatalf("it sent %v", frame)
		}
	}
	next.frame(proto.TypeOpen, 3, nil)
	next.ping()
	if err := next.server.holds(); err != "" {
		t.Errorf("it holds %s", err)
	}
}

func TestAPausedSessionIsForgottenByTheNext(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.MinWindow)
	s.frame(proto.TypeOpen, 1, nil)
	stream := s.accept()
	s.pause()
	next := s.again(t, proto.MarkName(mark), "")
	next.frame(proto.TypeOpen, 1, nil)
	next.ping()
	if _, err := stream.Read(make([]byte, 1)); !errors.Is(err, errDisconnected) {
		t.Errorf("read ends with %v", err)
	}
	select {
	case <-stream.Gone():
		t.Error("the caller counts as gone")
	default:
	}
	s.again(t, "", "").ping()
}

func TestAnotherMarkIsAConnectionError(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.MinWindow)
	s.pause()
	other := proto.MarkName(append([]byte("x"), mark[1:]...))
	if err := s.again(t, proto.MarkName(mark), other).endsWith(); err == nil || errors.Is(err, io.EOF) {
		t.Fatalf("ended with %v", err)
	}
	s.again(t, proto.MarkName(mark), proto.MarkName(mark)).ping()
}

func TestAnyByteEndsTheCarrierOfAPausedSession(t *testing.T) {
	s := start(t, proto.DefaultWindow, proto.MinWindow)
	s.frame(proto.TypePause, 0, mark)
	if frame := s.next(); frame.Type != proto.TypePaused {
		t.Fatalf("it sent %v", frame)
	}
	s.send([]byte{0xff})
	if err := s.endsWith(); !errors.Is(err, io.EOF) {
		t.Fatalf("ended with %v", err)
	}
	s.again(t, proto.MarkName(mark), proto.MarkName(mark)).ping()
}

func TestAPauseThatIsNotAnsweredHoldsNothing(t *testing.T) {
	s := start(t, proto.DefaultWindow, 4*proto.MinWindow<<4)
	s.frame(proto.TypeOpen, 1, nil)
	stream := s.accept()
	stuck := make(chan struct{})
	go func() {
		_, _ = stream.Write(make([]byte, 1<<20)) // more than the socket takes
		close(stuck)
	}()
	s.next()
	s.frame(proto.TypePause, 0, mark)
	_ = s.conn.Close()
	_ = s.endsWith()
	<-stuck
	s.again(t, "", "").ping()
}

// Bytes both ways on some streams, paused at random moments: none is lost, none comes twice.
func TestTrafficAcrossPauses(t *testing.T) {
	for round := range 20 {
		s := start(t, proto.MinWindow, proto.MinWindow)
		const streams, size = 3, 60_000
		sent := make([]byte, size)
		for i := range sent {
			sent[i] = byte(i % 251)
		}
		got, left, credit := map[uint32][]byte{}, map[uint32][]byte{}, map[uint32]int{}
		for i := range uint32(streams) {
			id := 2*i + 1
			s.frame(proto.TypeOpen, id, nil)
			left[id], credit[id] = sent, proto.MinWindow
			stream := s.accept()
			go func() {
				_, _ = io.Copy(stream, stream)
				_ = stream.Close()
			}()
		}
		take := func(frame proto.Frame) {
			switch frame.Type {
			case proto.TypeCredit:
				credit[frame.Stream] += int(frame.Credit())
			case proto.TypeData:
				got[frame.Stream] = append(got[frame.Stream], frame.Payload...)
				s.send(proto.AppendCredit(nil, frame.Stream, len(frame.Payload)))
			}
		}
		whole := func() bool {
			for i := range uint32(streams) {
				if len(got[2*i+1]) < size {
					return false
				}
			}
			return true
		}
		for !whole() {
			moved := false
			for id, rest := range left {
				if n := min(len(rest), credit[id], 1+rand.IntN(5000)); n > 0 {
					s.frame(proto.TypeData, id, rest[:n])
					left[id], credit[id], moved = rest[n:], credit[id]-n, true
				}
			}
			if rand.IntN(12) == 0 {
				var owed []proto.Frame
				for _, frame := range s.pause() {
					if frame.Type == proto.TypeData {
						got[frame.Stream] = append(got[frame.Stream], frame.Payload...)
						owed = append(owed, frame)
					} else {
						take(frame)
					}
				}
				s = s.again(t, proto.MarkName(mark), proto.MarkName(mark))
				for _, frame := range owed {
					s.send(proto.AppendCredit(nil, frame.Stream, len(frame.Payload)))
				}
			} else if !moved && !whole() {
				take(s.next())
			}
		}
		for id, bytesOf := range got {
			if !bytes.Equal(bytesOf, sent) {
				t.Fatalf("round %d: stream %d differs", round, id)
			}
		}
	}
}
