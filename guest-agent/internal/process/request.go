package process

// What a caller may ask of exec, checked once; behind it nothing is checked again.

import (
	"encoding/base64"
	"strings"
	"time"

	"portico.dev/agent/internal/proto"
)

const (
	defaultTimeout = 30 * time.Second
	maxTimeout     = 1000 * time.Hour
	maxOutput      = 10 << 20
	maxRequest     = 32 << 20
)

// wireRequest is the body of POST /exec.
type wireRequest struct {
	Argv           []string          `json:"argv"`
	Shell          *string           `json:"shell"`
	Env            map[string]string `json:"env"`
	Cwd            *string           `json:"cwd"`
	User           *string           `json:"user"`
	Stdin          *string           `json:"stdin"`
	TimeoutMs      *float64          `json:"timeout_ms"`
	MaxOutputBytes *float64          `json:"max_output_bytes"`
	// Entrypoint runs the image's own program, with Args or what the image gives it.
	Entrypoint bool     `json:"entrypoint"`
	Args       []string `json:"args"`
}

// command is what is to be run.
type command struct {
	argv      []string
	env       map[string]string
	cwd       string
	user      *account // nil is whoever the agent is
	stdin     []byte
	timeout   time.Duration
	maxOutput int
	place     *place // nil is the sandbox itself
}

func (w *wireRequest) check() (*command, *proto.Failure) {
	c := &command{argv: w.Argv, env: w.Env, cwd: "/", timeout: defaultTimeout, maxOutput: maxOutput}
	if (w.Shell == nil) == (len(w.Argv) == 0) {
		return nil, invalid("give either argv, with at least one word, or shell")
	}
	if w.Shell != nil {
		c.argv = []string{"/bin/sh", "-c", *w.Shell}
	}
	for _, word := range c.argv {
		if strings.ContainsRune(word, 0) {
			return nil, invalid("a word of it holds a zero byte")
		}
	}
	if c.argv[0] == "" {
		return nil, invalid("its name is empty")
	}
	if failure := checkEnv(w.Env); failure != nil {
		return nil, failure
	}
	if w.Cwd != nil {
		c.cwd = *w.Cwd
	}
	if !strings.HasPrefix(c.cwd, "/") || strings.ContainsRune(c.cwd, 0) {
		return nil, proto.Fail(proto.CodeInvalidPath, "cannot run the command: cwd must be an absolute path")
	}
	return c, w.checkRest(c)
}

func (w *wireRequest) checkRest(c *command) *proto.Failure {
	if w.User != nil {
		user, failure := findAccount(*w.User)
		if failure != nil {
			return failure
		}
		c.user = user
	}
	if w.Stdin != nil {
		stdin, err := base64.StdEncoding.DecodeString(*w.Stdin)
		if err != nil {
			return invalid("stdin is not base64")
		}
		c.stdin = stdin
	}
	if ms := w.TimeoutMs; ms != nil {
		if *ms < 1 {
			return invalid("timeout_ms must be 1 or more")
		}
		c.timeout = time.Duration(min(*ms, float64(maxTimeout.Milliseconds()))) * time.Millisecond
	}
	if most := w.MaxOutputBytes; most != nil {
		if *most < 0 {
			return invalid("max_output_bytes must be 0 or more")
		}
		c.maxOutput = int(min(*most, maxOutput))
	}
	return nil
}

func checkEnv(env map[string]string) *proto.Failure {
	for name, value := range env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return invalid("env holds a name or a value that no environment can hold")
		}
	}
	return nil
}

func invalid(why string) *proto.Failure {
	return proto.Fail(proto.CodeInvalidRequest, "cannot run the command: %s", why)
}
