package tunnel

import (
	"net"
	"sync"

	"portico.dev/agent/internal/proto"
)

// Listener hands the streams that the peers of any session open to whoever answers. It outlives sessions.
type Listener struct {
	streams chan *Stream
	closed  chan struct{}
	once    sync.Once
}

// NewListener makes a Listener with room for one session's streams.
func NewListener() *Listener {
	return &Listener{streams: make(chan *Stream, proto.MaxStreams), closed: make(chan struct{})}
}

// Accept waits for the next stream.
func (l *Listener) Accept() (*Stream, error) {
	select {
	case stream := <-l.streams:
		return stream, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept. Streams that are open stay open.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// offer hands over a stream, or tells that nobody takes it.
func (l *Listener) offer(stream *Stream) bool {
	select {
	case <-l.closed:
		return false
	default:
	}
	select {
	case l.streams <- stream:
		return true
	default:
		return false
	}
}
