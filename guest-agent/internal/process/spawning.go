package process

// What a caller may ask of a process that is kept, checked once.

import (
	"time"

	"portico.dev/agent/internal/proto"
)

const (
	usualBuffer = 1 << 20
	maxBuffer   = 64 << 20
	minBuffer   = 64 << 10
	maxSide     = 4096
)

// wireSpawning is the body of POST /processes.
type wireSpawning struct {
	wireRequest
	// StdinOpen keeps the input open after Stdin.
	StdinOpen bool  `json:"stdin_open"`
	Tty       *size `json:"tty"`
	// Detach lets it live on when the caller that follows it goes away.
	Detach bool `json:"detach"`
	// Follow answers with its output, as /processes/output does.
	Follow      bool     `json:"follow"`
	BufferBytes *float64 `json:"buffer_bytes"`
}

type spawning struct {
	command
	stdinOpen bool
	tty       *size
	detach    bool
	follow    bool
	buffer    int64
	more      []uintptr // files beyond the standard ones
}

func (w *wireSpawning) check() (*spawning, *proto.Failure) {
	c, failure := w.wireRequest.check()
	if failure != nil {
		return nil, failure
	}
	s := &spawning{command: *c, stdinOpen: w.StdinOpen, tty: w.Tty, detach: w.Detach, follow: w.Follow, buffer: usualBuffer}
	if w.TimeoutMs == nil {
		s.timeout = 0
	} else {
		s.timeout = max(s.timeout, time.Millisecond)
	}
	if w.BufferBytes != nil {
		s.buffer = int64(min(max(*w.BufferBytes, minBuffer), maxBuffer))
	}
	if s.tty != nil {
		if failure := s.tty.check(); failure != nil {
			return nil, failure
		}
		if _, set := s.env["TERM"]; !set {
			env := map[string]string{"TERM": "xterm-256color"}
			for name, value := range s.env {
				env[name] = value
			}
			s.env = env
		}
	}
	return s, nil
}

func (s *size) check() *proto.Failure {
	if s.Cols == 0 && s.Rows == 0 {
		*s = usualSize
	}
	if s.Cols < 1 || s.Rows < 1 || s.Cols > maxSide || s.Rows > maxSide {
		return proto.Fail(proto.CodeInvalidRequest, "cannot make the terminal: cols and rows are 1 to %d", maxSide)
	}
	return nil
}
