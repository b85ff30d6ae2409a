package process

// One command from its start to its answer:
//
//	started ──ends within moments──▶ drained ──▶ over
//	   └──▶ pumped ──ends, times out, caller gone──▶ ended ──pipes end or fall quiet──▶ over
//
// A timeout or a caller who leaves kills the whole process group. What has left the group (setsid) or stays in the background lives on,
// and its output is read and dropped.

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"portico.dev/agent/internal/proto"
	"portico.dev/agent/internal/reaper"
)

const (
	// moments is how long a command may run before its pipes get pumps. What it prints until then waits in the pipes.
	moments = 4 * time.Millisecond
	// quiet is how long the pipes must carry nothing, after the command is over, for its output to count as whole.
	quiet = 20 * time.Millisecond
	// patience is how long background processes that go on printing can hold the answer back.
	patience = 250 * time.Millisecond
	// afterKill is how long the kernel gets to end a killed process; one that hangs in the kernel is left alone.
	afterKill = 5 * time.Second

	exitTimedOut      = 124
	exitNotExecutable = 126
	exitNotFound      = 127
)

// Runner runs commands for callers.
type Runner struct {
	reaper      *reaper.Reaper
	environment *Environment
	cgroup      int // a file descriptor, or -1
	output      allowance
}

// NewRunner makes a Runner. Processes begin in the cgroup whose folder is open as that descriptor, unless it is negative. All answers in
// the making together hold at most maxHeld bytes of output.
func NewRunner(r *reaper.Reaper, environment *Environment, cgroup int, maxHeld int64) *Runner {
	runner := &Runner{reaper: r, environment: environment, cgroup: cgroup}
	runner.output.left.Store(maxHeld)
	return runner
}

// outcome is how a command ended and what it printed.
type outcome struct {
	exitCode  int
	signal    syscall.Signal
	timedOut  bool
	duration  time.Duration
	stdout    []byte
	stderr    []byte
	truncated [2]bool
}

var errCallerGone = errors.New("cannot answer: the caller has gone")

// running is a command under way.
type running struct {
	process *reaper.Process
	pipes   [2]*capture
	stdin   *os.File // what could not be written before the start
	begun   time.Time
	timeout time.Duration
}

// run runs a command to its end. The error is a *proto.Failure or errCallerGone.
func (r *Runner) run(c *command, gone <-chan struct{}) (*outcome, error) {
	e, err := r.start(c)
	var refusal *refusedProgram
	if errors.As(err, &refusal) {
		return refusal.outcome(), nil
	}
	if err != nil {
		return nil, err
	}
	return r.finish(e, gone)
}

// finish waits for the end of a command that was started.
func (r *Runner) finish(e *running, gone <-chan struct{}) (*outcome, error) {
	defer e.release()
	result := &outcome{}
	why := e.wait(gone)
	result.duration = time.Since(e.begun)
	if why == callerGone {
		return nil, errCallerGone
	}
	e.settle()
	result.stdout, result.truncated[0] = e.pipes[0].result()
	result.stderr, result.truncated[1] = e.pipes[1].result()
	if why == timedOut {
		result.exitCode, result.timedOut = exitTimedOut, true
	} else {
		result.exitCode, result.signal = e.process.Outcome()
	}
	return result, nil
}

func (r *Runner) start(c *command) (*running, error) {
	e := &running{timeout: c.timeout}
	stdin, theirs, err := openStdin(c.stdin)
	if err != nil {
		return nil, proto.FailureOf(err, "cannot run the command")
	}
	e.stdin = stdin
	files := []uintptr{uintptr(theirs), 0, 0}
	defer func() {
		for i, fd := range files {
			if fd > 2 && (i > 0 || c.stdin != nil) {
				_ = syscall.Close(int(fd))
			}
		}
	}()
	for i := range e.pipes {
		pipe, theirs, err := newCapture(c.maxOutput, &r.output)
		if err != nil {
			e.release()
			return nil, proto.FailureOf(err, "cannot run the command")
		}
		e.pipes[i], files[i+1] = pipe, uintptr(theirs)
	}
	if err := r.fork(c, e, files); err != nil {
		e.release()
		return nil, err
	}
	return e, nil
}

func (r *Runner) fork(c *command, e *running, files []uintptr) error {
	e.begun = time.Now()
	process, err := r.launch(c, files, &syscall.SysProcAttr{})
	e.process = process
	return err
}

// launch starts the command's program with these standard files. The error is a *proto.Failure or a *refusedProgram.
func (r *Runner) launch(c *command, files []uintptr, system *syscall.SysProcAttr) (*reaper.Process, error) {
	environment, cgroup := r.environment, r.cgroup
	if c.place != nil {
		environment, cgroup = c.place.environment, c.place.cgroup
	}
	env, path := environment.with(c.env, c.user)
	file, err := lookup(c.argv[0], path, c.cwd)
	if err != nil {
		return nil, explain(err, c)
	}
	if c.user != nil {
		system.Credential = &syscall.Credential{Uid: c.user.uid, Gid: c.user.gid, Groups: c.user.groups}
	}
	attributes := &syscall.ProcAttr{Dir: c.cwd, Env: env, Files: files, Sys: system}
	return r.begin(file, c, attributes, cgroup)
}

// begin starts a program in a cgroup, unless that is negative.
func (r *Runner) begin(file string, c *command, attributes *syscall.ProcAttr, cgroup int) (*reaper.Process, error) {
	system := attributes.Sys
	if cgroup >= 0 {
		system.UseCgroupFD, system.CgroupFD = true, cgroup
	}
	process, err := r.reaper.Start(file, c.argv, attributes)
	if cgroup >= 0 && (err == syscall.ENODEV || err == syscall.EBUSY || err == syscall.EOPNOTSUPP) {
		// The guest's root has taken the group away or made it one that holds no processes; that is its right.
		system.UseCgroupFD = false
		process, err = r.reaper.Start(file, c.argv, attributes)
	}
	if err != nil {
		return nil, explain(err, c)
	}
	return process, nil
}

