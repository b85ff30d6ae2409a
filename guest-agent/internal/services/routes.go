package services

// The routes to the services: docs/protocol.md, "Services in the guest".

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"portico.dev/agent/internal/process"
	"portico.dev/agent/internal/proto"
)

const (
	maxRequest       = 1 << 20
	maxState         = 8 << 20
	maxExecSeconds   = 86_400
	usualExecSeconds = 60
	// maxStarts is how many calls wait for a service to be ready. One whose caller has gone goes on, as the service does.
	maxStarts = 1024
)

// Routes are the handlers by path and method. gone tells when a request's caller has left.
func (v *Supervisor) Routes(gone func(*http.Request) <-chan struct{}) map[string]map[string]http.HandlerFunc {
	return map[string]map[string]http.HandlerFunc{
		"/services":         {"GET": v.list},
		"/services/one":     {"GET": named(v.get), "PUT": v.put, "DELETE": named(v.delete)},
		"/services/start":   {"POST": named(v.startFor)},
		"/services/stop":    {"POST": named(func(name string) (any, *proto.Failure) { return orFailure(v.stop(name)) })},
		"/services/logs":    {"GET": v.logs(gone)},
		"/services/exec":    {"POST": v.exec(gone)},
		"/services/state":   {"GET": v.tellState},
		"/services/restore": {"POST": v.takeState},
	}
}

// record is a service as it is told: its definition, without what the image's name stood for, and how it is.
type record struct {
	Definition
	Status    string  `json:"status"`
	Pid       *int    `json:"pid"`
	Reason    string  `json:"reason"`
	ExitCode  *int    `json:"exit_code"`
	StartedAt *string `json:"started_at"`
	Restarts  int     `json:"restarts"`
}

var statuses = map[state]string{stopped: "stopped", failed: "failed", running: "running", starting: "unknown", waiting: "unknown", stopping: "unknown"}

var unsettled = map[state]string{starting: "starting", stopping: "stopping"}

// record tells a service as it is now. The lock is held.
func (s *service) record() *record {
	r := &record{Definition: s.definition, Status: statuses[s.state], Reason: s.reason, ExitCode: s.exitCode, Restarts: s.restarts}
	r.ContainerImage = nil
	if why := unsettled[s.state]; why != "" {
		r.Reason = why
	}
	if s.state == running {
		pid := s.life.task.Pid()
		r.Pid = &pid
	}
	if !s.startedAt.IsZero() {
		at := s.startedAt.UTC().Format("2006-01-02T15:04:05.000Z")
		r.StartedAt = &at
	}
	return r
}

func orFailure(r *record, failure *proto.Failure) (any, *proto.Failure) { return r, failure }

// nameOf reads the query and the name in it.
func nameOf(r *http.Request) (string, url.Values, *proto.Failure) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", nil, proto.Fail(proto.CodeInvalidRequest, "cannot read the request: its query is malformed")
	}
	return values.Get("name"), values, nil
}

// named is the handler of a call that has nothing but a name.
func named(run func(name string) (any, *proto.Failure)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, _, failure := nameOf(r)
		var value any
		if failure == nil {
			value, failure = run(name)
		}
		if failure != nil {
			proto.AnswerFailure(w, failure)
			return
		}
		proto.Answer(w, value)
	}
}

func (v *Supervisor) list(w http.ResponseWriter, _ *http.Request) {
	v.lock.Lock()
	all := []*record{}
	for _, name := range v.names() {
		if s := v.services[name]; !s.deleting {
			all = append(all, s.record())
		}
	}
	v.lock.Unlock()
	proto.Answer(w, all)
}

func (v *Supervisor) get(name string) (any, *proto.Failure) {
	v.lock.Lock()
	defer v.lock.Unlock()
	s, failure := v.find(name)
	if failure != nil {
		return nil, failure
	}
	return s.record(), nil
}

func (v *Supervisor) startFor(name string) (any, *proto.Failure) {
	defer v.starts.Add(-1)
	if v.starts.Add(1) > maxStarts {
		return nil, proto.Fail(proto.CodeOverloaded, "cannot start the service: %d calls wait for one to be ready", maxStarts)
	}
	return orFailure(v.start(name, nil))
}

func (v *Supervisor) put(w http.ResponseWriter, r *http.Request) {
	d := usual()
	name, _, failure := nameOf(r)
	if failure == nil {
		failure = proto.ReadJSON(r, maxRequest, &d)
	}
	d.Name = name
	var told *record
	if failure == nil {
		told, failure = v.upsert(d)
	}
	if failure != nil {
		proto.AnswerFailure(w, failure)
		return
	}
	proto.Answer(w, told)
}

