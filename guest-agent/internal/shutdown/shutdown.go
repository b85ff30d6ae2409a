// Package shutdown ends the machine: processes are asked, then killed, then what they wrote is brought to the disk, then the power goes.
//
//	asking ──all gone, or the budget is used──▶ killing ──all gone, or killLimit──▶ flushing ──▶ off
package shutdown

import (
	"os"
	"syscall"
	"time"
)

const (
	// killLimit is how long the kernel gets to bury what was killed; a process that hangs in the kernel is left behind.
	killLimit = time.Second
	// killStep is when it is killed again: who was being started the first time may have been missed.
	killStep = 50 * time.Millisecond
)

// Disk is the writable file system beneath the root.
type Disk interface {
	// Seal writes everything out and lets nothing more be written.
	Seal() error
}

// Processes are all processes but this one.
type Processes interface {
	// Close lets no new ones start from here.
	Close()
	// Empty is closed once, after Close, none is left.
	Empty() <-chan struct{}
}

// EndProcesses asks all processes to end, and kills those that have not when the budget is used. signal reaches all of them.
func EndProcesses(processes Processes, signal func(syscall.Signal), budget time.Duration) {
	processes.Close()
	signal(syscall.SIGTERM)
	signal(syscall.SIGCONT) // one that is stopped could not hear it
	if within(processes.Empty(), budget) {
		return
	}
	for deadline := time.Now().Add(killLimit); time.Now().Before(deadline); {
		signal(syscall.SIGKILL)
		if within(processes.Empty(), killStep) {
			return
		}
	}
}

func within(done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// SignalAll signals every process of the machine but PID 1.
func SignalAll(signal syscall.Signal) { _ = syscall.Kill(-1, signal) }

// Flush brings all that was written to the disks and unmounts what the guest has mounted.
func Flush(disk Disk) error {
	if text, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		for _, point := range unmountPlan(string(text)) {
			if syscall.Unmount(point, 0) != nil {
				_ = syscall.Unmount(point, syscall.MNT_DETACH)
			}
		}
	}
	syscall.Sync()
	return disk.Seal()
}

// PowerOff ends the machine and does not return. The machine has no power switch: it is reset, and its monitor takes that for the end.
func PowerOff() {
	_ = syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
	select {}
}
