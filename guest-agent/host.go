package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"portico.dev/agent/internal/boot"
	"portico.dev/agent/internal/disk"
	"portico.dev/agent/internal/identity"
	"portico.dev/agent/internal/reaper"
	"portico.dev/agent/internal/shutdown"
)

const (
	hostBudget = 2 * time.Second
	hostMemory = 256 << 20
)

// runOnHost serves on a Unix socket until a poweroff or a signal. Each connection is a session of its own.
func runOnHost(path string) error {
	begun := time.Now()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	adoptOrphans()
	graves := reaper.New()
	go graves.Run()
	agent := newAgent(&identity.Pretend{}, graves, -1, hostMemory)
	maps.Copy(agent.routes, disk.New(disk.Pretend{}).Routes())
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	agent.booted(time.Since(begun), []boot.Phase{{Name: "process", Spent: time.Since(begun)}})
	go agent.serveHTTP()
	go acceptSessions(agent, listener)
	budget := hostBudget
	select {
	case budget = <-agent.poweroff:
	case <-signals:
	}
	_ = listener.Close()
	agent.tunnel.GoAway(goingDown, goodbye)
	shutdown.EndProcesses(graves, signalDescendants, agent.stopServices(budget))
	return nil
}

func acceptSessions(agent *agent, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			say(err.Error())
			time.Sleep(afterFault)
			continue
		}
		go func() {
			_ = agent.tunnel.Serve(conn)
			_ = conn.Close()
		}()
	}
}

// adoptOrphans lets processes that lose their parent fall to this one, as they do to PID 1.
func adoptOrphans() {
	const setChildSubreaper = 36
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0)
}

// signalDescendants signals every process that stems from this one.
func signalDescendants(signal syscall.Signal) {
	parents := map[int]int{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			parents[pid] = parentOf(pid)
		}
	}
	for pid := range parents {
		for above := parents[pid]; above > 1; above = parents[above] {
			if above == os.Getpid() {
				_ = syscall.Kill(pid, signal)
				break
			}
		}
	}
}

// parentOf reads a process's parent from its status line, whose second field is a name in brackets that may hold anything; 0 if it is gone.
func parentOf(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}
