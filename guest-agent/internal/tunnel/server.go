package tunnel

import (
	"sync"
	"time"

	"portico.dev/agent/internal/proto"
)

// Server runs sessions and knows those that are under way.
type Server struct {
	Listener   *Listener
	window     int
	helloLimit time.Duration

	lock     sync.Mutex
	sessions map[*session]struct{}
}

// NewServer makes a Server whose Listener yields the streams of all its sessions, each granted window bytes.
func NewServer(window int) *Server {
	limit := proto.HelloLimitMs * time.Millisecond
	return &Server{Listener: NewListener(), window: window, helloLimit: limit, sessions: map[*session]struct{}{}}
}

// Serve runs one session on a carrier and tells why it ended; io.EOF when the peer left. The carrier is free again when it returns.
func (s *Server) Serve(carrier Carrier) error {
	one := newSession(carrier, s)
	s.lock.Lock()
	s.sessions[one] = struct{}{}
	s.lock.Unlock()
	defer func() {
		s.lock.Lock()
		defer s.lock.Unlock()
		delete(s.sessions, one)
	}()
	return one.serve()
}

// GoAway tells every peer that no more streams are taken, and waits, at most until the limit, until all that was to be sent has been.
func (s *Server) GoAway(why proto.WireError, limit time.Duration) {
	s.lock.Lock()
	var all []*session
	for one := range s.sessions {
		all = append(all, one)
	}
	s.lock.Unlock()
	var sessions sync.WaitGroup
	for _, one := range all {
		sessions.Add(1)
		go func() {
			defer sessions.Done()
			one.goAway(why, limit)
		}()
	}
	sessions.Wait()
}
