package proto

// Frames as docs/protocol.md tells them. This file turns bytes into frames and headers into bytes; it keeps nothing and allocates
// nothing: a payload is a view of the bytes it came in. Numbers and limits stand in generated.go.

import (
	"encoding/binary"
	"fmt"
)

// Frame is one whole frame. Its payload is a view, valid as long as the bytes that it was read from.
type Frame struct {
	Type    byte
	Stream  uint32
	Payload []byte
}

// Fault names the rule that a peer's bytes broke; the same names stand in shared/vectors/frames.json.
type Fault string

const (
	UnknownType Fault = "unknown_type"
	TooLong     Fault = "too_long"
	WrongStream Fault = "wrong_stream"
	WrongShape  Fault = "wrong_shape"
)

// FrameError is a connection error that shows in the bytes themselves.
type FrameError struct {
	Fault Fault
	Why   string
}

func (e *FrameError) Error() string { return "cannot read the peer's frames: " + e.Why }

// ReadFrame takes the frame that b begins with; n is its length, or 0 while b holds no whole frame. The header is judged as soon as it is
// there, before anyone waits for its payload.
func ReadFrame(b []byte) (frame Frame, n int, err error) {
	if len(b) < HeaderLength {
		return Frame{}, 0, nil
	}
	frame.Type = b[0]
	length := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	frame.Stream = binary.BigEndian.Uint32(b[4:])
	if err := judgeHeader(frame.Type, length, frame.Stream); err != nil {
		return Frame{}, 0, err
	}
	n = HeaderLength + length
	if len(b) < n {
		return Frame{}, 0, nil
	}
	frame.Payload = b[HeaderLength:n:n]
	if frame.Type == TypeCredit {
		if amount := frame.Credit(); amount == 0 || amount > MaxCredit {
			return Frame{}, 0, &FrameError{WrongShape, fmt.Sprintf("credit of %d bytes", amount)}
		}
	}
	return frame, n, nil
}

// Credit is the amount that a CREDIT frame grants.
func (f Frame) Credit() uint32 { return binary.BigEndian.Uint32(f.Payload) }

// AppendHeader appends a frame's header. Whoever calls has checked the limits.
func AppendHeader(b []byte, kind byte, length int, stream uint32) []byte {
	return append(b, kind, byte(length>>16), byte(length>>8), byte(length),
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// AppendFrame appends a whole frame.
func AppendFrame(b []byte, kind byte, stream uint32, payload []byte) []byte {
	return append(AppendHeader(b, kind, len(payload), stream), payload...)
}

// AppendCredit appends a CREDIT frame.
func AppendCredit(b []byte, stream uint32, amount int) []byte {
	return binary.BigEndian.AppendUint32(AppendHeader(b, TypeCredit, CreditLength, stream), uint32(amount))
}

func judgeHeader(kind byte, length int, stream uint32) error {
	least, most := payloadLimits(kind)
	switch {
	case most < 0:
		return &FrameError{UnknownType, fmt.Sprintf("the frame type %d is unknown", kind)}
	case length > most:
		return &FrameError{TooLong, fmt.Sprintf("a frame of type %d announces %d bytes, over %d", kind, length, most)}
	case kind >= FirstExtension:
		return nil
	case ofConnection(kind) != (stream == 0) || stream > HighestStreamId:
		return &FrameError{WrongStream, fmt.Sprintf("a frame of type %d has the stream id %d", kind, stream)}
	case length < least:
		return &FrameError{WrongShape, fmt.Sprintf("a frame of type %d announces %d bytes", kind, length)}
	}
	return nil
}

func ofConnection(kind byte) bool {
	return kind == TypeHello || kind >= TypePing && kind < FirstExtension
}

// payloadLimits tells the least and the most bytes of a type's payload; most is negative for a type that no generation knows.
func payloadLimits(kind byte) (least, most int) {
	switch kind {
	case TypeData:
		return 1, MaxData
	case TypeOpen:
		return 0, MaxHead
	case TypeCredit:
		return CreditLength, CreditLength
	case TypeEnd:
		return 0, 0
	case TypeReset, TypeGoaway:
		return 0, MaxError
	case TypePing, TypePong:
		return PingLength, PingLength
	case TypePause:
		return MarkLength, MarkLength
	case TypePaused:
		return 0, 0
	case TypeHello:
		return 0, MaxHello
	}
	if kind >= FirstExtension {
		return 0, MaxExtension
	}
	return 0, -1
}
