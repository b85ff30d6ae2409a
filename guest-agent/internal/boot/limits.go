package boot

// What keeps the guest's processes from taking the agent with them. The kernel never kills PID 1 for want of memory, and children start
// with the ordinary score, so memory needs nothing here. A fork bomb does: an agent that can start no thread dies, and the machine with it.

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

const (
	cgroupPoint   = "/sys/fs/cgroup"
	processGroup  = cgroupPoint + "/sandbox"
	openFiles     = 65_536
	watches       = 65_536 // directories; the kernel of a small machine allows 8,192
	reservedTasks = 8      // one in so many is kept for the kernel and the agent
)

// makeProcessGroup makes the cgroup that all processes start in and bounds how many there can be. It gives back its folder's descriptor.
func makeProcessGroup() (int, error) {
	if err := os.WriteFile(cgroupPoint+"/cgroup.subtree_control", []byte("+pids"), 0); err != nil {
		return -1, err
	}
	if err := os.Mkdir(processGroup, 0o755); err != nil {
		return -1, err
	}
	most := min(number("/proc/sys/kernel/threads-max"), number("/proc/sys/kernel/pid_max"))
	if most > 0 {
		most -= most / reservedTasks
		if err := os.WriteFile(processGroup+"/pids.max", strconv.AppendInt(nil, most, 10), 0); err != nil {
			return -1, err
		}
	}
	return syscall.Open(processGroup, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
}

func number(path string) int64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

// raiseOpenFiles sets how many files a process may have open, for the agent and for all that it starts.
func raiseOpenFiles() error {
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: openFiles, Max: openFiles})
}

// raiseWatches sets how many directories the processes of one user may watch.
func raiseWatches() error {
	const path = "/proc/sys/fs/inotify/max_user_watches"
	if number(path) >= watches {
		return nil
	}
	return os.WriteFile(path, strconv.AppendInt(nil, watches, 10), 0)
}
