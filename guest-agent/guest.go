package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"portico.dev/agent/internal/boot"
	"portico.dev/agent/internal/disk"
	"portico.dev/agent/internal/identity"
	"portico.dev/agent/internal/link"
	"portico.dev/agent/internal/proto"
	"portico.dev/agent/internal/reaper"
	"portico.dev/agent/internal/shutdown"
)

const (
	// goodbye is how long the runner gets to read the last answers.
	goodbye = 200 * time.Millisecond
	// afterFault is the least time from one session that failed to the next, so that a channel that always fails costs little.
	afterFault = 100 * time.Millisecond
)

// runInGuest is the life of a machine: boot, link, serve, shut down. It does not return.
func runInGuest() {
	holdStandardFiles()
	outliveSignals()
	machine, waited, err := bootMachine()
	if err != nil {
		say(err.Error())
		shutdown.PowerOff()
	}
	tuneScheduler()
	for _, note := range machine.Notes {
		say(note)
	}
	graves := reaper.New()
	go graves.Run()
	agent := newAgent(identity.Guest{Grow: func() { growDisk(machine.Disk) }}, graves, machine.Cgroup, readMemory()/4)
	maps.Copy(agent.routes, disk.New(machine.Disk).Routes())
	if err := agent.images.Use(machine.Disk.Folder()); err != nil {
		say(fmt.Sprintf("cannot use the scratch disk for containers: %s", err))
	}
	if err := serveMachine(agent, machine, waited); err != nil {
		say(err.Error())
		shutdown.PowerOff()
	}

	budget := <-agent.poweroff
	agent.tunnel.GoAway(goingDown, goodbye)
	shutdown.EndProcesses(graves, shutdown.SignalAll, agent.stopServices(budget))
	if err := shutdown.Flush(machine.Disk); err != nil {
		say(err.Error())
	}
	shutdown.PowerOff()
}

// bootMachine brings the machine up; what it is given to serve with is nil unless the machine had to wait for its disks.
func bootMachine() (*boot.Machine, *waiting, error) {
	machine, err := boot.Begin()
	if err != nil || !machine.Waits {
		if err == nil {
			err = machine.Finish()
		}
		return machine, nil, err
	}
	waited, err := awaitWord(machine)
	if err != nil {
		return machine, nil, err
	}
	return machine, waited, machine.Finish()
}

// serveMachine begins to serve the channel, or goes on with it.
func serveMachine(agent *agent, machine *boot.Machine, waited *waiting) error {
	if waited != nil {
		agent.booted(boot.Uptime(), machine.Phases)
		waited.handOver(agent)
		return nil
	}
	begun := time.Now()
	port, err := link.Open(machine.Channel)
	if err != nil {
		return err
	}
	machine.Phases = append(machine.Phases, boot.Phase{Name: "channel", Spent: time.Since(begun)})
	agent.booted(boot.Uptime(), machine.Phases)
	say(agent.bootLine())
	go agent.serveHTTP()
	go serveSessions(agent, port)
	return nil
}

// growDisk lets a machine be that cannot grow its disk: it has the room that it had.
func growDisk(disk *boot.Disk) {
	if err := disk.Grow(); err != nil {
		say(fmt.Sprintf("cannot grow the scratch disk: %s", err))
	}
}

var goingDown = proto.WireError{Code: proto.CodeSandboxNotRunning, Message: "cannot take new requests: the sandbox is stopping"}

// serveSessions runs one session for each time that the host opens the port.
func serveSessions(agent *agent, port *link.Port) {
	for {
		begun := time.Now()
		err := port.AwaitHost()
		if err == nil {
			err = agent.tunnel.Serve(port)
		}
		if !errors.Is(err, io.EOF) {
			say(fmt.Sprintf("session ended: %s", err))
			time.Sleep(afterFault - time.Since(begun))
		}
	}
}

// outliveSignals keeps the guest's root from ending the machine with `kill 1`, at which Go would end the process. They are caught and not
// ignored, as what is ignored would be inherited by every process.
func outliveSignals() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGABRT,
		syscall.SIGBUS, syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGTERM, syscall.SIGSTKFLT, syscall.SIGXCPU, syscall.SIGXFSZ, syscall.SIGSYS)
}

// holdStandardFiles makes sure that 0, 1 and 2 are taken, also where the machine has no console.
func holdStandardFiles() {
	for {
		fd, err := syscall.Open("/dev/null", syscall.O_RDWR, 0)
		if err != nil || fd > 2 {
			if err == nil {
				_ = syscall.Close(fd)
			}
			return
		}
	}
}

// readMemory tells how many bytes of memory the machine has.
func readMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	var kib int64
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &kib); err == nil {
			break
		}
	}
	return kib << 10
}
