package process

// A task is one run of a program whose output goes into a log that outlives it: what a service does between a start and an end.
//
//	running ──ends──▶ ended ──Drain──▶ its output is in the log

import (
	"net/http"
	"os"
	"syscall"

	"portico.dev/agent/internal/proto"
	"portico.dev/agent/internal/reaper"
)

// Log keeps what a service prints, over all its runs.
type Log struct {
	id   string
	kept *outputLog
}

// NewLog makes a log that keeps so many bytes.
func (r *Runner) NewLog(id string, limit int64) *Log {
	return &Log{id, newOutputLog(limit, &r.output)}
}

// Ending is what a reader is told at the end of a log.
type Ending struct{ ExitCode int }

// Follow sends the log from an offset on, as kept output is sent: up to what is there now, or on and on until the log is closed or the caller
// goes away.
func (l *Log) Follow(w http.ResponseWriter, from int64, on bool, gone <-chan struct{}, ending func() Ending) {
	f := &followed{log: l.kept, id: l.id, from: from, until: -1, gone: gone, ending: func() *ended { return &ended{ExitCode: ending().ExitCode} }}
	if !on {
		_, f.until = l.kept.span()
	}
	follow(w, f)
}

// Close ends the log for those who follow it, and gives its memory back.
func (l *Log) Close() { l.kept.release() }

// Note writes a line of the agent's own.
func (l *Log) Note(line string) { l.kept.write(toStderr, []byte(line+"\n")) }

// Entry is for a task whose program begins in namespaces of its own.
type Entry struct {
	Flags uintptr // of clone
	// Folder is an open folder that the program begins in, as its own mount namespace has it.
	Folder int
	// Files come after the standard ones.
	Files []uintptr
}

// Task is a program that was started.
type Task struct {
	process *reaper.Process
	pumps   []*pump
}

// StartTask starts a program in a cgroup, if that is not negative, with its output into the log. The error is fit for a user.
func (r *Runner) StartTask(p *Program, entry *Entry, cgroup int, log *Log) (*Task, error) {
	c, failure := p.resolve()
	if failure != nil {
		return nil, failure
	}
	c.place = &place{r.environment, cgroup}
	null, err := devNull()
	if err != nil {
		return nil, err
	}
	t := &Task{}
	files := []uintptr{uintptr(null)}
	for _, kind := range [2]output{toStdout, toStderr} {
		ours, theirs, err := outputPipe()
		if err != nil {
			t.close()
			return nil, proto.FailureOf(err, "cannot start the program")
		}
		defer func() { _ = syscall.Close(theirs) }()
		t.pumps = append(t.pumps, newPump(ours, kind))
		files = append(files, uintptr(theirs))
	}
	system := &syscall.SysProcAttr{}
	if entry == nil {
		t.process, err = r.launch(c, files, system)
	} else {
		c.cwd, system.Cloneflags = ".", entry.Flags
		t.process, err = apart(func() (*reaper.Process, error) {
			if err := syscall.Unshare(syscall.CLONE_FS); err != nil {
				return nil, err
			}
			if err := syscall.Fchdir(entry.Folder); err != nil {
				return nil, err
			}
			return r.launch(c, append(files, entry.Files...), system)
		})
	}
	if err != nil {
		t.close()
		return nil, err
	}
	for _, p := range t.pumps {
		go p.run(log.kept)
	}
	return t, nil
}

func outputPipe() (ours *os.File, theirs int, err error) {
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		return nil, -1, err
	}
	_ = syscall.SetNonblock(ends[0], true)
	return os.NewFile(uintptr(ends[0]), "pipe"), ends[1], nil
}

func (t *Task) close() {
	for _, p := range t.pumps {
		_ = p.file.Close()
	}
}

// Pid is the process's number.
func (t *Task) Pid() int { return t.process.Pid }

// Done is closed once the process has ended.
func (t *Task) Done() <-chan struct{} { return t.process.Done() }

// Signal signals the process's group; one that has ended is let be.
func (t *Task) Signal(signal syscall.Signal) { t.process.SignalGroup(signal) }

// Drain waits, after the end, until what was printed is in the log.
func (t *Task) Drain() { drain(t.pumps) }

// Outcome tells the exit code, which is 128 + signal if a signal ended it, and that signal's name. Valid once Done is closed.
func (t *Task) Outcome() (code int, signal string) {
	code, number := t.process.Outcome()
	if number != 0 {
		signal = signalName(number)
	}
	return code, signal
}
