package tunnel

// What a copy of a machine meets whose channel was open: its port goes on in the middle of a session, and another runner's flush comes first.

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"portico.dev/agent/internal/proto"
)

// lastPreamble reads until a preamble and a HELLO have come with nothing behind them, and gives back the preamble's 8 bytes.
func (p *peer) lastPreamble(seen []byte) []byte {
	p.t.Helper()
	for {
		chunk := make([]byte, 1<<17)
		n, err := p.conn.Read(chunk)
		if err != nil {
			p.t.Fatal(err)
		}
		seen = append(seen, chunk[:n]...)
		at := bytes.LastIndex(seen, []byte(proto.PreambleMark))
		if at < 0 || len(seen) < at+16 {
			continue
		}
		if frame, used, _ := proto.ReadFrame(seen[at+16:]); used > 0 && frame.Type == proto.TypeHello && at+16+used == len(seen) {
			return seen[at+8 : at+16]
		}
	}
}

func TestAFlushBeginsAnewAtAnyPointOfASession(t *testing.T) {
	for round := range 60 {
		agent, runner := socketPair(t)
		server := NewServer(proto.DefaultWindow)
		s := &subject{&peer{t: t, conn: runner}, server, make(chan error, 1)}
		_ = runner.SetDeadline(time.Now().Add(testLimit))
		done := make(chan struct{})
		go func() { // as serveSessions does
			defer close(done)
			for {
				if err := server.Serve(agent); err == io.EOF {
					return
				}
			}
		}()
		s.greet(proto.DefaultWindow)
		s.frame(proto.TypeOpen, 1, nil)
		stream := s.accept()
		go func() { _, _ = stream.Write(make([]byte, rand.IntN(400_000))) }()
		head := proto.AppendFrame(nil, proto.TypeData, 1, make([]byte, 1+rand.IntN(proto.MaxData)))
		s.send(head[:rand.IntN(len(head)+1)])
		go func() { _, _ = runner.Write(bytes.Repeat([]byte{0xff}, 65_552)) }()
		// The last of several preambles counts, and another may be on its way while an echo is: then it is answered, too.
		next := &peer{t: t, conn: runner}
		first := make([]byte, 1)
		for first[0] = proto.PreambleMark[0]; first[0] == proto.PreambleMark[0]; {
			next.send(next.lastPreamble(bytes.Clone(next.pending)))
			next.frame(proto.TypeHello, 0, []byte(`{"generation":1,"role":"runner","window":65536}`))
			next.frame(proto.TypePing, 0, []byte("12345678"))
			if _, err := io.ReadFull(runner, first); err != nil {
				t.Fatal(err)
			}
			next.pending = first
		}
		if frame := next.next(); frame.Type != proto.TypePong {
			t.Fatalf("round %d: it sent %v", round, frame)
		}
		select {
		case <-stream.Gone():
			t.Fatal("the caller counts as gone")
		default:
		}
		_ = runner.Close()
		<-done
		_ = agent.Close()
	}
}
