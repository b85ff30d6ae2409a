// Package tunnel is the agent's end of docs/protocol.md on a byte stream: it accepts the peer's streams and hands them to whoever answers
// requests. It opens no stream of its own.
//
// A session lives on a carrier, and on one after the other if the peer pauses it in between:
//
//	echo ──8 bytes──▶ hello ──HELLO──▶ open ──GOAWAY sent──▶ leaving
//	  │                  │             │ ▲ └──PAUSE──▶ pausing ──PAUSED written──▶ paused, held by the server
//	  │                  │             │ └─────────── HELLO with its mark, on another carrier ───────┘
//	  └──────────────────┴─────────────┴──▶ ended   end of file, connection error, time limit
//
// Two goroutines own it while it has a carrier: the reader (Serve) takes frames and never waits for anything but the carrier, the writer owns
// the outbox's buffer. One lock guards everything else. The end of a session ends its streams and nothing more.
package tunnel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"portico.dev/agent/internal/proto"
)

// Carrier is a byte stream to the peer. Deadlines are as those of net.Conn.
type Carrier interface {
	io.ReadWriter
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
}

const (
	// goodbyeLimit is how long a peer that must be told why has to read it.
	goodbyeLimit = time.Second
)

var (
	errGoesOn       = errors.New("a former session goes on")
	errPaused       = errors.New("the session is paused")
	errNoHello      = errors.New("cannot start a session: no hello from the peer in time")
	errBacklog      = errors.New("cannot go on: the peer asks and does not read")
	errDisconnected = errors.New("cannot use the stream: its session has ended")
	longAgo         = time.Unix(1, 0)
)

type session struct {
	server     *Server
	carrier    Carrier
	listener   *Listener
	window     int
	helloLimit time.Duration
	echo       *echoFinder // until the echo has come; the reader's own

	lock    sync.Mutex
	out     *outbox
	streams map[uint32]*Stream
	lastID  uint32
	peer    proto.Hello
	heard   bool
	away    *proto.WireError
	ended   error
	pausing string // the mark, once the peer has sent its last frame on this carrier
	paused  bool   // PAUSED was written: the end of the carrier is not the session's
	// successor is the session that goes on in place of this one, which was only its start.
	successor *session
}

func newSession(carrier Carrier, server *Server) *session {
	s := &session{server: server, carrier: carrier, listener: server.Listener, window: server.window, helloLimit: server.helloLimit}
	s.streams = map[uint32]*Stream{}
	s.out = newOutbox(&s.lock)
	return s
}

// serve runs the session on its carrier and tells why that ended: io.EOF when the peer left.
func (s *session) serve(in *input) error {
	_ = s.carrier.SetDeadline(time.Time{})
	if !s.heard {
		s.echo = &echoFinder{nonce: newNonce(), onRestart: s.introduce}
		s.introduce(s.echo.nonce)
		_ = s.carrier.SetReadDeadline(time.Now().Add(s.helloLimit))
	}
	var writer sync.WaitGroup
	writer.Add(1)
	go func() {
		defer writer.Done()
		if err := s.write(); !errors.Is(err, errPaused) {
			s.end(err)
		}
	}()
	why := s.read(in)
	if s.isPausing() {
		_ = s.carrier.SetDeadline(longAgo) // the writer alone knows whether PAUSED went
		writer.Wait()
	}
	s.end(why)
	writer.Wait()
	if s.ended != nil {
		return s.ended
	}
	return why
}

// goOn gives a paused session its next carrier.
func (s *session) goOn(carrier Carrier) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.carrier, s.pausing, s.paused = carrier, "", false
}

func (s *session) isPausing() bool {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.pausing != ""
}

// mark names the pause of a session that is held; empty for any other.
func (s *session) mark() string {
	s.lock.Lock()
	defer s.lock.Unlock()
	if !s.paused || s.ended != nil {
		return ""
	}
	return s.pausing
}

// drop ends a session that is held.
func (s *session) drop() {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.endLocked(errDisconnected)
}

