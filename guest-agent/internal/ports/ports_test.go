package ports

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"portico.dev/agent/internal/proto"
)

func serve(t *testing.T) string {
	t.Helper()
	forward := Forward(func(r *http.Request) <-chan struct{} { return r.Context().Done() })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		forward(w, r)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

// listen runs a server of one connection.
func listen(t *testing.T, host string, handle func(*net.TCPConn)) int {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		if conn, err := listener.Accept(); err == nil {
			handle(conn.(*net.TCPConn))
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

func echo(conn *net.TCPConn) {
	_, _ = io.Copy(conn, conn)
	_ = conn.CloseWrite()
}

func TestBytesGoBothWaysToTheirEnds(t *testing.T) {
	for _, host := range hosts {
		port := listen(t, host, echo)
		sent := make([]byte, 3_000_000)
		_, _ = rand.Read(sent)
		response, err := http.Post(fmt.Sprintf("%s?port=%d", serve(t), port), "", bytes.NewReader(sent))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%s: %d bytes, %v", host, len(got), err)
		}
	}
}

func TestAnswerComesBeforeTheCallerHasEnded(t *testing.T) {
	port := listen(t, "127.0.0.1", func(conn *net.TCPConn) { _, _ = conn.Write([]byte("hello")); echo(conn) })
	body, feed := io.Pipe()
	response, err := http.Post(fmt.Sprintf("%s?port=%d", serve(t), port), "", body)
	if err != nil {
		t.Fatal(err)
	}
	piece := make([]byte, 5)
	if _, err := io.ReadFull(response.Body, piece); err != nil || string(piece) != "hello" {
		t.Fatal(err, string(piece))
	}
	_, _ = feed.Write([]byte("again"))
	if _, err := io.ReadFull(response.Body, piece); err != nil || string(piece) != "again" {
		t.Fatal(err, string(piece))
	}
	_ = feed.Close()
	if rest, err := io.ReadAll(response.Body); err != nil || len(rest) > 0 {
		t.Fatal(err, rest)
	}
}

func TestConnectionThatBreaksIsNoEnd(t *testing.T) {
	port := listen(t, "127.0.0.1", func(conn *net.TCPConn) {
		_, _ = conn.Write([]byte("half"))
		_ = conn.SetLinger(0)
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.Close()
	})
	response, err := http.Post(fmt.Sprintf("%s?port=%d", serve(t), port), "", bytes.NewReader([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Fatal("it looks whole")
	}
}

func TestNothingListening(t *testing.T) {
	free := listen(t, "127.0.0.1", echo)
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", free)) // takes the only connection
	if err == nil {
		_ = conn.Close()
	}
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	response, err := http.Post(fmt.Sprintf("%s?port=%d", serve(t), port), "", nil)
	if err != nil || response.StatusCode != proto.Status[proto.CodePortClosed] {
		t.Fatal(err, response)
	}
	for _, bad := range []string{"0", "65536", "x", ""} {
		if response, err := http.Post(serve(t)+"?port="+bad, "", nil); err != nil || response.StatusCode != 400 {
			t.Error(bad, err, response)
		}
	}
}

func TestListTellsPortAddressAndOwner(t *testing.T) {
	port := listen(t, "127.0.0.1", echo)
	for _, l := range listeners("/proc") {
		if l.Port == port {
			if l.Address != "127.0.0.1" || l.Pid != os.Getpid() || l.Command == "" {
				t.Errorf("%+v", l)
			}
			return
		}
	}
	t.Error("it is not listed")
}

func TestAddressesAreReadAsTheKernelWritesThem(t *testing.T) {
	for text, want := range map[string]string{"0100007F:1F90": "127.0.0.1 8080", "00000000000000000000000001000000:0050": "::1 80",
		"0000000000000000FFFF00000100007F:0016": "127.0.0.1 22"} {
		address, port, ok := parseAddress(text)
		if got := fmt.Sprint(address, " ", port); !ok || got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}
