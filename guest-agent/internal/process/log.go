package process

// What a kept process has printed, in the order in which it was read: one line of offsets through both of its outputs.
//
//	   dropped      |            kept            |   to come
//	0 ──────────── start ───────────────────── end ──────────▶
//
// It keeps a stated number of bytes. Beyond that the oldest go, and who reads from before them is told how many it missed; but while a reader
// that holds it stands on them, the writer waits instead, so that a slow reader slows the process down and misses nothing.

import "sync"

type output byte

const (
	toStdout output = 1
	toStderr output = 2
)

// chunkSize is the most that one chunk holds: what one read of a pipe brings.
const chunkSize = 32 << 10

type chunk struct {
	kind  output
	at    int64
	bytes []byte
}

type outputLog struct {
	lock      sync.Mutex
	moved     sync.Cond
	limit     int64
	allowance *allowance
	chunks    []chunk
	start     int64
	end       int64
	readers   map[*logReader]struct{}
	closed    bool // nothing more will be printed
}

func newOutputLog(limit int64, from *allowance) *outputLog {
	l := &outputLog{limit: limit, allowance: from, readers: map[*logReader]struct{}{}}
	l.moved.L = &l.lock
	return l
}

// write appends what was read. It waits for readers that hold the log, if there is no room otherwise. After release it drops.
func (l *outputLog) write(kind output, b []byte) {
	l.lock.Lock()
	defer l.lock.Unlock()
	for !l.closed && !l.makeRoom(int64(len(b))) {
		l.moved.Wait()
	}
	if l.closed {
		return
	}
	if last := len(l.chunks) - 1; last >= 0 && kind != toMark && l.chunks[last].kind == kind && len(l.chunks[last].bytes)+len(b) <= chunkSize {
		l.chunks[last].bytes = append(l.chunks[last].bytes, b...)
	} else {
		l.chunks = append(l.chunks, chunk{kind, l.end, append([]byte(nil), b...)})
	}
	l.end += int64(len(b))
	l.moved.Broadcast()
}

// makeRoom drops the oldest chunks until there is room, and tells whether there is. The last chunk that is left always has room beside it.
func (l *outputLog) makeRoom(n int64) bool {
	for l.end-l.start+n > l.limit || l.allowance.take(int(n), int(n)) < int(n) {
		if len(l.chunks) == 0 {
			l.limit = max(l.limit, n) // what is read at once is kept, however little is allowed
			l.allowance.give(-int(n))
			return true
		}
		oldest := l.chunks[0]
		after := oldest.at + int64(len(oldest.bytes))
		for reader := range l.readers {
			if reader.holds && reader.at < after {
				return false
			}
		}
		l.drop(oldest, after)
	}
	return true
}

func (l *outputLog) drop(oldest chunk, after int64) {
	l.allowance.give(len(oldest.bytes))
	l.chunks[0] = chunk{}
	l.chunks = l.chunks[1:]
	l.start = after
}

// close tells that all was printed.
func (l *outputLog) close() {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.closed = true
	l.moved.Broadcast()
}

// release gives the memory back.
func (l *outputLog) release() {
	l.lock.Lock()
	defer l.lock.Unlock()
	for len(l.chunks) > 0 {
		l.drop(l.chunks[0], l.chunks[0].at+int64(len(l.chunks[0].bytes)))
	}
	l.start, l.closed = l.end, true
	l.moved.Broadcast()
}

func (l *outputLog) span() (start, end int64) {
	l.lock.Lock()
	defer l.lock.Unlock()
	return l.start, l.end
}

// logReader is one reader's place. Whoever opened it closes it.
type logReader struct {
	log    *outputLog
	at     int64
	holds  bool
	called bool // somebody wants it to return
}

// reader begins at an offset, which may not be there any more or not yet; beyond the end it is the end.
func (l *outputLog) reader(at int64, holds bool) *logReader {
	l.lock.Lock()
	defer l.lock.Unlock()
	r := &logReader{log: l, at: min(max(at, 0), l.end), holds: holds}
	l.readers[r] = struct{}{}
	return r
}

func (r *logReader) close() {
	r.log.lock.Lock()
	defer r.log.lock.Unlock()
	delete(r.log.readers, r)
	r.log.moved.Broadcast()
}

// call makes a next that waits, or the next one, return with nothing.
func (r *logReader) call() {
	r.log.lock.Lock()
	defer r.log.lock.Unlock()
	r.called = true
	r.log.moved.Broadcast()
}

// next is what follows the reader's place, once there is something; lost is how many bytes before it are gone. With over all was read; with
// neither, it was called. The bytes are the reader's until it asks again: they are copied, as a chunk may still grow.
func (r *logReader) next(into []byte) (kind output, b []byte, lost int64, over bool) {
	r.log.lock.Lock()
	defer r.log.lock.Unlock()
	for {
		if r.at < r.log.start {
			lost, r.at = r.log.start-r.at, r.log.start
		}
		if c := r.log.find(r.at); c != nil {
			from := c.bytes[r.at-c.at:]
			n := copy(into, from)
			r.at += int64(n)
			r.log.moved.Broadcast()
			return c.kind, into[:n], lost, false
		}
		if lost > 0 {
			return 0, nil, lost, false
		}
		if r.log.closed {
			return 0, nil, 0, true
		}
		if r.called {
			r.called = false
			return 0, nil, 0, false
		}
		r.log.moved.Wait()
	}
}

// find is the chunk that holds the byte at an offset.
func (l *outputLog) find(at int64) *chunk {
	low, high := 0, len(l.chunks)
	for low < high {
		middle := (low + high) / 2
		if c := &l.chunks[middle]; at >= c.at+int64(len(c.bytes)) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == len(l.chunks) {
		return nil
	}
	return &l.chunks[low]
}