// introduce sends preamble and HELLO, in place of any that were not sent yet.
func (s *session) introduce(nonce uint64) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.out.pending = s.out.pending[:0]
	s.out.frame(func(b []byte) []byte { return proto.AppendHello(appendPreamble(b, nonce), s.window, s.server.holds()) })
}

// read takes what the carrier brings until it ends. In a paused session any byte is the next session's.
func (s *session) read(in *input) error {
	var end error
	for {
		used, err := s.take(in.bytes())
		in.skip(used)
		switch {
		case errors.Is(err, errPaused):
			in.skip(len(in.bytes()))
			_ = in.fill()
			in.skip(len(in.bytes()))
			return io.EOF
		case err != nil:
			return err
		case errors.Is(end, os.ErrDeadlineExceeded):
			return errNoHello
		case end != nil:
			return end
		}
		end = in.fill()
	}
}

// take handles what is whole at the beginning of b and tells how long that is.
func (s *session) take(b []byte) (used int, err error) {
	if s.echo != nil {
		n, found, err := s.echo.push(b)
		if err != nil || !found {
			return n, err
		}
		s.echo, used = nil, n
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	for s.ended == nil {
		frame, n, err := proto.ReadFrame(b[used:])
		if err != nil {
			return used, err
		}
		if n == 0 {
			break
		}
		used += n
		if err := s.receive(frame); err != nil {
			return used, err
		}
		if s.pausing != "" {
			return used, errPaused
		}
	}
	return used, s.ended
}

// write empties the outbox until the session ends.
func (s *session) write() error {
	s.lock.Lock()
	defer s.lock.Unlock()
	for {
		for s.ended == nil && s.pausing == "" && s.out.empty() {
			s.out.notEmpty.Wait()
		}
		if s.ended != nil {
			return s.ended
		}
		buffer, last := []byte(nil), s.pausing != ""
		if last {
			buffer = s.out.takeSealed()
		} else {
			buffer = s.out.take()
		}
		s.lock.Unlock()
		_, err := s.carrier.Write(buffer)
		s.lock.Lock()
		s.out.written(buffer)
		if err != nil {
			return err
		}
		if last {
			s.paused = true
			return errPaused
		}
	}
}

// end ends the session, once: every stream fails and whoever waits for the carrier is woken. A paused session loses its carrier only.
func (s *session) end(why error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.paused {
		s.carrier = nil
		return
	}
	s.endLocked(why)
}

func (s *session) endLocked(why error) {
	if s.ended != nil {
		return
	}
	s.ended = why
	for _, stream := range s.streams {
		stream.fail(errDisconnected)
	}
	s.out.wakeAll()
	if s.carrier != nil {
		_ = s.carrier.SetDeadline(longAgo)
	}
}

// control appends frames that are not DATA. A peer that lets too many of them wait loses the session.
func (s *session) control(frames func(b []byte) []byte) {
	if s.ended == nil && !s.out.frame(frames) {
		s.endLocked(errBacklog)
	}
}

func (s *session) sendReset(id uint32, e proto.WireError) {
	s.control(func(b []byte) []byte { return proto.AppendError(b, proto.TypeReset, id, e) })
}

// goAway refuses new streams from now on, and waits until what was to be sent has been written, at most until the limit.
func (s *session) goAway(e proto.WireError, limit time.Duration) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.leave(e)
	s.drain(limit)
}

func (s *session) leave(e proto.WireError) {
	if s.away == nil {
		s.away = &e
		s.control(func(b []byte) []byte { return proto.AppendError(b, proto.TypeGoaway, 0, e) })
	}
}

// drain waits, with the lock held, until the outbox is empty.
func (s *session) drain(limit time.Duration) {
	expired := false
	timer := time.AfterFunc(limit, func() {
		s.lock.Lock()
		defer s.lock.Unlock()
		expired = true
		s.out.idle.Broadcast()
	})
	defer timer.Stop()
	for s.ended == nil && !expired && !s.out.empty() {
		s.out.idle.Wait()
	}
}

func connectionError(format string, arguments ...any) error {
	return fmt.Errorf("cannot go on with the peer: "+format, arguments...)
}
