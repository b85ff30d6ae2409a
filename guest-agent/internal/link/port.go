// Package link is the virtio-serial port to the runner: a byte stream that the host opens and closes as it likes. The guest opens it once
// and keeps it:
//
//	no host ──the host opens──▶ host ──the host closes: reads end, end of file──▶ no host
//
// The guest may miss that the host closed and opened again at once; the sessions above tell that by themselves.
package link

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	openLimit = 10 * time.Second
	step      = 2 * time.Millisecond
	// maxLeftover is how much is thrown away at most before a session.
	maxLeftover = 4 << 20
)

// Port is the open port. At most one Read and one Write may be under way.
type Port struct {
	file  *os.File
	raw   syscall.RawConn
	ended bool // an end of file was seen and not yet told
}

// Open finds the port by the name that the host gave it and opens it. Both may take a moment while the driver starts.
func Open(name string) (*Port, error) {
	deadline := time.Now().Add(openLimit)
	for {
		port, err := open(name)
		if err == nil {
			return port, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("cannot open the channel %s: %w", name, err)
		}
		time.Sleep(step)
	}
}

func open(name string) (*Port, error) {
	device, err := find("/sys/class/virtio-ports", name)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Open("/dev/"+device, syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err // ENXIO until the host has announced it
	}
	return newPort(os.NewFile(uintptr(fd), device))
}

func newPort(file *os.File) (*Port, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Port{file: file, raw: raw}, nil
}

// find tells which device has the name.
func find(class, name string) (string, error) {
	files, err := filepath.Glob(class + "/*/name")
	if err != nil {
		return "", err
	}
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(text)) == name {
			return filepath.Base(filepath.Dir(file)), nil
		}
	}
	return "", errors.New("no port has this name")
}

// AwaitHost waits until the host has the port open, and throws away what a former host has left in it.
func (p *Port) AwaitHost() error {
	if err := p.file.SetDeadline(time.Time{}); err != nil {
		return err
	}
	err := p.raw.Write(func(fd uintptr) bool { return !hungUp(fd) })
	if err != nil {
		return err
	}
	p.ended = false
	return p.raw.Read(func(fd uintptr) bool {
		scrap := make([]byte, 4096)
		for seen := 0; seen < maxLeftover; {
			n, err := syscall.Read(int(fd), scrap)
			if n <= 0 || err != nil {
				break
			}
			seen += n
		}
		return true
	})
}

// Read takes all that has arrived, up to the length of b: the driver itself hands over a page at a time. io.EOF tells that the host has
// closed the port.
func (p *Port) Read(b []byte) (n int, err error) {
	if p.ended {
		p.ended = false
		return 0, io.EOF
	}
	waited := p.raw.Read(func(fd uintptr) bool {
		for n < len(b) {
			var got int
			got, err = syscall.Read(int(fd), b[n:])
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				break
			}
			if got == 0 {
				p.ended = true
				break
			}
			n += got
		}
		return n > 0 || p.ended || err != syscall.EAGAIN
	})
	switch {
	case n > 0:
		return n, nil
	case waited != nil:
		return 0, waited
	case p.ended:
		p.ended = false
		return 0, io.EOF
	}
	return 0, err
}

// Write hands bytes to the host.
func (p *Port) Write(b []byte) (written int, err error) {
	waited := p.raw.Write(func(fd uintptr) bool {
		for written < len(b) {
			var n int
			n, err = syscall.Write(int(fd), b[written:])
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				return err != syscall.EAGAIN
			}
			written += n
		}
		return true
	})
	if waited != nil {
		return written, waited
	}
	return written, err
}

// SetDeadline makes Read and Write fail from that time on.
func (p *Port) SetDeadline(at time.Time) error { return p.file.SetDeadline(at) }

// SetReadDeadline makes Read fail from that time on.
func (p *Port) SetReadDeadline(at time.Time) error { return p.file.SetReadDeadline(at) }

// hungUp tells whether the host has the port closed.
func hungUp(fd uintptr) bool {
	const pollHangUp = 0x10
	entry := struct {
		fd              int32
		events, happens int16
	}{fd: int32(fd)}
	var none syscall.Timespec
	_, _, number := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&entry)), 1, uintptr(unsafe.Pointer(&none)), 0, 0, 0)
	return number == 0 && entry.happens&pollHangUp != 0
}
