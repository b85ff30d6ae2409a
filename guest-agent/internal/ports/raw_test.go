package ports

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"portico.dev/agent/internal/http1"
	"portico.dev/agent/internal/proto"
)

// stream is a tunnel's stream whose ends and fault can be seen: a TCP connection, and an order to reset it.
type stream struct {
	*net.TCPConn
	lost  chan error
	fault chan *proto.Failure
}

func (s *stream) Gone() <-chan struct{}        { return nil }
func (s *stream) Reset(failure *proto.Failure) { s.fault <- failure; _ = s.Close() }
func (s *stream) Over() error                  { return <-s.lost }

type caller struct {
	*net.TCPConn
	in     *bufio.Reader
	stream *stream
	served chan struct{}
}

// dialRaw asks for a port and gives what is answered.
func dialRaw(t *testing.T, port int, first string) (*caller, *http.Response) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	ours, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := &caller{TCPConn: ours.(*net.TCPConn), in: bufio.NewReader(ours), served: make(chan struct{})}
	c.stream = &stream{TCPConn: theirs.(*net.TCPConn), lost: make(chan error, 1), fault: make(chan *proto.Failure, 1)}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		defer close(c.served)
		http1.Serve(c.stream, Forward(http1.CallerGone))
	}()
	head := fmt.Sprintf("POST /tcp?port=%d HTTP/1.1\r\nHost: guest\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n%s", port, protocol, first)
	if _, err := io.WriteString(c, head); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(c.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, response
}

func TestUpgradedBytesGoBothWaysAsTheyAre(t *testing.T) {
	sent := make([]byte, 3_000_000)
	_, _ = rand.Read(sent)
	c, response := dialRaw(t, listen(t, "127.0.0.1", echo), string(sent[:1000]))
	if response.StatusCode != http.StatusSwitchingProtocols || response.Header.Get("Upgrade") != protocol {
		t.Fatal(response)
	}
	go func() {
		_, _ = c.Write(sent[1000:])
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c.in)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	c.stream.lost <- nil
	<-c.served
}

func TestUpgradedEndsAreOfOneDirectionEach(t *testing.T) {
	heard := make(chan string, 1)
	port := listen(t, "127.0.0.1", func(conn *net.TCPConn) {
		_, _ = conn.Write([]byte("bye"))
		_ = conn.CloseWrite()
		all, _ := io.ReadAll(conn)
		heard <- string(all)
	})
	c, _ := dialRaw(t, port, "")
	if text, err := io.ReadAll(c.in); err != nil || string(text) != "bye" {
		t.Fatal(err, string(text))
	}
	_, _ = io.WriteString(c, "after its end")
	_ = c.CloseWrite()
	if text := <-heard; text != "after its end" {
		t.Fatal(text)
	}
	c.stream.lost <- nil
	<-c.served
}

func TestUpgradedConnectionThatBreaksIsReset(t *testing.T) {
	port := listen(t, "127.0.0.1", func(conn *net.TCPConn) {
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.SetLinger(0)
		_ = conn.Close()
	})
	c, _ := dialRaw(t, port, "x")
	if failure := <-c.stream.fault; failure.Code != proto.CodeGuestError {
		t.Fatal(failure)
	}
	<-c.served
}

func TestCallerThatLeavesBreaksTheUpgradedConnection(t *testing.T) {
	ended := make(chan error, 1)
	port := listen(t, "127.0.0.1", func(conn *net.TCPConn) {
		_, err := io.ReadAll(conn) // the caller's end
		if err == nil {
			_, err = conn.Write(make([]byte, 1))
		}
		for err == nil {
			_, err = conn.Write(make([]byte, pieceSize))
		}
		ended <- err
	})
	c, _ := dialRaw(t, port, "")
	_ = c.CloseWrite()
	if _, err := c.in.ReadByte(); err != nil {
		t.Fatal(err)
	}
	c.stream.lost <- io.ErrClosedPipe
	if err := <-ended; err == nil {
		t.Fatal("it goes on")
	}
}

func TestUpgradeToNothingIsRefused(t *testing.T) {
	listener, _ := net.Listen("tcp", "127.0.0.1:0")
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	c, response := dialRaw(t, port, "")
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != proto.Status[proto.CodePortClosed] || !strings.Contains(string(text), proto.CodePortClosed) {
		t.Fatal(err, response, string(text))
	}
	<-c.served
}