func (v *Supervisor) delete(name string) (any, *proto.Failure) {
	failure := v.remove(name)
	return struct {
		Ok      bool `json:"ok"`
		Deleted bool `json:"deleted"`
	}{true, true}, failure
}

// logs sends what the service has printed, as kept output is sent; with follow=1 it goes on over ends and starts until the service is deleted.
func (v *Supervisor) logs(gone func(*http.Request) <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, values, failure := nameOf(r)
		var s *service
		var from int64
		if failure == nil {
			v.lock.Lock()
			s, failure = v.find(name)
			v.lock.Unlock()
		}
		if text := values.Get("from"); failure == nil && text != "" {
			var err error
			if from, err = strconv.ParseInt(text, 10, 64); err != nil || from < 0 {
				failure = proto.Fail(proto.CodeInvalidRequest, "cannot read the request: from must be a whole number")
			}
		}
		if failure != nil {
			proto.AnswerFailure(w, failure)
			return
		}
		s.log.Follow(w, from, values.Get("follow") == "1" || values.Get("follow") == "true", gone(r), func() process.Ending {
			v.lock.Lock()
			defer v.lock.Unlock()
			if s.exitCode == nil {
				return process.Ending{}
			}
			return process.Ending{ExitCode: *s.exitCode}
		})
	}
}

func (v *Supervisor) exec(gone func(*http.Request) <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked := struct {
			Cmd     []string `json:"cmd"`
			Timeout float64  `json:"timeout_secs"`
		}{Timeout: usualExecSeconds}
		name, _, failure := nameOf(r)
		if failure == nil {
			failure = proto.ReadJSON(r, maxRequest, &asked)
		}
		if failure == nil && !(asked.Timeout > 0 && asked.Timeout <= maxExecSeconds) {
			failure = proto.Fail(proto.CodeInvalidRequest, "cannot run the command: timeout_secs must be more than 0, a day at most")
		}
		var program *process.Program
		var inside *process.Inside
		if failure == nil {
			program, inside, failure = v.inside(name, asked.Cmd)
		}
		if failure != nil {
			proto.AnswerFailure(w, failure)
			return
		}
		result, err := v.runner.RunInside(program, inside, time.Duration(asked.Timeout*float64(time.Second)), gone(r))
		switch {
		case errors.Is(err, process.ErrCallerGone):
			panic(http.ErrAbortHandler)
		case err != nil:
			proto.AnswerFailure(w, proto.FailureOf(err, "cannot run the command"))
		default:
			proto.Answer(w, struct {
				Stdout     string  `json:"stdout"`
				Stderr     string  `json:"stderr"`
				ExitCode   int     `json:"exit_code"`
				Ok         bool    `json:"ok"`
				TimedOut   bool    `json:"timed_out"`
				DurationMs float64 `json:"duration_ms"`
			}{string(result.Stdout), string(result.Stderr), result.ExitCode, result.ExitCode == 0, result.TimedOut,
				float64(result.Duration.Microseconds()) / 1000})
		}
	}
}

// inside is a running container, for a command with the service's own user, variables and folder.
func (v *Supervisor) inside(name string, argv []string) (*process.Program, *process.Inside, *proto.Failure) {
	v.lock.Lock()
	defer v.lock.Unlock()
	s, failure := v.find(name)
	switch {
	case failure != nil:
		return nil, nil, failure
	case !s.definition.Container:
		return nil, nil, proto.Fail(proto.CodeInvalidRequest, "cannot run the command in the service %s: it is no container", name)
	case s.state != running || s.life.definition.ContainerImage == nil:
		return nil, nil, proto.Fail(proto.CodeConflict, "cannot run the command in the service %s: it is not running", name)
	}
	d := &s.life.definition
	program := d.program()
	program.Argv = argv
	if program.Cwd == "" {
		program.Cwd = d.ContainerImage.Workdir
	}
	return program, &process.Inside{Pid: s.life.task.Pid(), Env: d.ContainerImage.Env, Cgroup: s.life.group.fd}, program.Check()
}

type wholeState struct {
	Services []kept `json:"services"`
}

func (v *Supervisor) tellState(w http.ResponseWriter, _ *http.Request) {
	proto.Answer(w, wholeState{v.state()})
}

func (v *Supervisor) takeState(w http.ResponseWriter, r *http.Request) {
	var asked wholeState
	failure := proto.ReadJSON(r, maxState, &asked)
	var started, unstarted []string
	if failure == nil {
		started, unstarted, failure = v.restore(asked.Services)
	}
	if failure != nil {
		proto.AnswerFailure(w, failure)
		return
	}
	proto.Answer(w, struct {
		Started []string `json:"started"`
		Failed  []string `json:"failed"`
	}{started, unstarted})
}
