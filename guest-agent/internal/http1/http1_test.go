package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"portico.dev/agent/internal/proto"
)

// pipe is a stream whose peer has sent all of its request, and that keeps what is answered.
type pipe struct {
	io.Reader
	answer bytes.Buffer
	writes int
	closed bool
	gone   chan struct{}
}

func (p *pipe) Write(b []byte) (int, error) {
	p.writes++
	return p.answer.Write(b)
}

func (p *pipe) Close() error {
	p.closed = true
	return nil
}

func (p *pipe) Gone() <-chan struct{} { return p.gone }

// exchange sends raw bytes to a handler, and gives back the stream after its end.
func exchange(t *testing.T, raw string, handler http.HandlerFunc) *pipe {
	t.Helper()
	p := &pipe{Reader: strings.NewReader(raw), gone: make(chan struct{})}
	Serve(p, handler)
	if !p.closed {
		t.Errorf("the stream of %.40q stays open", raw)
	}
	return p
}

// read reads an answer as a client does.
func (p *pipe) read(t *testing.T, method string) (*http.Response, string) {
	t.Helper()
	rest := bufio.NewReader(bytes.NewReader(p.answer.Bytes()))
	response, err := http.ReadResponse(rest, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%v in %q", err, p.answer.String())
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%v in %.200q", err, p.answer.String())
	}
	if left, _ := io.ReadAll(rest); len(left) > 0 {
		t.Errorf("after the answer comes %.40q", left)
	}
	return response, string(text)
}

func echo(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	_, _ = fmt.Fprintf(w, "%s %s %s %d %q %v", r.Method, r.URL.Path, r.URL.RawQuery, r.ContentLength, text, err)
}

func TestRequestsReachTheHandlerWhole(t *testing.T) {
	for raw, want := range map[string]string{
		"GET /health HTTP/1.1\r\nHost: a\r\n\r\n":                                                                `GET /health  0 "" <nil>`,
		"POST /x%20y?a=%2F HTTP/1.1\r\nhost:a\r\ncontent-LENGTH: 3 \r\n\r\nabcd":                                 `POST /x y a=%2F 3 "abc" <nil>`,
		"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n":    `PUT /  -1 "abcde" <nil>`,
		"POST /exec HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc":                                         `POST /exec  9 "abc" unexpected EOF`,
		"PUT /exec HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n":                        `PUT /exec  -1 "abc" unexpected EOF`,
		"PUT /exec HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX: " + strings.Repeat("x", 60<<10) + "\r\n\r\nab": `PUT /exec  0 "" <nil>`,
	} {
		for _, reader := range []io.Reader{strings.NewReader(raw), iotest.OneByteReader(strings.NewReader(raw))} {
			p := &pipe{Reader: reader}
			Serve(p, echo)
			if response, text := p.read(t, "GET"); response.StatusCode != 200 || text != want {
				t.Errorf("%.60q: %d %s, want %s", raw, response.StatusCode, text, want)
			}
		}
	}
}

func TestMalformedRequestsReachNoHandler(t *testing.T) {
	head := "POST /x HTTP/1.1\r\nHost: a\r\n"
	for _, raw := range []string{
		"GET /x HTTP/1.0\r\nHost: a\r\n\r\n", "GET /x\r\nHost: a\r\n\r\n", "G T /x HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n\r\n",
		"GET x HTTP/1.1\r\nHost: a\r\n\r\n", "GET  HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /x HTTP/1.1\r\n\r\n", head + "Host: b\r\n\r\n",
		head + "no colon\r\n\r\n", head + "A b: c\r\n\r\n", head + ": c\r\n\r\n", head + "A: b\r\n c\r\n\r\n", head + "A: b\nc\r\n\r\n", head + "A: b\x00\r\n\r\n",
		head + "Content-Length: -1\r\n\r\n", head + "Content-Length: +1\r\n\r\n", head + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
		head + "Content-Length: 0x1\r\n\r\n", head + "Content-Length:\r\n\r\n", head + "Content-Length: 9223372036854775808\r\n\r\n",
		head + "Transfer-Encoding: gzip\r\n\r\n", head + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
		head + "A: " + strings.Repeat("x", maxHead) + "\r\n\r\n",
	} {
		p := exchange(t, raw, func(http.ResponseWriter, *http.Request) { t.Errorf("%.60q reaches the handler", raw) })
		if response, text := p.read(t, "GET"); response.StatusCode != 400 || !strings.Contains(text, proto.CodeInvalidRequest) {
			t.Errorf("%.60q: %d %s", raw, response.StatusCode, text)
		}
	}
}

