package process

// Commands that run in a container which is there already. The thread that starts one enters the container's namespaces first, and ends then:
// a thread that has been elsewhere is good for nothing else.

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"portico.dev/agent/internal/proto"
)

// Inside is a container as those see it who enter it.
type Inside struct {
	Pid    int // its first process
	Env    map[string]string
	Cgroup int
}

// Result is how a command ended and what it printed.
type Result struct {
	Stdout, Stderr []byte
	ExitCode       int
	TimedOut       bool
	Duration       time.Duration
}

// ErrCallerGone is the error of a command that was ended because nobody waits for it.
var ErrCallerGone = errCallerGone

// RunInside runs a command in a container to its end.
func (r *Runner) RunInside(p *Program, in *Inside, timeout time.Duration, gone <-chan struct{}) (*Result, error) {
	if _, err := devNull(); err != nil { // it is opened once, and should not be a container's
		return nil, err
	}
	e, err := apart(func() (*running, error) {
		if err := in.enter(); err != nil {
			return nil, proto.Fail(proto.CodeConflict, "cannot run the command: the container has ended")
		}
		c, failure := p.resolve()
		if failure != nil {
			return nil, failure
		}
		c.timeout, c.place = timeout, &place{imageEnvironment(in.Env), in.Cgroup}
		return r.start(c)
	})
	var refusal *refusedProgram
	if errors.As(err, &refusal) {
		o := refusal.outcome()
		return &Result{Stderr: o.stderr, ExitCode: o.exitCode}, nil
	}
	if err != nil {
		return nil, err
	}
	o, err := r.finish(e, gone)
	if err != nil {
		return nil, err
	}
	return &Result{o.stdout, o.stderr, o.exitCode, o.timedOut, o.duration}, nil
}

// enter moves the calling thread into the container; its processes are numbered there, itself is not.
func (in *Inside) enter() error {
	const setns = 308
	var spaces []int
	defer func() {
		for _, fd := range spaces {
			_ = syscall.Close(fd)
		}
	}()
	for _, name := range [4]string{"uts", "ipc", "pid", "mnt"} {
		fd, err := syscall.Open(fmt.Sprintf("/proc/%d/ns/%s", in.Pid, name), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		spaces = append(spaces, fd)
	}
	if err := syscall.Unshare(syscall.CLONE_FS); err != nil {
		return err
	}
	for _, fd := range spaces {
		if _, _, number := syscall.RawSyscall(setns, uintptr(fd), 0, 0); number != 0 {
			return number
		}
	}
	return nil
}

// apart runs something on a thread that ends with it, so that what it changes of its thread concerns nobody else.
func apart[T any](run func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // for good
		if syscall.Gettid() == os.Getpid() {
			// The first thread is what others see of the process, and does not end: it only waits.
			value, err := apart(run)
			runtime.UnlockOSThread()
			done <- result{value, err}
			return
		}
		value, err := run()
		done <- result{value, err}
	}()
	r := <-done
	return r.value, r.err
}
