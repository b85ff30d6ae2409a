package tunnel

// Requests on streams, under random chunking and many at once.

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"

	"portico.dev/agent/internal/proto"
)

func TestManyRequestsAtOnceInAnyChunking(t *testing.T) {
	s := start(t, proto.MinWindow, proto.DefaultWindow)
	s.chunk = 3000
	s.answerWith(func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, _ := io.Copy(sum, r.Body)
		_, _ = fmt.Fprintf(w, "%d %x", n, sum.Sum(nil))
	})

	const calls = 100
	bodies, answers := map[uint32][]byte{}, map[uint32]*bytes.Buffer{}
	left, credit := map[uint32][]byte{}, map[uint32]int{}
	for i := range uint32(calls) {
		id := 2*i + 1
		body := bytes.Repeat([]byte{byte(i)}, rand.IntN(4*proto.MinWindow))
		request := fmt.Appendf(nil, "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", len(body))
		bodies[id], answers[id] = body, &bytes.Buffer{}
		left[id], credit[id] = append(request, body...), proto.MinWindow
		s.frame(proto.TypeOpen, id, nil)
	}
	for over := 0; over < calls; {
		waiting := true
		for id, rest := range left {
			n := min(len(rest), credit[id], 1+rand.IntN(9000))
			if n == 0 {
				continue
			}
			waiting = false
			s.frame(proto.TypeData, id, rest[:n])
			left[id], credit[id] = rest[n:], credit[id]-n
			if len(left[id]) == 0 {
				delete(left, id)
			}
		}
		for waiting && over < calls {
			frame := s.next()
			switch frame.Type {
			case proto.TypeCredit:
				credit[frame.Stream] += int(frame.Credit())
				waiting = left[frame.Stream] == nil
			case proto.TypeData:
				answers[frame.Stream].Write(frame.Payload)
			case proto.TypeEnd:
				over++
				s.frame(proto.TypeEnd, frame.Stream, nil)
			}
		}
	}
	for id, body := range bodies {
		response, err := http.ReadResponse(bufio.NewReader(answers[id]), nil)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		if want := fmt.Sprintf("%d %x", len(body), sha256.Sum256(body)); string(text) != want {
			t.Errorf("stream %d: %s, want %s", id, text, want)
		}
	}
	s.ping()
}

func BenchmarkRequests(b *testing.B) {
	s := start(b, proto.DefaultWindow, proto.DefaultWindow)
	s.answerWith(func(http.ResponseWriter, *http.Request) {})
	id := uint32(1)
	request := []byte("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		s.send(proto.AppendFrame(proto.AppendFrame(proto.AppendFrame(nil, proto.TypeOpen, id, nil), proto.TypeData, id, request), proto.TypeEnd, id, nil))
		for s.next().Type != proto.TypeEnd {
		}
		id += 2
	}
}
