package process

// A process as a resource: it outlives the call that started it, and whoever knows its id reads its output, writes to it and signals it.
//
//	running ──ends, or its time is over──▶ draining ──its outputs end or fall quiet──▶ exited ──removed──▶ gone
//
// It counts as ended once it is exited: its output is whole then. What its descendants print after that is read and dropped.

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"portico.dev/agent/internal/proto"
	"portico.dev/agent/internal/reaper"
)

// drainStep is how often the outputs of a process that has ended are looked at.
const drainStep = 10 * time.Millisecond

type kept struct {
	id      string
	argv    []string
	begun   time.Time
	process *reaper.Process // nil if its program could not be run
	log     *outputLog
	input   *input
	tty     *os.File // nil without a terminal
	pumps   []*pump
	shell   *shellSession // nil but in a shell session
	done    chan struct{}

	// Valid once done is closed.
	exitCode int
	signal   syscall.Signal
	duration time.Duration

	timedOut atomic.Bool
}

// pump moves what one output brings into the log.
type pump struct {
	file  *os.File
	raw   syscall.RawConn
	kind  output
	taken atomic.Int64  // bytes that were read and are in the log
	busy  atomic.Bool   // from before a read until what it brought is in the log
	moved chan struct{} // taken has grown
	ended chan struct{}
}

func newPump(file *os.File, kind output) *pump {
	raw, _ := file.SyscallConn() // a file that is open has one
	return &pump{file: file, raw: raw, kind: kind, moved: make(chan struct{}, 1), ended: make(chan struct{})}
}

func (p *pump) run(log *outputLog) {
	defer close(p.ended)
	defer func() { _ = p.file.Close() }()
	piece := make([]byte, chunkSize)
	for {
		n := 0
		var fault error
		err := p.raw.Read(func(fd uintptr) bool {
			p.busy.Store(true)
			n, fault = syscall.Read(int(fd), piece)
			for fault == syscall.EINTR {
				n, fault = syscall.Read(int(fd), piece)
			}
			if fault == syscall.EAGAIN {
				p.rest()
				return false
			}
			return true
		})
		if n > 0 {
			log.write(p.kind, piece[:n])
			p.taken.Add(int64(n))
		}
		p.rest()
		if err != nil || fault != nil || n <= 0 {
			return // its end; a terminal's is EIO
		}
	}
}

// rest ends what busy began.
func (p *pump) rest() {
	p.busy.Store(false)
	select {
	case p.moved <- struct{}{}:
	default:
	}
}

// waypoint is how far a pump has to come.
type waypoint struct {
	due int64
	set bool
}

// reached tells whether all that was printed before the waypoint was first asked for is in the log. However busy the machine is, and however long it
// stood still: a pipe that nobody had the time to read is no quiet one.
func (p *pump) reached(w *waypoint) bool {
	select {
	case <-p.ended:
		return true
	default:
	}
	if w.set && p.taken.Load() >= w.due {
		return true
	}
	// In this order: what has left the pipe by then is under way, or in the log.
	waiting := readable(p.raw)
	busy := p.busy.Load()
	taken := p.taken.Load()
	if waiting == 0 && !busy {
		*w = waypoint{taken, true}
		return true
	}
	if !w.set {
		*w = waypoint{taken + waiting, true}
		if busy {
			w.due += chunkSize
		}
	}
	return false
}

// spawn starts a process that is kept.
func (r *Runner) spawn(c *spawning) (*kept, error) {
	k := &kept{id: newProcessID(), argv: c.argv, begun: time.Now(), log: newOutputLog(c.buffer, &r.output), done: make(chan struct{})}
	files, err := k.open(c)
	defer func() {
		for _, fd := range files.theirs {
			_ = syscall.Close(fd)
		}
	}()
	if err == nil {
		system := &syscall.SysProcAttr{Setctty: k.tty != nil}
		k.process, err = r.launch(&c.command, append(files.standard[:], c.more...), system)
	}
	var refusal *refusedProgram
	switch {
	case errors.As(err, &refusal):
		k.log.write(toStderr, []byte(refusal.Error()+"\n"))
		k.exitCode = refusal.exitCode
		k.closeFiles()
		k.log.close()
		close(k.done)
		return k, nil
	case err != nil:
		k.closeFiles()
		return nil, proto.FailureOf(err, "cannot run the command")
	}
	for _, p := range k.pumps {
		go p.run(k.log)
	}
	go k.bury(c.timeout)
	if len(c.stdin) > 0 {
		go func() { _ = k.input.write(0, c.stdin); k.closeInputUnless(c.stdinOpen) }()
	} else if !c.stdinOpen {
		k.closeInputUnless(k.tty != nil)
	}
	return k, nil
}

func (k *kept) closeInputUnless(open bool) {
	if !open {
		k.input.end()
	}
}

// opened are the program's ends of what it reads and writes.
type opened struct {
	standard [3]uintptr
	theirs   []int
}

