package services

// One service from its start until it is stopped or failed: attempts, one after the other as its restart policy wants, each a process.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"portico.dev/agent/internal/container"
	"portico.dev/agent/internal/process"
)

const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// life is what goes on of a service. The supervisor's lock guards it, but for what never changes.
type life struct {
	definition Definition // as it was at the start
	stop       chan struct{}
	stopping   bool // stop is closed

	hurry   chan struct{} // closed when somebody does not want to wait for the pause
	attempt int           // which is under way, or was the last
	readied int           // the last that was ready
	failed  int           // the last that was over without that
	fault   string        // why
	proven  bool          // it was ready since somebody started it: then its policy counts

	task  *process.Task
	group *group
}

// begin gives a service its life. The lock is held.
func (v *Supervisor) begin(s *service) *life {
	l := &life{definition: s.definition, stop: make(chan struct{}), hurry: make(chan struct{})}
	s.life = l
	s.state, s.reason = starting, ""
	go v.live(s, l)
	return l
}

// ended is how an attempt was over.
type ended struct {
	code   int
	fault  string // empty for an end with 0
	exited bool   // there was a process, and it has ended
	hangs  bool   // there is one, and it does not end
}

func (v *Supervisor) live(s *service, l *life) {
	pause := firstPause
	for {
		begun := time.Now()
		end := v.try(s, l)
		if time.Since(begun) > longestPause {
			pause = firstPause
		}
		again, hurry := false, (chan struct{})(nil)
		v.change(func() {
			if l.readied < l.attempt {
				l.failed, l.fault = l.attempt, end.fault
			}
			l.task, l.group = nil, nil
			if end.exited {
				s.exitCode = &end.code
			}
			wanted := l.definition.Restart == restartAlways || l.definition.Restart == restartOnFailure && end.fault != ""
			again = l.proven && wanted && !l.stopping && !v.closing
			if again {
				what := end.fault
				if what == "" {
					what = "ended with 0"
				}
				s.state, s.reason = waiting, fmt.Sprintf("%s; it starts again in %s", what, pause)
				hurry = l.hurry
				return
			}
			s.life = nil
			s.settle(l.stopping, end)
		})
		if !again {
			return
		}
		rest := time.NewTimer(pause)
		select {
		case <-rest.C:
		case <-hurry:
		case <-l.stop:
		}
		rest.Stop()
		pause = min(2*pause, longestPause)
		v.change(func() {
			switch {
			case !l.proven: // somebody has started it, and all begins anew
				pause = firstPause
			case !l.stopping:
				s.restarts++
			}
		})
	}
}

// settle is the state after the last attempt. The lock is held.
func (s *service) settle(isStopped bool, end ended) {
	switch {
	case isStopped && !end.hangs:
		s.state, s.reason = stopped, ""
	case end.fault == "":
		s.state, s.reason = stopped, "ended with 0"
	default:
		s.state, s.reason = failed, end.fault
	}
}

// try is one attempt, from the start of its process until nothing is left of it.
func (v *Supervisor) try(s *service, l *life) ended {
	d := &l.definition
	group := newGroup(v.cgroup)
	leader := 0
	defer func() { group.end(leader) }()
	isStopped := false
	v.change(func() {
		l.attempt++
		if isStopped = l.stopping; !isStopped {
			s.state, s.reason, s.startedAt = starting, "", time.Now()
		}
	})
	if isStopped {
		return ended{}
	}
	over, cancel := context.WithTimeout(context.Background(), seconds(d.StartTimeout))
	defer cancel()
	task, ready, err := v.launch(over, d, group, s.log)
	if err != nil {
		return ended{fault: refused(err, s.log)}
	}
	leader = task.Pid()
	fault := v.await(s, l, &attempt{task, group, ready, over})
	task.Signal(syscall.SIGKILL)
	group.kill()
	late := time.NewTimer(buryLimit)
	defer late.Stop()
	select {
	case <-task.Done():
	case <-late.C: // it hangs in the kernel
		return ended{fault: "could not be ended", hangs: true}
	}
	group.kill()
	task.Drain()
	code, signal := task.Outcome()
	if fault == "" {
		fault = describe(code, signal)
	}
	return ended{code: code, fault: fault, exited: true}
}

