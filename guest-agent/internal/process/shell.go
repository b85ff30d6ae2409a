package process

// Shell sessions: one shell that lives on, to which commands are given one after the other, so that its folder, variables, functions and
// jobs persist. Commands come to it on one descriptor and their exit codes leave on another, so that neither what they read nor what they
// print can be taken for either. When a command's code is there, all that it printed is in the pipes: that is read first, and then the
// log gets a mark.
//
//	idle ──run──▶ busy ──code──▶ idle          any ──exit, or a signal that ends the shell──▶ over

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"portico.dev/agent/internal/proto"
)

const (
	// toMark is a record between outputs: a command's beginning or end, as JSON.
	toMark output = 5
	// mostWaiting is how many commands wait for the one that runs.
	mostWaiting = 256
	maxCommand  = 1 << 20
	// mostOver is how many runs are still known once they are over.
	mostOver = 256
)

// The shells' own programs. For a command the two descriptors are closed, so that it meets neither by accident.
const (
	bashProgram = `trap : INT; while IFS= read -r -d '' -u 4 __portico; do eval "$__portico" 3>&- 4<&-; printf '%s\n' "$?" >&3; done`
	shProgram   = `trap : INT; while IFS= read -r __portico <&4; do __portico=$(printf '%b.' "$__portico"); eval "${__portico%.}" 3>&- 4<&-; printf '%s\n' "$?" >&3; done`
)

type shellSession struct {
	commands *os.File // what it runs
	codes    *os.File // how that ended
	escaped  bool     // commands cross on one line each
	lock     sync.Mutex
	waiting  []string    // runs given and not over, oldest first
	ended    []string    // runs that are over, oldest first
	begun    time.Time   // when the first of those that wait began
	lines    chan string // to the shell, in the order of waiting
	over     bool
}

// mark is what stands in the log where a command begins and ends.
type mark struct {
	Run      string   `json:"run"`
	State    string   `json:"state"` // started or ended
	ExitCode *int     `json:"exit_code,omitempty"`
	Duration *float64 `json:"duration_ms,omitempty"`
}

// spawnShell starts a shell: bash where there is one.
func (r *Runner) spawnShell(c *spawning) (*kept, error) {
	_, path := r.environment.with(c.env, c.user)
	session := &shellSession{lines: make(chan string, mostWaiting)}
	c.argv = []string{"bash", "--noprofile", "--norc", "-c", bashProgram, "bash"}
	if _, err := lookup("bash", path, c.cwd); err != nil {
		c.argv, session.escaped = []string{"/bin/sh", "-c", shProgram, "sh"}, true
	}
	theirs := [2]int{-1, -1}
	defer func() {
		for _, fd := range theirs {
			if fd >= 0 {
				_ = syscall.Close(fd)
			}
		}
	}()
	for i, file := range [2]**os.File{&session.codes, &session.commands} {
		var ends [2]int
		if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
			session.close()
			return nil, proto.FailureOf(err, "cannot open the shell")
		}
		ours := ends[i]
		theirs[i] = ends[1-i]
		_ = syscall.SetNonblock(ours, true)
		*file = os.NewFile(uintptr(ours), "shell")
	}
	c.more = []uintptr{uintptr(theirs[0]), uintptr(theirs[1])}
	k, err := r.spawn(c)
	if err != nil || k.process == nil {
		session.close()
		return k, err
	}
	k.shell = session
	go k.hearCodes()
	go func() {
		for {
			select {
			case line := <-session.lines:
				_, _ = session.commands.Write([]byte(line))
			case <-k.done:
				return
			}
		}
	}()
	go func() {
		<-k.done
		session.close() // a job in the background may hold the other ends
	}()
	return k, nil
}

func (s *shellSession) close() {
	for _, file := range [2]*os.File{s.commands, s.codes} {
		if file != nil {
			_ = file.Close()
		}
	}
}

