package proto

// The payloads that are JSON: HELLO, and the errors of RESET and GOAWAY.

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Hello is the first frame of each side. Fields of later generations are ignored.
type Hello struct {
	Generation int    `json:"generation"`
	Role       string `json:"role"`
	Window     int    `json:"window"`
	// Resume is the mark of the paused session that is to go on; empty if none is.
	Resume string `json:"resume"`
}

// WireError is what crosses a wire of an error: its code and one line.
type WireError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// AppendHello appends the HELLO frame of this agent, with the mark of the paused session that it holds, if there is one.
func AppendHello(b []byte, window int, paused string) []byte {
	payload := strconv.AppendInt([]byte(`{"generation":`), Generation, 10)
	payload = strconv.AppendInt(append(payload, `,"role":"agent","window":`...), int64(window), 10)
	if paused != "" {
		payload = append(append(append(payload, `,"paused":"`...), paused...), '"')
	}
	return AppendFrame(b, TypeHello, 0, append(payload, '}'))
}

// MarkName is a mark as it stands in a HELLO.
func MarkName(mark []byte) string { return hex.EncodeToString(mark) }

// mark is a field that is a mark, or is not there.
type mark string

func (m *mark) UnmarshalJSON(text []byte) error {
	var name string
	if err := json.Unmarshal(text, &name); err != nil {
		return err
	}
	if raw, err := hex.DecodeString(name); err != nil || len(raw) != MarkLength || MarkName(raw) != name {
		return errors.New("no mark")
	}
	*m = mark(name)
	return nil
}

// ReadHello checks the payload of a HELLO.
func ReadHello(payload []byte) (Hello, error) {
	var fields struct {
		Generation *int    `json:"generation"`
		Role       *string `json:"role"`
		Window     *int    `json:"window"`
		Paused     mark    `json:"paused"`
		Resume     mark    `json:"resume"`
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
	return Hello{*fields.Generation, *fields.Role, *fields.Window, string(fields.Resume)}, nil
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
