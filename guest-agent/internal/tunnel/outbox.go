package tunnel

// What waits to be written to the carrier, and the one goroutine that writes it. Frames are appended under the session's lock to one
// buffer; while the writer is busy with the other they coalesce, so that an answer's OPEN, DATA and END cross in one write.

import (
	"sync"

	"portico.dev/agent/internal/proto"
)

// maxPending is how much may wait before streams hold their DATA back: a few writes of the port's greatest length.
const maxPending = 256 << 10

type outbox struct {
	pending  []byte
	sealed   []byte // the last that this carrier gets; what comes after it waits in pending
	spare    []byte
	control  int // bytes of pending that are not DATA
	pong     [proto.PingLength]byte
	pongDue  bool
	writing  bool
	notEmpty sync.Cond // the writer waits
	room     sync.Cond // streams wait
	idle     sync.Cond // whoever waits until all is written
}

func newOutbox(lock sync.Locker) *outbox {
	return &outbox{notEmpty: sync.Cond{L: lock}, room: sync.Cond{L: lock}, idle: sync.Cond{L: lock}}
}

// full tells whether DATA has to wait.
func (o *outbox) full() bool { return len(o.pending) >= maxPending }

// data appends one DATA frame.
func (o *outbox) data(stream uint32, payload []byte) {
	o.pending = proto.AppendFrame(o.pending, proto.TypeData, stream, payload)
	o.notEmpty.Signal()
}

// frame appends frames that are not DATA and need no credit; false if more of them wait than a peer that reads would leave.
func (o *outbox) frame(frames func(b []byte) []byte) bool {
	before := len(o.pending)
	o.pending = frames(o.pending)
	o.control += len(o.pending) - before
	o.notEmpty.Signal()
	return o.control <= proto.MaxBacklog
}

// setPong makes this the PONG that is due; one that was not yet sent is forgotten.
func (o *outbox) setPong(payload []byte) {
	copy(o.pong[:], payload)
	o.pongDue = true
	o.notEmpty.Signal()
}

// take hands the writer all that waits. Empty if nothing does.
func (o *outbox) take() []byte {
	if o.pongDue {
		o.pending = proto.AppendFrame(o.pending, proto.TypePong, 0, o.pong[:])
		o.pongDue = false
	}
	taken := o.pending
	o.pending, o.spare = o.spare[:0], nil
	o.control = 0
	o.writing = len(taken) > 0
	o.room.Broadcast()
	return taken
}

// seal makes all that waits, and the frames that are appended now, the last that this carrier gets.
func (o *outbox) seal(frames func(b []byte) []byte) {
	o.sealed, o.pending = frames(o.pending), nil
	o.control, o.pongDue = 0, false
	o.notEmpty.Signal()
	o.room.Broadcast()
}

// takeSealed hands the writer the last.
func (o *outbox) takeSealed() []byte {
	taken := o.sealed
	o.sealed, o.writing = nil, true
	return taken
}

// written takes the writer's buffer back.
func (o *outbox) written(buffer []byte) {
	o.writing = false
	o.spare = buffer[:0]
	o.idle.Broadcast()
}

func (o *outbox) empty() bool { return len(o.pending) == 0 && !o.pongDue && !o.writing }

// wakeAll lets everybody look at the session again.
func (o *outbox) wakeAll() {
	o.notEmpty.Broadcast()
	o.room.Broadcast()
	o.idle.Broadcast()
}
