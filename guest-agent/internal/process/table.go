package process

// The processes that are kept, and the routes to them: /processes of docs/protocol.md.

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"portico.dev/agent/internal/proto"
)

const (
	// mostKept is how many processes are kept at once; of those that have exited the oldest make room.
	mostKept = 1024
	// maxWait is how long one call waits for an end.
	maxWait = 60 * time.Second
)

// Table holds the kept processes by id, oldest first.
type Table struct {
	runner *Runner
	gone   func(*http.Request) <-chan struct{}
	lock   sync.Mutex
	kept   []*kept
}

// NewTable makes an empty table. gone tells when a request's caller has left.
func NewTable(runner *Runner, gone func(*http.Request) <-chan struct{}) *Table {
	return &Table{runner: runner, gone: gone}
}

// Routes are the handlers by path and method.
func (t *Table) Routes() map[string]map[string]http.HandlerFunc {
	return map[string]map[string]http.HandlerFunc{
		"/processes":        {"GET": t.list, "POST": t.start, "DELETE": t.remove},
		"/processes/status": {"GET": t.status},
		"/processes/wait":   {"GET": t.wait},
		"/processes/output": {"GET": t.output},
		"/processes/attach": {"POST": t.attach},
		"/processes/stdin":  {"POST": t.stdin},
		"/processes/signal": {"POST": t.signal},
		"/processes/resize": {"POST": t.resize},
		"/shells":           {"POST": t.openShell},
		"/shells/run":       {"POST": t.runInShell},
	}
}

// described is a process as it is told.
type described struct {
	ID          string   `json:"id"`
	Pid         int      `json:"pid"`
	Argv        []string `json:"argv"`
	StartedAt   string   `json:"started_at"`
	State       string   `json:"state"`
	Tty         bool     `json:"tty"`
	OutputStart int64    `json:"output_start"`
	OutputEnd   int64    `json:"output_end"`
	StdinEnd    int64    `json:"stdin_end"`
	Ending      *ended   `json:"ending,omitempty"`
}

func (k *kept) describe() described {
	start, end := k.log.span()
	d := described{ID: k.id, Argv: k.argv, StartedAt: k.begun.UTC().Format("2006-01-02T15:04:05.000Z"), State: "running",
		Tty: k.tty != nil, OutputStart: start, OutputEnd: end, StdinEnd: k.input.accepted.Load()}
	if k.process != nil {
		d.Pid = k.process.Pid
	}
	if k.isOver() {
		d.State, d.Ending = "exited", k.ending()
	}
	return d
}

func (t *Table) start(w http.ResponseWriter, r *http.Request) {
	k, asked, failure := t.keep(r, func(*wireSpawning) {}, t.runner.spawn)
	if failure != nil {
		proto.AnswerFailure(w, failure)
		return
	}
	if !asked.follow {
		proto.Answer(w, k.describe())
		return
	}
	isHeard := k.follow(w, 0, true, t.gone(r))
	if !asked.detach {
		k.kill()
		if !isHeard {
			<-k.done
		}
		t.forget(k)
	}
}

// keep starts what a request asks for, once adjusted, and keeps it.
func (t *Table) keep(r *http.Request, adjust func(*wireSpawning), spawn func(*spawning) (*kept, error)) (*kept, *spawning, *proto.Failure) {
	var wire wireSpawning
	if failure := proto.ReadJSON(r, maxRequest, &wire); failure != nil {
		return nil, nil, failure
	}
	wire.Env = traced(wire.Env, r.Header)
	adjust(&wire)
	user, failure := t.runner.environment.complete(&wire.wireRequest)
	if failure != nil {
		return nil, nil, failure
	}
	asked, failure := wire.check()
	if failure == nil {
		if asked.user == nil {
			asked.user = user
		}
		failure = t.makeRoom()
	}
	if failure != nil {
		return nil, nil, failure
	}
	k, err := spawn(asked)
	if err != nil {
		return nil, nil, proto.FailureOf(err, "cannot start the process")
	}
	t.add(k)
	return k, asked, nil
}

func (t *Table) add(k *kept) {
	t.lock.Lock()
	defer t.lock.Unlock()
	t.kept = append(t.kept, k)
}

// makeRoom lets the oldest that have exited go.
func (t *Table) makeRoom() *proto.Failure {
	t.lock.Lock()
	defer t.lock.Unlock()
	if len(t.kept) < mostKept {
		return nil
	}
	for i, k := range t.kept {
		if k.isOver() {
			k.log.release()
			t.kept = slices.Delete(t.kept, i, i+1)
			return nil
		}
	}
	return proto.Fail(proto.CodeOverloaded, "cannot run the command: %d kept processes are running", mostKept)
}

func (t *Table) forget(k *kept) {
	t.lock.Lock()
	defer t.lock.Unlock()
	if at := slices.Index(t.kept, k); at >= 0 {
		t.kept = slices.Delete(t.kept, at, at+1)
	}
	k.log.release()
}

// find is the process that the query names.
func (t *Table) find(values url.Values) (*kept, *proto.Failure) {
	t.lock.Lock()
	defer t.lock.Unlock()
	for _, k := range t.kept {
		if k.id == values.Get("id") {
			return k, nil
		}
	}
	return nil, proto.Fail(proto.CodeNotFound, "cannot find the process: there is none with this id")
}

// with finds the process and runs the rest on it.
func (t *Table) with(w http.ResponseWriter, r *http.Request, run func(k *kept, values url.Values) *proto.Failure) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	failure := proto.Fail(proto.CodeInvalidRequest, "cannot read the request: its query is malformed")
	if err == nil {
		var k *kept
		if k, failure = t.find(values); failure == nil {
			failure = run(k, values)
		}
	}
	if failure != nil {
		proto.AnswerFailure(w, failure)
	}
}