// explain tells why a program did not start: an answer like a shell's if that is the program's fault, else a failure.
func explain(err error, c *command) error {
	var stat syscall.Stat_t
	switch fault := syscall.Stat(c.cwd, &stat); {
	case errors.Is(err, reaper.ErrClosed):
		return proto.Fail(proto.CodeSandboxNotRunning, "cannot run the command: the sandbox is stopping")
	case err == syscall.EAGAIN || err == syscall.ENOMEM || err == syscall.EMFILE || err == syscall.ENFILE:
		return proto.Fail(proto.CodeOverloaded, "cannot run the command: the sandbox has no room for more processes")
	case fault == syscall.ENOENT:
		return proto.Fail(proto.CodeInvalidPath, "cannot run the command: cwd %s does not exist", c.cwd)
	case fault != nil:
		return proto.Fail(proto.CodeInvalidPath, "cannot run the command: cwd %s: %s", c.cwd, fault)
	case stat.Mode&syscall.S_IFMT != syscall.S_IFDIR:
		return proto.Fail(proto.CodeInvalidPath, "cannot run the command: cwd %s is not a directory", c.cwd)
	case err == syscall.ENOENT || err == syscall.ENOTDIR:
		return &refusedProgram{exitNotFound, c.argv[0], "not found"}
	}
	return &refusedProgram{exitNotExecutable, c.argv[0], err.Error()}
}

// refusedProgram is a program that cannot be run.
type refusedProgram struct {
	exitCode int
	name     string
	why      string
}

func (p *refusedProgram) Error() string { return fmt.Sprintf("exec: %s: %s", p.name, p.why) }

func (p *refusedProgram) outcome() *outcome {
	return &outcome{exitCode: p.exitCode, stderr: []byte(p.Error() + "\n")}
}

type ending int

const (
	byItself ending = iota
	timedOut
	callerGone
)

// wait waits for the command's end and brings it about if it must.
func (e *running) wait(gone <-chan struct{}) ending {
	timer := time.NewTimer(min(moments, e.timeout))
	defer timer.Stop()
	why := byItself
	select {
	case <-e.process.Done():
		return byItself
	case <-gone:
		why = callerGone
	case <-timer.C:
		e.pump()
		timer.Reset(time.Until(e.begun.Add(e.timeout)))
		select {
		case <-e.process.Done():
			return byItself
		case <-gone:
			why = callerGone
		case <-timer.C:
			why = timedOut
		}
	}
	e.process.SignalGroup(syscall.SIGKILL)
	timer.Reset(afterKill)
	select {
	case <-e.process.Done():
	case <-timer.C:
	}
	return why
}

// pump hands the pipes, and what is left of stdin, to goroutines.
func (e *running) pump() {
	for _, pipe := range e.pipes {
		pipe.pump()
	}
}

// settle waits, after the command's end, until its pipes have ended or fallen quiet.
func (e *running) settle() {
	if e.pipes[0].ended == nil {
		first, second := e.pipes[0].drain(), e.pipes[1].drain()
		if first && second {
			return
		}
		for i, ended := range [2]bool{first, second} {
			if !ended {
				e.pipes[i].pump()
			}
		}
	}
	late := make(chan struct{})
	defer time.AfterFunc(afterKill, func() { close(late) }).Stop()
	for _, pipe := range e.pipes {
		if pipe.ended != nil {
			pipe.catchUp(late)
		}
	}
	deadline := time.Now().Add(patience)
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for before := e.reads(); ; before = e.reads() {
		if !e.awaitPipes(timer) && time.Now().Before(deadline) && e.reads() != before {
			timer.Reset(quiet)
			continue
		}
		return
	}
}

// awaitPipes tells whether both pipes have ended before the timer.
func (e *running) awaitPipes(timer *time.Timer) bool {
	for _, pipe := range e.pipes {
		if pipe.ended == nil {
			continue
		}
		select {
		case <-pipe.ended:
		case <-timer.C:
			return false
		}
	}
	return true
}

func (e *running) reads() int64 { return e.pipes[0].reads.Load() + e.pipes[1].reads.Load() }

// release gives back all that the command held. Pumps go on until their pipes end.
func (e *running) release() {
	for _, pipe := range e.pipes {
		if pipe != nil {
			pipe.release()
			pipe.close()
		}
	}
	if e.stdin != nil {
		_ = e.stdin.Close()
	}
}

var devNull = sync.OnceValues(func() (int, error) {
	return syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
})

// openStdin makes what the command reads. What a pipe cannot hold is written by a goroutine, through the file that is returned; closing
// that ends the writing.
func openStdin(input []byte) (rest *os.File, theirs int, err error) {
	if input == nil {
		theirs, err = devNull()
		return nil, theirs, err
	}
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		return nil, -1, err
	}
	if err := syscall.SetNonblock(ends[1], true); err != nil {
		_ = syscall.Close(ends[0])
		_ = syscall.Close(ends[1])
		return nil, -1, err
	}
	n, _ := syscall.Write(ends[1], input)
	if n = max(n, 0); n == len(input) {
		_ = syscall.Close(ends[1])
		return nil, ends[0], nil
	}
	file := os.NewFile(uintptr(ends[1]), "stdin")
	go func() {
		_, _ = file.Write(input[n:])
		_ = file.Close()
	}()
	return file, ends[0], nil
}
