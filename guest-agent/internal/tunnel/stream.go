package tunnel

// One stream as a pair of byte sequences. Its reader's slowness stops its own sender through credit, and nobody else.
//
// Each direction ends once: with END, or both at once with a fault (the peer's RESET, ours, or the session's end). The peer's END is no
// fault: the answer still goes out. After Close, what the peer goes on sending is thrown away and granted again, so that it can come to
// its END and read the answer.

import (
	"io"
	"net"
	"sync"

	"portico.dev/agent/internal/proto"
)

// Stream is one stream of a session.
type Stream struct {
	session *session
	id      uint32
	gone    chan struct{}

	// All below is guarded by the session's lock.
	changed   sync.Cond
	in        inbox
	granted   int // what the peer may still send
	consumed  int // what was read and not yet granted again
	credit    int // what may still be sent
	answered  bool
	ended     bool
	peerEnded bool
	closed    bool
	fault     error
}

func newStream(s *session, id uint32) *Stream {
	t := &Stream{session: s, id: id, gone: make(chan struct{}), granted: s.window, credit: s.peer.Window}
	t.changed.L = &s.lock
	return t
}

// Gone is closed when the caller has gone away: one of both sides reset the stream. The loss of a session is no such thing, as what was begun
// for a caller may be looked for later.
func (t *Stream) Gone() <-chan struct{} { return t.gone }

// Read waits for bytes. io.EOF is the peer's END.
func (t *Stream) Read(p []byte) (int, error) {
	t.session.lock.Lock()
	defer t.session.lock.Unlock()
	for {
		switch {
		case t.fault != nil:
			return 0, t.fault
		case t.closed:
			return 0, net.ErrClosed
		case len(p) == 0:
			return 0, nil
		case t.in.len() > 0:
			n := t.in.read(p)
			t.consume(n)
			return n, nil
		case t.peerEnded:
			return 0, io.EOF
		}
		t.changed.Wait()
	}
}

// Write hands bytes to the carrier as credit and room allow.
func (t *Stream) Write(p []byte) (written int, err error) {
	t.session.lock.Lock()
	defer t.session.lock.Unlock()
	for len(p) > 0 {
		switch {
		case t.fault != nil:
			return written, t.fault
		case t.ended:
			return written, net.ErrClosed
		case t.credit == 0:
			t.changed.Wait()
		case t.session.out.full():
			t.session.out.room.Wait()
		default:
			n := min(len(p), t.credit, proto.MaxData)
			t.answer()
			t.session.out.data(t.id, p[:n])
			t.credit -= n
			written += n
			p = p[n:]
		}
	}
	return written, nil
}

// CloseWrite sends END.
func (t *Stream) CloseWrite() error {
	t.session.lock.Lock()
	defer t.session.lock.Unlock()
	return t.endWriting()
}

// Close sends END and reads no more.
func (t *Stream) Close() error {
	t.session.lock.Lock()
	defer t.session.lock.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	unread := t.in.len()
	t.in.drop()
	if err := t.endWriting(); err != nil {
		return nil
	}
	t.consume(unread)
	t.wake()
	return nil
}

// Reset ends both directions now, and tells the peer why.
func (t *Stream) Reset(failure *proto.Failure) {
	t.session.lock.Lock()
	defer t.session.lock.Unlock()
	if t.fault != nil || t.ended && t.peerEnded {
		return
	}
	t.session.sendReset(t.id, proto.WireError{Code: failure.Code, Message: failure.Message})
	t.reset(failure)
}

// Over waits until both directions have ended, and tells the fault that ended them, if one did.
func (t *Stream) Over() error {
	t.session.lock.Lock()
	defer t.session.lock.Unlock()
	for t.fault == nil && !(t.ended && t.peerEnded) {
		t.changed.Wait()
	}
	return t.fault
}

func (t *Stream) endWriting() error {
	switch {
	case t.fault != nil:
		return t.fault
	case t.ended:
		return nil
	}
	t.answer()
	t.ended = true
	t.session.control(func(b []byte) []byte { return proto.AppendHeader(b, proto.TypeEnd, 0, t.id) })
	t.leaveIfOver()
	return nil
}

// answer sends the acceptor's OPEN before anything else of this side.
func (t *Stream) answer() {
	if !t.answered {
		t.answered = true
		t.session.control(func(b []byte) []byte { return proto.AppendHeader(b, proto.TypeOpen, 0, t.id) })
	}
}

// consume notes that bytes were read, and grants them again once they are worth a frame.
func (t *Stream) consume(n int) {
	t.consumed += n
	if t.peerEnded || t.fault != nil || t.consumed < t.session.window/2 {
		return
	}
	amount := t.consumed
	t.granted += amount
	t.consumed = 0
	t.session.control(func(b []byte) []byte { return proto.AppendCredit(b, t.id, amount) })
}

// reset ends both directions now: nobody wants what the stream was for.
func (t *Stream) reset(fault error) {
	close(t.gone)
	t.fail(fault)
}

// fail ends both directions now.
func (t *Stream) fail(fault error) {
	t.fault = fault
	t.in.drop()
	delete(t.session.streams, t.id)
	t.wake()
}

func (t *Stream) leaveIfOver() {
	if t.ended && t.peerEnded {
		delete(t.session.streams, t.id)
		t.changed.Broadcast()
	}
}

func (t *Stream) wake() {
	t.changed.Broadcast()
	t.session.out.room.Broadcast()
}
