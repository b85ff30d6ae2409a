package process

// What a command prints on one of its pipes, up to a cap; the rest is read and dropped, so that the command is never held up.
//
// A short command is over before anybody looks: then one read of what is in the pipe does. Only for a command that goes on does a pump
// (a goroutine) take over the pipe; it owns the pipe from then on, and reads until all writers have gone, also long after the answer.

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"
	"unsafe"
)

// pieceSize is what a pipe holds unless it is told otherwise.
const pieceSize = 64 << 10

// pieces are what pipes are read into.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

const (
	// loudRead is how much one read must bring for a command to count as loud. It gets a larger pipe and is left alone for a moment after each
	// read that empties it: woken at each of its writes, the agent would cost more than the command.
	loudRead    = 4 << 10
	loudPipe    = 1 << 20
	loudPause   = time.Millisecond
	setPipeSize = 1031 // F_SETPIPE_SZ
)

// atOnce is how many pieces a command that is over may have left behind: more than a pipe holds means that somebody still writes.
const atOnce = 4

type capture struct {
	fd        int // the read end; -1 once it is closed or the pump's
	limit     int
	allowance *allowance

	lock      sync.Mutex
	bytes     []byte
	allowed   int
	truncated bool
	kept      bool  // false once the answer is made: bytes are dropped
	taken     int64 // bytes that were read in all
	reads     atomic.Int64
	raw       syscall.RawConn // the pump's
	moved     chan struct{}   // something was read
	ended     chan struct{}   // closed by the pump at the pipe's end
}

// newCapture makes the pipe; the command's end of it is for exec, and the caller closes it.
func newCapture(limit int, from *allowance) (c *capture, theirs int, err error) {
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		return nil, -1, err
	}
	if err := syscall.SetNonblock(ends[0], true); err != nil {
		_ = syscall.Close(ends[0])
		_ = syscall.Close(ends[1])
		return nil, -1, err
	}
	return &capture{fd: ends[0], limit: limit, allowance: from, kept: true, moved: make(chan struct{}, 1)}, ends[1], nil
}

// drain reads what is in the pipe now and tells whether that was its end.
func (c *capture) drain() (ended bool) {
	for range atOnce {
		n, err := c.readPiece(c.fd)
		if n == 0 && err == nil || err != nil && err != syscall.EAGAIN {
			c.close()
			return true
		}
		if err != nil {
			return false
		}
	}
	return false
}

// readPiece reads under the lock, so that what has left the pipe is always counted.
func (c *capture) readPiece(fd int) (int, error) {
	piece := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(piece)
	c.lock.Lock()
	defer c.lock.Unlock()
	for {
		n, err := syscall.Read(fd, piece[:])
		if err == syscall.EINTR {
			continue
		}
		if n > 0 {
			c.take(piece[:n])
		}
		return n, err
	}
}

// take keeps bytes as far as the cap and the allowance go. The lock is held.
func (c *capture) take(b []byte) {
	c.reads.Add(1)
	c.taken += int64(len(b))
	select {
	case c.moved <- struct{}{}:
	default:
	}
	if !c.kept {
		return
	}
	n := min(len(b), c.limit-len(c.bytes))
	if over := len(c.bytes) + n - c.allowed; over > 0 {
		ask := max(over, min(len(c.bytes), c.limit-c.allowed)) // double, so that it is asked seldom
		got := c.allowance.take(ask, over)
		c.allowed += got
		n = min(n, c.allowed-len(c.bytes))
	}
	if need := len(c.bytes) + n; need > cap(c.bytes) {
		// Twice as large each time: append itself would grow by a quarter, and leave behind several times what is kept.
		c.bytes = append(make([]byte, 0, max(need, min(2*cap(c.bytes), c.limit))), c.bytes...)
	}
	c.bytes = append(c.bytes, b[:n]...)
	c.truncated = c.truncated || n < len(b)
}

// pump starts the goroutine that reads the pipe to its end.
func (c *capture) pump() {
	c.ended = make(chan struct{})
	file := os.NewFile(uintptr(c.fd), "pipe")
	c.fd = -1
	raw, err := file.SyscallConn()
	c.raw = raw
	go func() {
		defer close(c.ended)
		defer func() { _ = file.Close() }()
		for loud := false; err == nil; {
			n := 0
			var fault error
			err = raw.Read(func(fd uintptr) bool {
				n, fault = c.readPiece(int(fd))
				if n >= loudRead && !loud {
					loud = true
					_, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, setPipeSize, loudPipe)
				}
				return fault != syscall.EAGAIN
			})
			if n == 0 || fault != nil {
				return
			}
			if n >= loudRead && n < pieceSize {
				time.Sleep(loudPause)
			}
		}
	}()
}

// catchUp waits until the pump has read what is in the pipe now, unless that is too late: the machine may be so busy, or stand still for so
// long, that a pipe falls quiet with much in it.
func (c *capture) catchUp(late <-chan struct{}) {
	c.lock.Lock()
	due := c.taken + c.waiting()
	c.lock.Unlock()
	for {
		c.lock.Lock()
		done := c.taken >= due
		c.lock.Unlock()
		if done {
			return
		}
		select {
		case <-c.moved:
		case <-c.ended:
			return
		case <-late:
			return
		}
	}
}

// waiting tells how many bytes are in the pipe.
func (c *capture) waiting() int64 {
	if c.raw == nil {
		return 0
	}
	return readable(c.raw)
}

// readable tells how many bytes a file has that were not read yet.
func readable(raw syscall.RawConn) int64 {
	const readable = 0x541b // FIONREAD
	var n int32
	_ = raw.Control(func(fd uintptr) { _ = control(int(fd), readable, unsafe.Pointer(&n)) })
	return int64(n)
}

// result hands over what was kept and keeps nothing more. A character that the cap has cut is left out.
func (c *capture) result() (b []byte, truncated bool) {
	c.lock.Lock()
	defer c.lock.Unlock()
	b, c.bytes, c.kept = c.bytes, nil, false
	if c.truncated {
		b = b[:len(b)-cutCharacter(b)]
	}
	return b, c.truncated
}

// release gives back what the bytes were counted as.
func (c *capture) release() {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.kept, c.bytes = false, nil
	c.allowance.give(c.allowed)
	c.allowed = 0
}

func (c *capture) close() {
	if c.fd >= 0 {
		_ = syscall.Close(c.fd)
		c.fd = -1
	}
}

// cutCharacter tells how many bytes at the end are the beginning of a character that is not whole.
func cutCharacter(b []byte) int {
	for n := 1; n <= min(utf8.UTFMax-1, len(b)); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// allowance bounds what all captures together keep, so that many loud commands at once cannot use up the machine's memory.
type allowance struct{ left atomic.Int64 }

// take asks for some bytes, and if there are not so many for at least a few.
func (a *allowance) take(some, few int) int {
	for _, n := range [2]int{some, few} {
		if a.left.Add(-int64(n)) >= 0 {
			return n
		}
		a.left.Add(int64(n))
	}
	return 0
}

func (a *allowance) give(n int) { a.left.Add(int64(n)) }