// run gives the shell a command. The run's name comes back in the marks; a run that was given already is not given again.
func (k *kept) run(run, command string) *proto.Failure {
	s := k.shell
	if strings.ContainsRune(command, 0) {
		return invalid("it holds a zero byte")
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if slices.Contains(s.waiting, run) || slices.Contains(s.ended, run) {
		return nil
	}
	switch {
	case s.over || k.isOver():
		return proto.Fail(proto.CodeConflict, "cannot run the command: the shell has ended")
	case len(s.waiting) >= mostWaiting:
		return proto.Fail(proto.CodeOverloaded, "cannot run the command: %d are waiting already", mostWaiting)
	}
	line := command + "\x00"
	if s.escaped {
		line = escapeLine(command) + "\n"
	}
	s.waiting = append(s.waiting, run)
	if len(s.waiting) == 1 {
		k.markStart()
	}
	s.lines <- line
	return nil
}

// hearCodes marks the end of each command, once what it has printed is in the log.
func (k *kept) hearCodes() {
	s := k.shell
	lines := bufio.NewReader(s.codes)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		code, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			continue
		}
		k.catchUp()
		s.lock.Lock()
		if len(s.waiting) > 0 {
			spent := float64(time.Since(s.begun).Microseconds()) / 1000
			k.mark(mark{Run: s.waiting[0], State: "ended", ExitCode: &code, Duration: &spent})
			s.ended = append(s.ended[max(0, len(s.ended)+1-mostOver):], s.waiting[0])
			s.waiting = s.waiting[1:]
		}
		if len(s.waiting) > 0 {
			k.markStart()
		}
		s.lock.Unlock()
	}
	s.lock.Lock()
	s.over = true
	s.lock.Unlock()
}

// markStart says that the first of those that wait begins.
func (k *kept) markStart() {
	k.shell.begun = time.Now()
	k.mark(mark{Run: k.shell.waiting[0], State: "started"})
}

func (k *kept) mark(m mark) {
	text, _ := json.Marshal(m)
	k.log.write(toMark, text)
}

// catchUp waits until what is in the pipes now is in the log. Others may go on writing: then what one pipe holds is enough.
func (k *kept) catchUp() {
	for _, p := range k.pumps {
		var here waypoint
		for !p.reached(&here) {
			select {
			case <-p.moved:
			case <-p.ended:
			}
		}
	}
}

// escapeLine writes a command as one line for printf's %b.
func escapeLine(command string) string {
	var b strings.Builder
	for i := range len(command) {
		switch c := command[i]; c {
		case '\\':
			b.WriteString(`\\`)
		case '\n':
			b.WriteString(`\n`)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// openShell is the handler of POST /shells.
func (t *Table) openShell(w http.ResponseWriter, r *http.Request) {
	nothing := ":" // what the shell runs is its own program
	k, _, failure := t.keep(r, func(wire *wireSpawning) {
		wire.Argv, wire.Shell, wire.Tty, wire.StdinOpen = nil, &nothing, nil, false
	}, t.runner.spawnShell)
	if failure != nil {
		proto.AnswerFailure(w, failure)
		return
	}
	proto.Answer(w, k.describe())
}

// runInShell is the handler of POST /shells/run.
func (t *Table) runInShell(w http.ResponseWriter, r *http.Request) {
	t.with(w, r, func(k *kept, _ url.Values) *proto.Failure {
		var asked struct {
			Run     string `json:"run"`
			Command string `json:"command"`
		}
		if failure := proto.ReadJSON(r, maxCommand, &asked); failure != nil {
			return failure
		}
		if k.shell == nil {
			return proto.Fail(proto.CodeConflict, "cannot run the command: the process is no shell")
		}
		if asked.Run == "" || len(asked.Run) > 128 {
			return invalid("run must be 1 to 128 characters")
		}
		failure := k.run(asked.Run, asked.Command)
		if failure == nil {
			proto.Answer(w, k.describe())
		}
		return failure
	})
}
