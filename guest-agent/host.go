package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"portico.dev/agent/internal/boot"
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
	adoptOrphans()
	graves := reaper.New()
	go graves.Run()
	agent := newAgent(&identity.Pretend{}, graves, -1, hostMemory)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	agent.booted(time.Since(begun), []boot.Phase{{Name: "process", Spent: time.Since(begun)}})
	go agent.serveHTTP()
	go acceptSessions(agent, listener)

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	budget := hostBudget
	select {
	case budget = <-agent.poweroff:
	case <-signals:
	}
	_ = listener.Close()
	agent.tunnel.GoAway(goingDown, goodbye)
	shutdown.EndProcesses(graves, graves.SignalGroups, budget)
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
