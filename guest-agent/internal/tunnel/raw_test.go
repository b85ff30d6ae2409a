package tunnel

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"portico.dev/agent/internal/http1"
	"portico.dev/agent/internal/proto"
)

const upgrade = "POST /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"

// startRawStream asks for a stream of raw bytes, with some behind the head.
func startRawStream(t *testing.T, first string, handle func(raw http1.Raw)) *subject {
	t.Helper()
	s := start(t, proto.MinWindow, proto.DefaultWindow)
	s.answerWith(func(w http.ResponseWriter, r *http.Request) {
		if raw, ok := http1.Switch(w, r, "raw"); ok {
			handle(raw)
		}
	})
	s.frame(proto.TypeOpen, 1, nil)
	s.frame(proto.TypeData, 1, []byte(upgrade+first))
	if frame := s.next(); frame.Type != proto.TypeOpen {
		t.Fatal(frame)
	}
	if frame := s.next(); !strings.HasPrefix(string(frame.Payload), "HTTP/1.1 101 ") {
		t.Fatal(string(frame.Payload))
	}
	return s
}

func TestRawStreamEndsEachDirectionByItself(t *testing.T) {
	over := make(chan error, 1)
	s := startRawStream(t, "first", func(raw http1.Raw) {
		_ = raw.CloseWrite()
		text, _ := io.ReadAll(raw)
		if string(text) != "first, second" {
			t.Errorf("%q", text)
		}
		over <- raw.Over()
	})
	if frame := s.next(); frame.Type != proto.TypeEnd {
		t.Fatal(frame)
	}
	s.frame(proto.TypeData, 1, []byte(", second"))
	s.frame(proto.TypeEnd, 1, nil)
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	s.ping()
}

func TestRawStreamTellsWhyItWasReset(t *testing.T) {
	s := startRawStream(t, "", func(raw http1.Raw) {
		raw.Reset(proto.Fail(proto.CodeGuestError, "cannot go on"))
		raw.Reset(proto.Fail(proto.CodeInternal, "cannot go on twice"))
	})
	frame := s.next()
	if e, err := proto.ReadError(frame.Payload); frame.Type != proto.TypeReset || err != nil || e.Code != proto.CodeGuestError {
		t.Fatal(frame, err)
	}
	if more := s.ping(); len(more) > 0 {
		t.Fatal(more)
	}
}

func TestRawStreamHearsOfALostSessionAfterItsPeersEnd(t *testing.T) {
	over := make(chan error, 1)
	s := startRawStream(t, "", func(raw http1.Raw) {
		_, _ = io.ReadAll(raw)
		over <- raw.Over()
	})
	s.frame(proto.TypeEnd, 1, nil)
	s.ping()
	_ = s.conn.Close()
	if err := <-over; err == nil {
		t.Fatal("it seems to be over in order")
	}
}
