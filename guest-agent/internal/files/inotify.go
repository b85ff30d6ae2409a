package files

// The kernel's inotify: watches by directory, and its events in order. Nothing here knows what they mean.

import (
	"bytes"
	"encoding/binary"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

const (
	watchedEvents = syscall.IN_CREATE | syscall.IN_MODIFY | syscall.IN_ATTRIB | syscall.IN_DELETE | syscall.IN_MOVED_FROM | syscall.IN_MOVED_TO |
		syscall.IN_ONLYDIR | syscall.IN_EXCL_UNLINK
	// ownEnd are what becomes of a directory itself. Of those below another, that one tells.
	ownEnd        = syscall.IN_DELETE_SELF | syscall.IN_MOVE_SELF
	eventHead     = 16
	bytesToBeRead = 0x541b // FIONREAD
)

// event is one of the kernel's.
type event struct {
	watch  int32
	mask   uint32
	cookie uint32
	name   string
	end    int64 // how many bytes of events there were up to and with this one
}

// inotify is one instance of it.
type inotify struct {
	file   *os.File
	raw    syscall.RawConn
	buffer []byte
	read   int64
}

func openInotify() (*inotify, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "inotify")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &inotify{file: file, raw: raw, buffer: make([]byte, 64<<10)}, nil
}

// control runs a call on the descriptor, unless that is closed by now.
func (i *inotify) control(call func(fd int) error) error {
	var err error
	if closed := i.raw.Control(func(fd uintptr) { err = call(int(fd)) }); closed != nil {
		return closed
	}
	return err
}

// add watches an open directory. One that is watched already has the number that it had.
func (i *inotify) add(folder int, more uint32) (watch int32, err error) {
	err = i.control(func(fd int) error {
		n, err := syscall.InotifyAddWatch(fd, "/proc/self/fd/"+strconv.Itoa(folder), watchedEvents|more)
		watch = int32(n)
		return err
	})
	return watch, err
}

func (i *inotify) remove(watch int32) {
	_ = i.control(func(fd int) error {
		_, err := syscall.InotifyRmWatch(fd, uint32(watch))
		return err
	})
}

// waiting tells up to where there are events by now, read or not.
func (i *inotify) waiting() int64 {
	var n int32
	_ = i.control(func(fd int) error {
		_, _, number := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), bytesToBeRead, uintptr(unsafe.Pointer(&n)))
		return orNil(number)
	})
	return i.read + int64(n)
}

// next appends the events that are there, and waits for one until then.
func (i *inotify) next(events []event, until time.Time) ([]event, error) {
	if err := i.file.SetReadDeadline(until); err != nil {
		return events, err
	}
	n, err := i.file.Read(i.buffer)
	if err != nil {
		return events, err
	}
	for rest := i.buffer[:n]; len(rest) >= eventHead; {
		length := eventHead + int(binary.NativeEndian.Uint32(rest[12:]))
		name, _, _ := bytes.Cut(rest[eventHead:length], []byte{0})
		i.read += int64(length)
		events = append(events, event{
			int32(binary.NativeEndian.Uint32(rest)), binary.NativeEndian.Uint32(rest[4:]), binary.NativeEndian.Uint32(rest[8:]), string(name), i.read,
		})
		rest = rest[length:]
	}
	return events, nil
}