func (t *Table) list(w http.ResponseWriter, _ *http.Request) {
	t.lock.Lock()
	all := slices.Clone(t.kept)
	t.lock.Unlock()
	answer := struct {
		Processes []described `json:"processes"`
	}{make([]described, 0, len(all))}
	for _, k := range all {
		answer.Processes = append(answer.Processes, k.describe())
	}
	proto.Answer(w, answer)
}

func (t *Table) status(w http.ResponseWriter, r *http.Request) {
	t.with(w, r, func(k *kept, _ url.Values) *proto.Failure {
		proto.Answer(w, k.describe())
		return nil
	})
}

// wait answers when the process has ended, or after timeout_ms with how it is then.
func (t *Table) wait(w http.ResponseWriter, r *http.Request) {
	t.with(w, r, func(k *kept, values url.Values) *proto.Failure {
		limit, failure := numberOf(values, "timeout_ms", maxWait.Milliseconds())
		if failure != nil {
			return failure
		}
		late := time.NewTimer(min(time.Duration(limit)*time.Millisecond, maxWait))
		defer late.Stop()
		select {
		case <-k.done:
		case <-late.C:
		case <-t.gone(r):
		}
		proto.Answer(w, k.describe())
		return nil
	})
}

func (t *Table) output(w http.ResponseWriter, r *http.Request) {
	t.with(w, r, func(k *kept, values url.Values) *proto.Failure {
		from, failure := numberOf(values, "from", 0)
		if failure == nil {
			k.follow(w, from, values.Get("hold") == "1", t.gone(r))
		}
		return failure
	})
}

// attach is output and input at once: the request's body holds input records.
func (t *Table) attach(w http.ResponseWriter, r *http.Request) {
	t.with(w, r, func(k *kept, values url.Values) *proto.Failure {
		from, failure := numberOf(values, "from", 0)
		if failure == nil {
			go k.feed(r.Body)
			k.follow(w, from, values.Get("hold") == "1", t.gone(r))
		}
		return failure
	})
}

// stdin takes the request's body as it is. at is the offset of its first byte; close ends the input behind it.
func (t *Table) stdin(w http.ResponseWriter, r *http.Request) {
	t.with(w, r, func(k *kept, values url.Values) *proto.Failure {
		at, failure := numberOf(values, "at", -1)
		if failure != nil {
			return failure
		}
		piece := make([]byte, chunkSize)
		for {
			n, err := r.Body.Read(piece)
			if n > 0 {
				if err := k.input.write(at, piece[:n]); err != nil {
					return proto.FailureOf(err, "cannot write to the process")
				}
				if at >= 0 {
					at += int64(n)
				}
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return proto.Fail(proto.CodeCancelled, "cannot write to the process: the body broke off")
			}
		}
		if values.Get("close") == "1" {
			k.input.end()
		}
		proto.Answer(w, k.describe())
		return nil
	})
}

func (t *Table) signal(w http.ResponseWriter, r *http.Request) {
	t.with(w, r, func(k *kept, _ url.Values) *proto.Failure {
		var asked struct {
			Signal string `json:"signal"`
		}
		failure := proto.ReadJSON(r, maxRequest, &asked)
		if failure != nil {
			return failure
		}
		signal, failure := findSignal(asked.Signal)
		if failure == nil {
			k.sendSignal(signal)
			proto.Answer(w, k.describe())
		}
		return failure
	})
}

func (t *Table) resize(w http.ResponseWriter, r *http.Request) {
	t.with(w, r, func(k *kept, _ url.Values) *proto.Failure {
		var wanted size
		failure := proto.ReadJSON(r, maxRequest, &wanted)
		if failure == nil {
			failure = wanted.check()
		}
		if failure != nil {
			return failure
		}
		if k.tty == nil {
			return proto.Fail(proto.CodeConflict, "cannot resize the process: it has no terminal")
		}
		if err := resize(k.tty, wanted); err != nil && !errors.Is(err, syscall.EIO) && !k.isOver() {
			return proto.FailureOf(err, "cannot resize the process")
		}
		proto.Answer(w, k.describe())
		return nil
	})
}

// remove ends the process if it runs, and forgets it.
func (t *Table) remove(w http.ResponseWriter, r *http.Request) {
	t.with(w, r, func(k *kept, _ url.Values) *proto.Failure {
		k.kill()
		late := time.NewTimer(afterKill)
		defer late.Stop()
		select {
		case <-k.done:
		case <-late.C:
		}
		described := k.describe()
		t.forget(k)
		proto.Answer(w, described)
		return nil
	})
}

func numberOf(values url.Values, name string, usual int64) (int64, *proto.Failure) {
	text := values.Get(name)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, proto.Fail(proto.CodeInvalidRequest, "cannot read the request: %s must be a whole number", name)
	}
	return n, nil
}

// findSignal knows signals by name, with or without SIG, and by number.
func findSignal(name string) (syscall.Signal, *proto.Failure) {
	upper := strings.ToUpper(name)
	for signal, known := range signalNames {
		if known == upper || known == "SIG"+upper {
			return signal, nil
		}
	}
	if n, err := strconv.Atoi(name); err == nil && n >= 1 && n <= 64 {
		return syscall.Signal(n), nil
	}
	return 0, proto.Fail(proto.CodeInvalidRequest, "cannot signal the process: there is no signal %.20q", name)
}
