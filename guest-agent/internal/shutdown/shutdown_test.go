package shutdown

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestUnmountPlan(t *testing.T) {
	const mountinfo = `1 1 0:2 / / rw - rootfs none rw
21 1 0:20 / /proc rw,relatime - proc proc rw
22 1 254:16 / /mnt/first rw,relatime shared:1 - ext4 /dev/vdc rw
23 22 7:0 / /mnt/first/in\040side rw - vfat /dev/loop0 rw
24 1 0:5 / /tmp rw - tmpfs tmpfs rw
25 1 254:0 / /image ro - erofs /dev/vda ro
26 1 0:33 / /data rw - fuse.sshfs host: rw
broken line
`
	if got := unmountPlan(mountinfo); !slices.Equal(got, []string{"/data", "/mnt/first/in side", "/mnt/first"}) {
		t.Errorf("%q", got)
	}
	if got := unmountPlan(""); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// scripted are processes that end when a signal reaches them.
type scripted struct {
	endsBy  syscall.Signal
	heard   []string
	closed  bool
	emptied chan struct{}
}

func (s *scripted) Close()                 { s.closed = true }
func (s *scripted) Empty() <-chan struct{} { return s.emptied }

func (s *scripted) signal(signal syscall.Signal) {
	if !s.closed {
		s.heard = append(s.heard, "too early")
	}
	s.heard = append(s.heard, signal.String())
	if signal == s.endsBy {
		close(s.emptied)
	}
}

func TestProcessesAreAskedBeforeTheyAreKilled(t *testing.T) {
	polite := &scripted{endsBy: syscall.SIGTERM, emptied: make(chan struct{})}
	EndProcesses(polite, polite.signal, time.Minute)
	if got := strings.Join(polite.heard, " "); got != "terminated continued" {
		t.Errorf("%s", got)
	}
	stubborn := &scripted{endsBy: syscall.SIGKILL, emptied: make(chan struct{})}
	EndProcesses(stubborn, stubborn.signal, time.Millisecond)
	if got := strings.Join(stubborn.heard, " "); got != "terminated continued killed" {
		t.Errorf("%s", got)
	}
}

func TestProcessThatHangsInTheKernelIsLeftBehind(t *testing.T) {
	hanging := &scripted{emptied: make(chan struct{})}
	begun := time.Now()
	EndProcesses(hanging, hanging.signal, 0)
	if spent := time.Since(begun); spent < killLimit || spent > 10*killLimit {
		t.Errorf("%v", spent)
	}
}
