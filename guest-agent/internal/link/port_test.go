package link

// The port's own behaviour (end of file, hang-up, opening again) is the driver's and is tested in a real machine; here: finding it, and that
// reads gather and writes finish.

import (
	"bytes"
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"
)

func pair(t *testing.T) (*Port, *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	port, err := newPort(os.NewFile(uintptr(fds[0]), "port"))
	if err != nil {
		t.Fatal(err)
	}
	host := os.NewFile(uintptr(fds[1]), "host")
	t.Cleanup(func() { _, _ = port.file.Close(), host.Close() })
	return port, host
}

func TestReadTakesAllThatHasArrivedAndThenTheEnd(t *testing.T) {
	port, host := pair(t)
	for range 10 {
		if _, err := host.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	_ = host.Close()
	b := make([]byte, 1<<20)
	if n, err := port.Read(b); n != 10_000 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if _, err := port.Read(b); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}

func TestWriteWaitsForRoom(t *testing.T) {
	port, host := pair(t)
	want := bytes.Repeat([]byte("0123456789"), 1<<20)
	done := make(chan error, 1)
	go func() {
		_, err := port.Write(want)
		done <- err
	}()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(host, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDeadlinesEndWaiting(t *testing.T) {
	port, _ := pair(t)
	_ = port.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := port.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
	go func() { _ = port.SetDeadline(time.Unix(1, 0)) }()
	if _, err := port.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestLeftoversOfAFormerHostAreThrownAway(t *testing.T) {
	port, host := pair(t)
	_, _ = host.Write([]byte("left over"))
	if err := port.AwaitHost(); err != nil {
		t.Fatal(err)
	}
	_, _ = host.Write([]byte("new"))
	b := make([]byte, 100)
	if n, err := port.Read(b); string(b[:n]) != "new" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

func TestPortIsFoundByItsName(t *testing.T) {
	class := t.TempDir()
	for device, name := range map[string]string{"vport0p1": "other\n", "vport1p1": "portico.agent\n"} {
		if err := errors.Join(os.Mkdir(class+"/"+device, 0o755), os.WriteFile(class+"/"+device+"/name", []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if device, err := find(class, "portico.agent"); device != "vport1p1" {
		t.Errorf("%q, %v", device, err)
	}
	if _, err := find(class, "nothing"); err == nil {
		t.Error("found what is not there")
	}
}
