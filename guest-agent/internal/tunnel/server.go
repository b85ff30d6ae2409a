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
	held     *session // paused, without a carrier; at most one
	pausing  int      // sessions whose peer has paused them and that are not held yet
	settled  sync.Cond
}

// settleLimit is how long a new session waits for one that is about to be held, where several carriers are served at once.
const settleLimit = time.Second

// NewServer makes a Server whose Listener yields the streams of all its sessions, each granted window bytes.
func NewServer(window int) *Server {
	limit := proto.HelloLimitMs * time.Millisecond
	s := &Server{Listener: NewListener(), window: window, helloLimit: limit, sessions: map[*session]struct{}{}}
	s.settled.L = &s.lock
	return s
}

// Serve runs a session on a carrier, a new one or one that was paused, and tells why it ended; io.EOF when the peer left. The carrier is free
// again when it returns. What is paused is held until the next session starts, which either goes on with it or makes it be forgotten.
func (s *Server) Serve(carrier Carrier) error {
	in := newInput(carrier)
	defer in.close()
	s.settle()
	one := newSession(carrier, s)
	err := s.serve(one, in)
	if next := one.successor; next != nil {
		next.goOn(carrier)
		return s.serve(next, in)
	}
	return err
}

func (s *Server) serve(one *session, in *input) error {
	s.lock.Lock()
	s.sessions[one] = struct{}{}
	s.lock.Unlock()
	err := one.serve(in)
	s.lock.Lock()
	defer s.lock.Unlock()
	delete(s.sessions, one)
	if one.isPausing() {
		s.pausing--
		s.settled.Broadcast()
	}
	if one.mark() != "" {
		s.forgetLocked()
		s.held = one
	}
	return err
}

// settle waits until no session is about to be held.
func (s *Server) settle() {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.pausing == 0 {
		return
	}
	expired := false
	timer := time.AfterFunc(settleLimit, func() {
		s.lock.Lock()
		defer s.lock.Unlock()
		expired = true
		s.settled.Broadcast()
	})
	defer timer.Stop()
	for s.pausing > 0 && !expired {
		s.settled.Wait()
	}
}

// isPaused notes that a session's peer has paused it.
func (s *Server) isPaused() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.pausing++
}

// holds tells the mark of the session that is held; empty if none is.
func (s *Server) holds() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.held == nil {
		return ""
	}
	return s.held.mark()
}

// release gives up the session that is held, if it has this mark.
func (s *Server) release(mark string) *session {
	s.lock.Lock()
	defer s.lock.Unlock()
	held := s.held
	if held == nil || held.mark() != mark {
		return nil
	}
	s.held = nil
	return held
}

// forget ends the session that is held: nobody goes on with it.
func (s *Server) forget() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.forgetLocked()
}

func (s *Server) forgetLocked() {
	if held := s.held; held != nil {
		s.held = nil
		held.drop()
	}
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