func TestStreamThatEndsBeforeItsRequestGetsNoAnswer(t *testing.T) {
	for _, raw := range []string{"", "GET /x HTTP/1.1\r\nHost: a\r\n"} {
		p := exchange(t, raw, func(http.ResponseWriter, *http.Request) { t.Errorf("%q reaches the handler", raw) })
		if p.answer.Len() > 0 {
			t.Errorf("%q: %q", raw, p.answer.String())
		}
	}
}

func TestBodyIsAskedForOnceItIsRead(t *testing.T) {
	raw := "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"
	if p := exchange(t, raw, echo); !strings.HasPrefix(p.answer.String(), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n") {
		t.Errorf("%q", p.answer.String())
	}
	if p := exchange(t, raw, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(409) }); strings.Contains(p.answer.String(), "100") {
		t.Errorf("%q", p.answer.String())
	}
}

const get = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"

func TestAnswersAreFramed(t *testing.T) {
	long := strings.Repeat("0123456789", 20<<10)
	for name, row := range map[string]struct {
		handler http.HandlerFunc
		status  int
		length  int64
		text    string
		writes  int
	}{
		"nothing": {func(http.ResponseWriter, *http.Request) {}, 200, 0, "", 1},
		"short": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(404)
			w.WriteHeader(500)
			_, _ = io.WriteString(w, "ab")
			_, _ = io.WriteString(w, "cd")
		}, 404, 4, "abcd", 1},
		"long": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "ab")
			_, _ = io.WriteString(w, long)
			_, _ = io.WriteString(w, "cd")
		}, 200, -1, "ab" + long + "cd", 3},
		"long, announced": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(long)))
			_, _ = io.Copy(w, strings.NewReader(long))
		}, 200, int64(len(long)), long, 5},
		"flushed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4")
			_, _ = io.WriteString(w, "ab")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "cd")
		}, 200, 4, "abcd", 2},
		"without a body": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotModified)
			if _, err := io.WriteString(w, "ab"); !errors.Is(err, http.ErrBodyNotAllowed) {
				t.Errorf("a body for a status without one: %v", err)
			}
		}, 304, 0, "", 1},
		"too much": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "ab")
			if _, err := io.WriteString(w, "c"); !errors.Is(err, http.ErrContentLength) {
				t.Errorf("more than was announced: %v", err)
			}
		}, 200, 2, "ab", 1},
	} {
		p := exchange(t, get, row.handler)
		response, text := p.read(t, "GET")
		if response.StatusCode != row.status || response.ContentLength != row.length || text != row.text || !response.Close {
			t.Errorf("%s: %d, %d bytes of %d, close %v", name, response.StatusCode, len(text), response.ContentLength, response.Close)
		}
		if p.writes > row.writes {
			t.Errorf("%s: %d writes", name, p.writes)
		}
	}
}

func TestHeadHasTheHeadersAndNoBody(t *testing.T) {
	for _, length := range []int{3, 3 * heldBack} {
		p := exchange(t, strings.Replace(get, "GET", "HEAD", 1), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(length))
			_, _ = w.Write(make([]byte, length))
		})
		if response, text := p.read(t, "HEAD"); response.ContentLength != int64(length) || text != "" {
			t.Errorf("%d, %q", response.ContentLength, text)
		}
	}
}

func TestHandlerThatPanicsLeavesTheAnswerUnfinished(t *testing.T) {
	p := exchange(t, get, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 2*heldBack))
		panic(http.ErrAbortHandler)
	})
	response, err := http.ReadResponse(bufio.NewReader(&p.answer), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(response.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the answer ends with %v", err)
	}
	p = exchange(t, get, func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	if p.answer.Len() > 0 {
		t.Errorf("%q", p.answer.String())
	}
}

func TestHandlersHearOfCallersThatLeave(t *testing.T) {
	p := &pipe{Reader: strings.NewReader(get), gone: make(chan struct{})}
	close(p.gone)
	Serve(p, func(_ http.ResponseWriter, r *http.Request) { <-CallerGone(r) })
}
