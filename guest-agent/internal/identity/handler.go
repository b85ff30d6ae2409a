// Package identity makes a virtual machine this sandbox and no other: POST /identity of docs/protocol.md. It is told after every boot and
// every restore, and what is in force is confirmed only when all of it is; without that nobody may use the machine.
package identity

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"portico.dev/agent/internal/proto"
)

const (
	maxRequest  = 4 << 20
	maxHostname = 64
	minEntropy  = 32
	tokenLength = 32
)

type request struct {
	SandboxID   string            `json:"sandbox_id"`
	Hostname    string            `json:"hostname"`
	ClockUnixMs float64           `json:"clock_unix_ms"`
	Entropy     string            `json:"entropy"`
	Token       string            `json:"token"`
	Env         map[string]string `json:"env"`
	Program
}

// Program is what the image has for commands whose callers say nothing.
type Program struct {
	Workdir    string   `json:"workdir"`
	User       string   `json:"user"`
	Entrypoint []string `json:"entrypoint"`
	Cmd        []string `json:"cmd"`
}

// Keep takes what commands to come begin with.
type Keep func(env map[string]string, program Program) *proto.Failure

type confirmation struct {
	Hostname     string `json:"hostname"`
	ClockUnixMs  int64  `json:"clock_unix_ms"`
	EntropyBytes int    `json:"entropy_bytes"`
	TokenSha256  string `json:"token_sha256"`
}

// Handler is the handler of POST /identity. keep takes the sandbox's variables and its image's defaults for every process to come; from the confirmation on,
// the gate lets only those in who know the token.
func Handler(machine Machine, gate *Gate, keep Keep) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var wanted request
		if failure := proto.ReadJSON(r, maxRequest, &wanted); failure != nil {
			proto.AnswerFailure(w, failure)
			return
		}
		confirmed, failure := apply(machine, gate, keep, wanted)
		if failure != nil {
			proto.AnswerFailure(w, failure)
			return
		}
		proto.Answer(w, confirmed)
	}
}

func apply(machine Machine, gate *Gate, keep Keep, wanted request) (*confirmation, *proto.Failure) {
	const what = "cannot take the identity"
	entropy, err := base64.StdEncoding.DecodeString(wanted.Entropy)
	token, tokenErr := base64.StdEncoding.DecodeString(wanted.Token)
	switch {
	case tokenErr != nil || len(token) != tokenLength:
		return nil, proto.Fail(proto.CodeInvalidRequest, "%s: token is not base64 of %d bytes", what, tokenLength)
	case err != nil:
		return nil, proto.Fail(proto.CodeInvalidRequest, "%s: entropy is not base64", what)
	case len(entropy) < minEntropy:
		return nil, proto.Fail(proto.CodeInvalidRequest, "%s: entropy is less than %d bytes", what, minEntropy)
	case !validHostname(wanted.Hostname):
		return nil, proto.Fail(proto.CodeInvalidRequest, "%s: hostname is no name of 1 to %d letters, digits, dots and dashes", what, maxHostname)
	case wanted.ClockUnixMs <= 0:
		return nil, proto.Fail(proto.CodeInvalidRequest, "%s: clock_unix_ms must be after 1970", what)
	}
	if failure := keep(wanted.Env, wanted.Program); failure != nil {
		return nil, failure
	}
	taken, err := machine.AddEntropy(entropy)
	if err != nil {
		return nil, proto.Fail(proto.CodeInternal, "%s: the random pool: %s", what, err)
	}
	if err := machine.SetClock(time.UnixMicro(int64(wanted.ClockUnixMs * 1000))); err != nil {
		return nil, proto.Fail(proto.CodeInternal, "%s: the clock: %s", what, err)
	}
	if err := machine.SetHostname(wanted.Hostname); err != nil {
		return nil, proto.Fail(proto.CodeInternal, "%s: the host name: %s", what, err)
	}
	machine.GrowDisk()
	name, err := machine.Hostname()
	if err != nil {
		return nil, proto.Fail(proto.CodeInternal, "%s: the host name: %s", what, err)
	}
	return &confirmation{name, machine.Now().UnixMilli(), taken, gate.close(wanted.Token)}, nil
}

func validHostname(name string) bool {
	if name == "" || len(name) > maxHostname || strings.ContainsAny(name[:1]+name[len(name)-1:], "-.") {
		return false
	}
	for _, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}