// attempt is a process that was started and is to become ready.
type attempt struct {
	task  *process.Task
	group *group
	ready <-chan error
	over  context.Context
}

// await sees a process through being ready, running and being stopped. It returns when the process has ended or must be killed; the answer is why,
// where the process itself cannot tell.
func (v *Supervisor) await(s *service, l *life, a *attempt) string {
	fault, isStopped := a.awaitReady(&l.definition, l.stop, s.log)
	if isStopped {
		v.askToEnd(l, a)
	}
	if isStopped || fault != "" {
		return fault
	}
	v.change(func() {
		l.readied, l.proven = l.attempt, true
		l.task, l.group = a.task, a.group
		if !l.stopping {
			s.state = running
		}
	})
	select {
	case <-a.task.Done():
	case <-l.stop:
		v.askToEnd(l, a)
	}
	return ""
}

// awaitReady waits until the process is ready; else it tells why not, or that it is to be stopped.
func (a *attempt) awaitReady(d *Definition, stop <-chan struct{}, log *process.Log) (fault string, isStopped bool) {
	var err error
	ended := a.task.Done()
	if d.HealthPort == nil {
		ended = nil // one that has started was ready, however short it was
	}
	select {
	case <-stop:
		return "", true
	case <-ended:
		a.task.Drain()
		code, signal := a.task.Outcome()
		return ending(code, signal) + " before it was ready", false
	case err = <-a.ready:
	}
	switch {
	case err == nil:
		return "", false
	case errors.Is(err, context.DeadlineExceeded) && d.HealthPort != nil:
		return fmt.Sprintf("did not take connections on port %d within %s", *d.HealthPort, seconds(d.StartTimeout)), false
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("did not start within %s", seconds(d.StartTimeout)), false
	}
	return refused(err, log), false
}

// refused tells why a program could not be started, and leaves a line of it in the log.
func refused(err error, log *process.Log) string {
	why := strings.TrimPrefix(err.Error(), "cannot run the command: ")
	log.Note("cannot start: " + why)
	return "cannot be started: " + why
}

// askToEnd gives the process its time to end by itself.
func (v *Supervisor) askToEnd(l *life, a *attempt) {
	a.task.Signal(syscall.SIGTERM)
	a.task.Signal(syscall.SIGCONT) // one that is stopped could not hear it
	late := time.NewTimer(seconds(l.definition.StopTimeout))
	defer late.Stop()
	select {
	case <-a.task.Done():
	case <-late.C:
	}
}

// launch starts the process. ready tells once when it is ready, or that it is not going to be.
func (v *Supervisor) launch(over context.Context, d *Definition, group *group, log *process.Log) (*process.Task, <-chan error, error) {
	ready := make(chan error, 1)
	var task *process.Task
	var begun *container.Begun
	var err error
	if d.Container {
		if begun, err = v.images.Begin(v.runner, d.Name, *d.ContainerImage, *d.program(), group.fd, log); err == nil {
			task = begun.Task
		}
	} else {
		task, err = v.runner.StartTask(d.program(), nil, group.fd, log)
	}
	if err != nil {
		return nil, nil, err
	}
	if begun == nil && d.HealthPort == nil {
		ready <- nil
		return task, ready, nil
	}
	go func() {
		if begun != nil {
			if err := begun.Await(over); err != nil {
				ready <- err
				return
			}
		}
		if d.HealthPort != nil && !awaitPort(over, *d.HealthPort) {
			ready <- over.Err()
			return
		}
		ready <- nil
	}()
	return task, ready, nil
}

// describe tells an end by itself; nothing for one with 0.
func describe(code int, signal string) string {
	if code == 0 {
		return ""
	}
	return ending(code, signal)
}

func ending(code int, signal string) string {
	if signal != "" {
		return "was ended by " + signal
	}
	return fmt.Sprintf("ended with %d", code)
}
