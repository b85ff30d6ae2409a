// Package boot makes a running system of an initramfs and two disks: the image, which all machines share and nobody writes, and the scratch
// disk laid over it. It runs once, as PID 1, before anything else, and changes nothing afterwards.
package boot

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Machine is a booted machine.
type Machine struct {
	Disk    *Disk
	Cgroup  int // the folder that processes start in, or -1 if there is none
	Channel string
	// Waits tells that the host has yet to say when its disks are the right ones: Finish is for then.
	Waits  bool
	Phases []Phase
	// Notes are what went wrong without keeping the machine from running.
	Notes []string

	loopback func() error
}

// Phase is a part of the boot and how long it took.
type Phase struct {
	Name  string
	Spent time.Duration
}

// phase is one of those that make a machine.
type phase struct {
	name string
	run  func() error
}

// Begin runs the phases that need no disk, in order. The error tells which could not be done.
func Begin() (*Machine, error) {
	m := &Machine{Cgroup: -1}
	m.Phases = append(m.Phases, Phase{"kernel", Uptime()})
	m.loopback = inBackground(func() error { return bringUp("lo") })
	return m, m.run([]phase{
		{"kernel_trees", func() error { return doAll(kernelTrees) }},
		{"command_line", m.readCommandLine},
		{"modules", m.loadFirstModules},
	})
}

// Finish runs the others. Where the machine waited for it the kernel has not seen its disks yet, so nothing of them is in its memory.
func (m *Machine) Finish() error {
	disks := map[string]string{}
	return m.run([]phase{
		{"disk_module", func() error { return loadModules(moduleFolder, "") }},
		{"disks", func() (err error) { disks, err = awaitDisks("image", "scratch"); return err }},
		{"root", func() error { return m.makeRoot(disks["image"], disks["scratch"]) }},
		{"switch", switchRoot},
		{"grow", func() error { return m.tolerate("grow the scratch disk", m.Disk.Grow()) }},
		{"user_trees", func() error { return doAll(userTrees) }},
		{"courtesies", m.doCourtesies},
		{"limits", m.setLimits},
		{"network", func() error { return m.tolerate("bring up the loopback", m.loopback()) }},
	})
}

// loadFirstModules loads all but the driver of disks where the machine has to wait for them.
func (m *Machine) loadFirstModules() error {
	if m.Waits {
		return loadModules(moduleFolder, diskModule)
	}
	return loadModules(moduleFolder, "")
}

func (m *Machine) run(phases []phase) error {
	for _, phase := range phases {
		begun := time.Now()
		if err := phase.run(); err != nil {
			return err
		}
		m.Phases = append(m.Phases, Phase{phase.name, time.Since(begun)})
	}
	return nil
}

func (m *Machine) readCommandLine() error {
	text, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return fmt.Errorf("cannot read the kernel's command line: %w", err)
	}
	m.Channel = channelOf(string(text))
	m.Waits = waitsFor(string(text))
	return nil
}

// waitsFor is one of the two parameters that the agent knows: portico.root=wait lets it wait for the host's word before it looks at its disks.
func waitsFor(commandLine string) bool {
	return slices.Contains(strings.Fields(commandLine), "portico.root=wait")
}

// channelOf is the other: portico.channel, the name of the port.
func channelOf(commandLine string) string {
	name := "portico.agent"
	for _, word := range strings.Fields(commandLine) {
		if value, found := strings.CutPrefix(word, "portico.channel="); found && value != "" {
			name = value
		}
	}
	return name
}

func (m *Machine) makeRoot(image, scratch string) error {
	device, err := syscall.Open(scratch, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) // its name goes with the initial root
	if err != nil {
		return fmt.Errorf("cannot open the scratch disk: %w", err)
	}
	if err := doAll(rootTrees(image, scratch)); err != nil {
		return err
	}
	folder, err := os.Open(scratchPoint)
	if err != nil {
		return fmt.Errorf("cannot open the scratch disk's file system: %w", err)
	}
	m.Disk = &Disk{folder: folder, device: device}
	return nil
}

// doCourtesies does each for itself: what cannot be done is noted.
func (m *Machine) doCourtesies() error {
	for _, one := range courtesies {
		_ = m.tolerate(one.String(), bare(one.do()))
	}
	return nil
}

// switchRoot makes the new root the only one.
func switchRoot() error {
	for _, call := range []func() error{
		func() error { return os.Chdir(newRoot) },
		func() error { return syscall.Mount(".", "/", "", syscall.MS_MOVE, "") },
		func() error { return syscall.Chroot(".") },
		func() error { return os.Chdir("/") },
	} {
		if err := call(); err != nil {
			return fmt.Errorf("cannot switch to the new root: %w", bare(err))
		}
	}
	return nil
}

func (m *Machine) setLimits() error {
	cgroup, err := makeProcessGroup()
	m.Cgroup = cgroup
	_ = m.tolerate("bound the number of processes", err)
	_ = m.tolerate("raise the number of watches", raiseWatches())
	return m.tolerate("raise the number of open files", raiseOpenFiles())
}

// tolerate notes what the machine can do without.
func (m *Machine) tolerate(what string, err error) error {
	if err != nil {
		m.Notes = append(m.Notes, fmt.Sprintf("cannot %s: %s", what, err))
	}
	return nil
}

// inBackground begins what mostly waits, and gives back how to wait for its end.
func inBackground(run func() error) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- run() }()
	return func() error { return <-done }
}

// Uptime is the time since the kernel started.
func Uptime() time.Duration {
	const clockBoottime = 7
	var spec syscall.Timespec
	if _, _, number := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clockBoottime, uintptr(unsafe.Pointer(&spec)), 0); number != 0 {
		return 0
	}
	return time.Duration(spec.Nano())
}
