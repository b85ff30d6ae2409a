package tunnel

// What each frame of the peer does. All of this runs in the session's reader with the lock held, and waits for nothing.

import (
	"time"

	"portico.dev/agent/internal/proto"
)

// receive handles one frame. Its error is a connection error.
func (s *session) receive(frame proto.Frame) error {
	if !s.heard {
		return s.receiveHello(frame)
	}
	switch frame.Type {
	case proto.TypeData, proto.TypeEnd, proto.TypeCredit:
		stream, err := s.find(frame)
		if stream == nil || err != nil {
			return err
		}
		return stream.receive(frame)
	case proto.TypeOpen:
		return s.receiveOpen(frame.Stream)
	case proto.TypeReset:
		e, err := proto.ReadError(frame.Payload)
		if err != nil {
			return err
		}
		if stream := s.streams[frame.Stream]; stream != nil {
			stream.reset(&proto.Failure{Code: e.Code, Message: e.Message})
		}
		return nil
	case proto.TypePause:
		s.receivePause(frame.Payload)
		return nil
	case proto.TypePaused:
		return connectionError("an answer to no pause")
	case proto.TypePing:
		s.out.setPong(frame.Payload)
		return nil
	case proto.TypeGoaway:
		_, err := proto.ReadError(frame.Payload)
		return err
	case proto.TypeHello:
		return connectionError("a second hello")
	case proto.TypePong:
		return nil
	default:
		return nil // an extension
	}
}

func (s *session) receiveHello(frame proto.Frame) error {
	if frame.Type >= proto.FirstExtension {
		return nil
	}
	if frame.Type != proto.TypeHello {
		return connectionError("a frame of type %d before the hello", frame.Type)
	}
	hello, err := proto.ReadHello(frame.Payload)
	if err != nil {
		return err
	}
	if hello.Generation < proto.OldestGeneration {
		e := proto.WireError{Code: proto.CodeVersionUnsupported, Message: "cannot talk to the peer: its generation is too old"}
		s.leave(e)
		s.drain(goodbyeLimit)
		return connectionError("it speaks generation %d", hello.Generation)
	}
	s.heard, s.peer = true, hello
	if err := s.carrier.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if hello.Resume == "" {
		s.server.forget()
		return nil
	}
	if s.successor = s.server.release(hello.Resume); s.successor == nil {
		return connectionError("it goes on with a session that is not held")
	}
	s.drain(goodbyeLimit)
	return errGoesOn
}

// receivePause makes PAUSED the last frame on this carrier. What the peer sends after its PAUSE means nothing.
func (s *session) receivePause(mark []byte) {
	s.pausing = proto.MarkName(mark)
	s.server.isPaused()
	s.out.seal(func(b []byte) []byte { return proto.AppendHeader(b, proto.TypePaused, 0, 0) })
}

func (s *session) receiveOpen(id uint32) error {
	switch {
	case id%2 == 0:
		return connectionError("it opened the stream %d, which is not its to open", id)
	case id <= s.lastID:
		return connectionError("it opened the stream %d after %d", id, s.lastID)
	}
	s.lastID = id
	switch stream := newStream(s, id); {
	case s.away != nil:
		s.sendReset(id, *s.away)
	case len(s.streams) >= proto.MaxStreams:
		s.sendReset(id, proto.WireError{Code: proto.CodeTooManyStreams, Message: "cannot open a stream: too many are open"})
	case !s.listener.offer(stream):
		s.sendReset(id, proto.WireError{Code: proto.CodeOverloaded, Message: "cannot open a stream: nobody takes it"})
	default:
		s.streams[id] = stream
	}
	return nil
}

// find tells which stream a frame is for; none if it is gone.
func (s *session) find(frame proto.Frame) (*Stream, error) {
	if stream := s.streams[frame.Stream]; stream != nil {
		return stream, nil
	}
	if frame.Stream%2 == 0 || frame.Stream > s.lastID {
		return nil, connectionError("a frame of type %d for the stream %d, which was never opened", frame.Type, frame.Stream)
	}
	return nil, nil
}

// receive handles DATA, END and CREDIT.
func (t *Stream) receive(frame proto.Frame) error {
	switch {
	case frame.Type == proto.TypeCredit:
		amount := int(frame.Credit())
		if t.credit+amount > proto.MaxCredit {
			return connectionError("credit of more than %d bytes for the stream %d", proto.MaxCredit, t.id)
		}
		t.credit += amount
	case t.peerEnded:
		e := proto.WireError{Code: proto.CodeProtocolError, Message: "cannot take more on the stream: it had ended"}
		t.session.sendReset(t.id, e)
		t.reset(&proto.Failure{Code: e.Code, Message: e.Message})
	case frame.Type == proto.TypeEnd:
		t.peerEnded = true
		t.leaveIfOver()
	case len(frame.Payload) > t.granted:
		return connectionError("%d bytes too many on the stream %d", len(frame.Payload)-t.granted, t.id)
	default:
		t.granted -= len(frame.Payload)
		if t.closed {
			t.consume(len(frame.Payload))
			return nil
		}
		t.in.add(frame.Payload)
	}
	t.changed.Broadcast()
	return nil
}
