package services

// All processes of one run of a service: a cgroup of its own, so that none of them stays behind, whatever it has done to its session and group.
// Where there are no cgroups it is the process group alone.

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// buryLimit is how long the kernel gets to end what was killed.
	buryLimit = 5 * time.Second
	buryStep  = 5 * time.Millisecond
)

var groups atomic.Int64

type group struct {
	parent int
	name   string // empty without a cgroup of its own
	fd     int    // where processes begin; -1 if there are no cgroups
}

// newGroup makes a cgroup in the folder that is open as parent, if that is not negative.
func newGroup(parent int) *group {
	g := &group{parent: parent, fd: parent}
	if parent < 0 {
		return g
	}
	name := fmt.Sprintf("service.%d", groups.Add(1))
	if syscall.Mkdirat(parent, name, 0o755) != nil {
		return g // the guest's root has taken the folder away; that is its right
	}
	fd, err := syscall.Openat(parent, name, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		removeFolder(parent, name)
		return g
	}
	g.name, g.fd = name, fd
	return g
}

// end kills whatever is left of the group whose leader has this number, and frees it.
func (g *group) end(leader int) {
	if g.name == "" {
		// The leader has just ended; while others of its group are left, its number is nobody else's.
		if leader > 0 {
			_ = syscall.Kill(-leader, syscall.SIGKILL)
		}
		return
	}
	g.kill()
	for deadline := time.Now().Add(buryLimit); g.populated() && time.Now().Before(deadline); time.Sleep(buryStep) {
		g.kill()
	}
	_ = syscall.Close(g.fd) // its number stays: others may just be reading it
	removeFolder(g.parent, g.name)
}

// kill ends all processes of the cgroup, also those that are being forked.
func (g *group) kill() {
	if g.name == "" {
		return
	}
	fd, err := syscall.Openat(g.fd, "cgroup.kill", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = syscall.Write(fd, []byte("1"))
	_ = syscall.Close(fd)
}

func (g *group) populated() bool {
	fd, err := syscall.Openat(g.fd, "cgroup.events", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = syscall.Close(fd) }()
	text := make([]byte, 256)
	n, _ := syscall.Read(fd, text)
	return strings.Contains(string(text[:max(n, 0)]), "populated 1")
}

func removeFolder(parent int, name string) {
	const removeDirectory = 0x200 // AT_REMOVEDIR
	_ = unlinkat(parent, name, removeDirectory)
}
