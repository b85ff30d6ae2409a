package tunnel

import "sync"

// inbox holds the bytes that arrived on a stream and were not read yet: never more than the window. It grows as it must, and a large
// buffer goes back to the pool with its stream.
type inbox struct {
	bytes []byte // bytes[from:] are unread
	from  int
}

const pooledInbox = 256 << 10

var inboxes = sync.Pool{New: func() any { return new([pooledInbox]byte) }}

func (i *inbox) len() int { return len(i.bytes) - i.from }

func (i *inbox) add(b []byte) {
	if i.from > 0 && len(i.bytes)+len(b) > cap(i.bytes) {
		i.bytes = i.bytes[:copy(i.bytes, i.bytes[i.from:])]
		i.from = 0
	}
	if need := len(i.bytes) + len(b); need > cap(i.bytes) && need > 16<<10 && need <= pooledInbox {
		grown := inboxes.Get().(*[pooledInbox]byte)[:0]
		i.bytes = append(grown, i.bytes...)
	}
	i.bytes = append(i.bytes, b...)
}

func (i *inbox) read(p []byte) int {
	n := copy(p, i.bytes[i.from:])
	if i.from += n; i.from == len(i.bytes) {
		i.bytes, i.from = i.bytes[:0], 0
	}
	return n
}

// drop forgets what is unread and gives the buffer back.
func (i *inbox) drop() {
	if cap(i.bytes) == pooledInbox {
		inboxes.Put((*[pooledInbox]byte)(i.bytes[:pooledInbox]))
	}
	i.bytes, i.from = nil, 0
}
