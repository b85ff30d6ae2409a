package reaper

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var subject = New()

func TestMain(m *testing.M) {
	const setChildSubreaper = 36
	if _, _, number := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); number != 0 {
		panic(number)
	}
	go subject.Run()
	os.Exit(m.Run())
}

func run(t testing.TB, argv ...string) *Process {
	t.Helper()
	process, err := subject.Start("/bin/sh", append([]string{"sh"}, argv...), &syscall.ProcAttr{Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	return process
}

func wait(t testing.TB, process *Process) (int, syscall.Signal) {
	t.Helper()
	select {
	case <-process.Done():
		return process.Outcome()
	case <-time.After(20 * time.Second):
		t.Fatal("the end is not told")
		return 0, 0
	}
}

func TestEveryOneOfManyShortProcessesIsToldItsOwnEnd(t *testing.T) {
	var all sync.WaitGroup
	for i := range 200 {
		all.Add(1)
		go func() {
			defer all.Done()
			for round := range 3 {
				want := (i + round) % 100
				if code, _ := wait(t, run(t, "-c", fmt.Sprintf("exit %d", want))); code != want {
					t.Errorf("exit code %d, want %d", code, want)
				}
			}
		}()
	}
	all.Wait()
}

func TestSignalledProcessIs128PlusSignal(t *testing.T) {
	process := run(t, "-c", "kill -TERM $$; sleep 100")
	if code, signal := wait(t, process); code != 128+15 || signal != syscall.SIGTERM {
		t.Errorf("%d, %v", code, signal)
	}
}

func TestSignalReachesTheGroup(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	process, err := subject.Start("/bin/sh", []string{"sh", "-c", "sleep 100 & sleep 100"}, &syscall.ProcAttr{Files: []uintptr{0, write.Fd(), 2}, Env: os.Environ()})
	if err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	process.SignalGroup(syscall.SIGKILL)
	if code, signal := wait(t, process); code != 137 || signal != syscall.SIGKILL {
		t.Errorf("%d, %v", code, signal)
	}
	_ = read.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := read.Read(make([]byte, 1)); n != 0 || err == nil || os.IsTimeout(err) {
		t.Errorf("someone holds the pipe: %v", err)
	}
	process.SignalGroup(syscall.SIGKILL) // of a process that has ended: does nothing
}

func TestOrphansAreBuried(t *testing.T) {
	before := subject.Orphans()
	wait(t, run(t, "-c", "for i in 1 2 3 4 5; do (sleep 0.05 &) ; done"))
	for deadline := time.Now().Add(20 * time.Second); ; wait(t, run(t, "-c", ":")) {
		zombies := zombieChildren(t)
		if subject.Orphans() >= before+5 && len(zombies) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of 5 were buried, zombies: %v", subject.Orphans()-before, zombies)
		}
	}
}

func zombieChildren(t *testing.T) (zombies []string) {
	t.Helper()
	processes, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range processes {
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if fields[0] == "Z" && fields[1] == fmt.Sprint(os.Getpid()) {
			zombies = append(zombies, string(stat))
		}
	}
	return zombies
}

func TestProcessesHaveTheUsualTimerSlack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	setTimerSlack(5_000_000)
	defer setTimerSlack(usualSlack)
	process := run(t, "-c", "test $(cat /proc/$$/timerslack_ns) = 50000")
	if code, _ := wait(t, process); code != 0 {
		t.Error("the process has the slack of the thread that started it")
	}
}

func TestMissingProgramIsAnErrorOfStart(t *testing.T) {
	if _, err := subject.Start("/nowhere/x", []string{"x"}, &syscall.ProcAttr{}); err != syscall.ENOENT {
		t.Errorf("%v", err)
	}
}

func TestNothingStartsAfterClose(t *testing.T) {
	closed := New()
	closed.Close()
	if _, err := closed.Start("/bin/sh", []string{"sh"}, &syscall.ProcAttr{}); err != ErrClosed {
		t.Errorf("%v", err)
	}
}

func TestLastOneOutIsTold(t *testing.T) {
	// Only one Reaper may run in a process, and this one is done for afterwards: so it runs in a process of its own.
	if os.Getenv("PORTICO_TEST_LAST") == "" {
		process, err := subject.Start("/proc/self/exe", []string{"reaper.test", "-test.run=" + t.Name()}, &syscall.ProcAttr{
			Env: append(os.Environ(), "PORTICO_TEST_LAST=1"), Files: []uintptr{0, 1, 2},
		})
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := wait(t, process); code != 0 {
			t.Errorf("exit code %d", code)
		}
		return
	}
	process := run(t, "-c", "sleep 100")
	subject.Close()
	select {
	case <-subject.Empty():
		t.Fatal("told while a process is left")
	default:
	}
	process.SignalGroup(syscall.SIGTERM)
	if code, _ := wait(t, process); code != 128+15 {
		t.Errorf("exit code %d", code)
	}
	select {
	case <-subject.Empty():
	case <-time.After(20 * time.Second):
		t.Error("not told")
	}
}
