package proto

// The payloads that are JSON: HELLO, and the errors of RESET and GOAWAY.

import (
	"encoding/json"
	"fmt"
)

// Hello is the first frame of each side. Fields of later generations are ignored.
type Hello struct {
	Generation int    `json:"generation"`
	Role       string `json:"role"`
	Window     int    `json:"window"`
}

// WireError is what crosses a wire of an error: its code and one line.
type WireError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// AppendHello appends the HELLO frame of this agent.
func AppendHello(b []byte, window int) []byte {
	payload := fmt.Appendf(nil, `{"generation":%d,"role":"agent","window":%d}`, Generation, window)
	return AppendFrame(b, TypeHello, 0, payload)
}

// ReadHello checks the payload of a HELLO.
func ReadHello(payload []byte) (Hello, error) {
	var fields struct {
		Generation *int    `json:"generation"`
		Role       *string `json:"role"`
		Window     *int    `json:"window"`
	}
	switch err := json.Unmarshal(payload, &fields); {
	case err != nil:
		return Hello{}, &FrameError{WrongShape, "the hello is no JSON of the right shape"}
	case fields.Generation == nil || *fields.Generation < 0:
		return Hello{}, &FrameError{WrongShape, "the hello tells no generation"}
	case fields.Role == nil || *fields.Role != "edge" && *fields.Role != "runner" && *fields.Role != "agent":
		return Hello{}, &FrameError{WrongShape, "the hello's role is none of edge, runner, agent"}
	case fields.Window == nil || *fields.Window < MinWindow || *fields.Window > MaxWindow:
		return Hello{}, &FrameError{WrongShape, fmt.Sprintf("the hello's window is not %d to %d", MinWindow, MaxWindow)}
	}
	return Hello{*fields.Generation, *fields.Role, *fields.Window}, nil
}

// AppendError appends a RESET or GOAWAY frame. A message that does not fit is cut.
func AppendError(b []byte, kind byte, stream uint32, e WireError) []byte {
	for {
		payload, err := json.Marshal(e)
		if err == nil && len(payload) <= MaxError {
			return AppendFrame(b, kind, stream, payload)
		}
		e.Message = e.Message[:len(e.Message)*4/5]
	}
}

// ReadError checks the payload of a RESET or GOAWAY. A code that this side does not know reads as internal.
func ReadError(payload []byte) (WireError, error) {
	var fields struct {
		Code    *string `json:"code"`
		Message *string `json:"message"`
	}
	if err := json.Unmarshal(payload, &fields); err != nil || fields.Code == nil || fields.Message == nil {
		return WireError{}, &FrameError{WrongShape, "an error has no code and message"}
	}
	if _, known := Status[*fields.Code]; !known {
		return WireError{CodeInternal, *fields.Message}, nil
	}
	return WireError{*fields.Code, *fields.Message}, nil
}