func (k *kept) open(c *spawning) (o opened, err error) {
	if c.tty != nil {
		master, theirs, err := openTerminal(*c.tty)
		if err != nil {
			return o, err
		}
		k.tty = master
		k.input = newInput(master, true)
		k.pumps = []*pump{newPump(master, toStdout)}
		fd := uintptr(theirs)
		return opened{[3]uintptr{fd, fd, fd}, []int{theirs}}, nil
	}
	for i, kind := range [3]output{0, toStdout, toStderr} {
		var ends [2]int
		if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
			return o, err
		}
		ours, theirs := ends[0], ends[1]
		if i == 0 {
			ours, theirs = theirs, ours
		}
		o.standard[i] = uintptr(theirs)
		o.theirs = append(o.theirs, theirs)
		_ = syscall.SetNonblock(ours, true)
		file := os.NewFile(uintptr(ours), "pipe")
		if i == 0 {
			k.input = newInput(file, false)
		} else {
			k.pumps = append(k.pumps, newPump(file, kind))
		}
	}
	return o, nil
}

func (k *kept) closeFiles() {
	if k.input != nil {
		k.input.end()
	}
	for _, p := range k.pumps {
		_ = p.file.Close()
	}
}

// bury waits for the end, brings it about when the time is over, and tells it once the output is whole.
func (k *kept) bury(timeout time.Duration) {
	if timeout > 0 {
		late := time.AfterFunc(timeout, func() {
			k.timedOut.Store(true)
			k.process.SignalGroup(syscall.SIGKILL)
		})
		defer late.Stop()
	}
	<-k.process.Done()
	k.duration = time.Since(k.begun)
	drain(k.pumps)
	k.input.end()
	k.exitCode, k.signal = k.process.Outcome()
	if k.timedOut.Load() {
		k.exitCode = exitTimedOut
	}
	k.log.close()
	close(k.done)
}

// drain waits until the outputs have ended or fallen quiet, or others have gone on printing for too long. What the process itself has printed is read in
// any case. A reader that holds the log may take its time.
func drain(pumps []*pump) {
	step := time.NewTicker(drainStep)
	defer step.Stop()
	deadline := time.Now().Add(patience)
	still, before := time.Now(), int64(-1)
	waypoints := make([]waypoint, len(pumps))
	for {
		ended, busy, reached, taken := true, false, true, int64(0)
		for i, p := range pumps {
			select {
			case <-p.ended:
			default:
				ended = false
			}
			reached = p.reached(&waypoints[i]) && reached
			busy = busy || p.busy.Load()
			taken += p.taken.Load()
		}
		switch {
		case ended:
			return
		case taken != before:
			still, before = time.Now(), taken
		case busy: // a reader that holds the log is slow
			still, deadline = time.Now(), time.Now().Add(patience)
		case time.Since(still) >= quiet && reached:
			return
		}
		if time.Now().After(deadline) && reached {
			return
		}
		<-step.C
	}
}

func (k *kept) isOver() bool {
	select {
	case <-k.done:
		return true
	default:
		return false
	}
}

// kill ends the process and all of its group.
func (k *kept) kill() { k.sendSignal(syscall.SIGKILL) }

// sendSignal signals the process's group; one that has ended is let be.
func (k *kept) sendSignal(signal syscall.Signal) {
	if k.process != nil {
		k.process.SignalGroup(signal)
	}
}

func newProcessID() string {
	var random [8]byte
	_, _ = rand.Read(random[:])
	return "proc" + hex.EncodeToString(random[:])
}

// input is what the process reads, with an offset, so that bytes which are sent again are taken once.
type input struct {
	lock     sync.Mutex
	file     *os.File
	tty      bool
	accepted atomic.Int64
	over     atomic.Bool
	closing  sync.Once
}

func newInput(file *os.File, tty bool) *input { return &input{file: file, tty: tty} }

var (
	errInputGap  = proto.Fail(proto.CodeConflict, "cannot write to the process: bytes before these are missing")
	errInputOver = proto.Fail(proto.CodeConflict, "cannot write to the process: its input is closed")
)

// write hands bytes that begin at an offset to the process; a negative one is where the last have ended. It waits as long as the process
// does not read.
func (i *input) write(at int64, b []byte) error {
	i.lock.Lock()
	defer i.lock.Unlock()
	accepted := i.accepted.Load()
	if at < 0 {
		at = accepted
	}
	switch known := accepted - at; {
	case known < 0:
		return errInputGap
	case known >= int64(len(b)):
		return nil
	default:
		b = b[known:]
	}
	if i.over.Load() {
		return errInputOver
	}
	n, err := i.file.Write(b)
	i.accepted.Add(int64(n))
	if err != nil {
		return errInputOver
	}
	return nil
}

// end closes the input. On a terminal that is what Ctrl-D does at the beginning of a line; its file stays for the output.
func (i *input) end() {
	i.closing.Do(func() {
		i.over.Store(true)
		if i.tty {
			_, _ = i.file.Write([]byte{4})
			return
		}
		_ = i.file.Close()
	})
}
