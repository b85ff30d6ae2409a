// Package reaper is the only caller of wait4. It starts every process and buries every one that ends, also those that nobody here started
// and that fell to PID 1.
//
//	Start, under the lock: fork, exec, register        Run: waits for any end, without reaping; then, under the lock, reaps and tells
//
// As a child is registered under the lock that starts it, its end always finds its owner. As it is reaped under the same lock, its number
// belongs to it (or to nobody) for as long as anybody here may signal it.
package reaper

import (
	"errors"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// ErrClosed is the answer of Start once no more processes may begin.
var ErrClosed = errors.New("cannot start a process: shutting down")

const (
	waitAll      = 0       // P_ALL
	waitExited   = 4       // WEXITED
	waitKeep     = 1 << 24 // WNOWAIT
	waitAnyClone = 1 << 30 // __WALL
	siginfoSize  = 128

	// usualSlack is how many nanoseconds late a process is woken at most, unless it says otherwise: the kernel's own choice. Processes
	// inherit the slack of the thread that forks them, and threads of this program may have another.
	usualSlack = 50_000
)

// Reaper starts and buries processes. Run must be going on.
type Reaper struct {
	lock     sync.Mutex
	started  sync.Cond
	children map[int]*Process
	closed   bool
	empty    chan struct{}
	orphans  int
}

// New makes a Reaper. There may be only one in a process.
func New() *Reaper {
	dropChildSignal()
	r := &Reaper{children: map[int]*Process{}, empty: make(chan struct{})}
	r.started.L = &r.lock
	return r
}

// Process is a process that was started here.
type Process struct {
	Pid    int
	reaper *Reaper
	done   chan struct{}
	status syscall.WaitStatus
	usage  syscall.Rusage
	reaped bool
}

// Start runs a program as the leader of a session and a process group of its own. The error is that of fork or exec.
func (r *Reaper) Start(path string, argv []string, attributes *syscall.ProcAttr) (*Process, error) {
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if attributes.Sys == nil {
		attributes.Sys = &syscall.SysProcAttr{}
	}
	attributes.Sys.Setsid = true
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	setTimerSlack(usualSlack)
	pid, err := syscall.ForkExec(path, argv, attributes)
	if err != nil {
		return nil, err
	}
	process := &Process{Pid: pid, reaper: r, done: make(chan struct{})}
	r.children[pid] = process
	r.started.Signal()
	return process, nil
}

// Close refuses new processes from now on.
func (r *Reaper) Close() {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.closed = true
	r.started.Signal()
}

// Empty is closed once no process is left after Close. Every process of a machine descends from a child of PID 1, so there it means all.
func (r *Reaper) Empty() <-chan struct{} { return r.empty }

// Orphans tells how many processes were buried that were not started here.
func (r *Reaper) Orphans() int {
	r.lock.Lock()
	defer r.lock.Unlock()
	return r.orphans
}

// Run waits for processes to end, until none is left after Close.
func (r *Reaper) Run() {
	for {
		switch err := waitAny(); {
		case err == nil:
			r.reap()
		case errors.Is(err, syscall.ECHILD):
			if !r.waitForStart() {
				close(r.empty)
				return
			}
		case !errors.Is(err, syscall.EINTR):
			time.Sleep(time.Second) // never seen; must not become a busy loop
		}
	}
}

// waitForStart waits until there is a child; false if there will be none. Without a child there is no process at all, so none can fall to
// PID 1.
func (r *Reaper) waitForStart() bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	for len(r.children) == 0 && !r.closed {
		r.started.Wait()
	}
	return len(r.children) > 0
}

// reap buries all that has ended.
func (r *Reaper) reap() {
	r.lock.Lock()
	defer r.lock.Unlock()
	for {
		var status syscall.WaitStatus
		var usage syscall.Rusage
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG|waitAnyClone, &usage)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		process := r.children[pid]
		if process == nil {
			r.orphans++
			continue
		}
		delete(r.children, pid)
		process.status, process.usage, process.reaped = status, usage, true
		close(process.done)
	}
}

// dropChildSignal lets the kernel forget SIGCHLD, which Go would otherwise run a handler for at each end: Run is woken without it.
func dropChildSignal() {
	const maskSize = 8
	var standard struct { // struct kernel_sigaction, all zero: SIG_DFL
		handler, flags, restorer, mask uintptr
	}
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGCHLD), uintptr(unsafe.Pointer(&standard)), 0, maskSize, 0, 0)
}

func setTimerSlack(nanoseconds uintptr) {
	const setTimerSlack = 29 // PR_SET_TIMERSLACK
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setTimerSlack, nanoseconds, 0)
}

// waitAny returns once a child has ended, and leaves it to be reaped.
func waitAny() error {
	var info [siginfoSize]byte
	_, _, number := syscall.Syscall6(syscall.SYS_WAITID, waitAll, 0, uintptr(unsafe.Pointer(&info)), waitExited|waitKeep|waitAnyClone, 0, 0)
	if number != 0 {
		return number
	}
	return nil
}

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Outcome tells how the process ended: its exit code, which is 128 + signal if a signal ended it, and that signal. Valid once Done is closed.
func (p *Process) Outcome() (code int, signal syscall.Signal) {
	if p.status.Signaled() {
		return 128 + int(p.status.Signal()), p.status.Signal()
	}
	return p.status.ExitStatus(), 0
}

// Usage tells what the process and the children it waited for have used. Valid once Done is closed.
func (p *Process) Usage() syscall.Rusage { return p.usage }

// SignalGroup signals the process's group, unless the process has ended: then its number may be another's.
func (p *Process) SignalGroup(signal syscall.Signal) {
	p.reaper.lock.Lock()
	defer p.reaper.lock.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.Pid, signal)
	}
}
