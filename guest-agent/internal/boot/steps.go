package boot

// The file trees as data. Each step can print itself, so that a failure names it and a test prints the plan.

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// step is one thing to do to the file tree.
type step interface {
	do() error
	fmt.Stringer
}

// mount mounts a file system, and makes its folder where it is missing.
type mount struct {
	kind, source, target, options string
	flags                         uintptr
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return err
	}
	return syscall.Mount(m.source, m.target, m.kind, m.flags, m.options)
}

func (m mount) String() string { return fmt.Sprintf("mount %s on %s", m.kind, m.target) }

// folder makes a directory with exactly this mode.
type folder struct {
	path string
	mode uint32
}

func (f folder) do() error {
	if err := os.MkdirAll(f.path, 0o755); err != nil {
		return err
	}
	return syscall.Chmod(f.path, f.mode)
}

func (f folder) String() string { return fmt.Sprintf("make %s", f.path) }

// link makes a symbolic link where nothing is.
type link struct{ target, path string }

func (l link) do() error {
	if err := os.Symlink(l.target, l.path); !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func (l link) String() string { return fmt.Sprintf("link %s to %s", l.path, l.target) }

// move takes a mount along into the new root.
type move struct{ from, to string }

func (m move) do() error {
	if err := os.MkdirAll(m.to, 0o755); err != nil {
		return err
	}
	return syscall.Mount(m.from, m.to, "", syscall.MS_MOVE, "")
}

func (m move) String() string { return fmt.Sprintf("move %s to %s", m.from, m.to) }

// file makes an ordinary file where there is none that can be read: a link to nowhere counts as none.
type file struct{ path, text string }

func (f file) do() error {
	if _, err := os.Stat(f.path); err == nil {
		return nil
	}
	if err := os.Remove(f.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(f.path, []byte(f.text), 0o644)
}

func (f file) String() string { return fmt.Sprintf("make %s", f.path) }

const (
	imagePoint   = "/image"
	scratchPoint = "/scratch"
	newRoot      = "/root.new"
)

const plain = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC

// kernelTrees are what the kernel shows of itself.
var kernelTrees = []step{
	mount{"proc", "proc", "/proc", "", plain},
	mount{"sysfs", "sysfs", "/sys", "", plain},
	mount{"devtmpfs", "devtmpfs", "/dev", "mode=0755", syscall.MS_NOSUID},
}

// rootTrees lay the scratch disk over the image. Directories of the image can be renamed, as both layers are this machine's alone.
func rootTrees(image, scratch string) []step {
	return []step{
		mount{"erofs", image, imagePoint, "", syscall.MS_RDONLY},
		mount{"ext4", scratch, scratchPoint, "", syscall.MS_NOATIME},
		folder{scratchPoint + "/upper", 0o755},
		folder{scratchPoint + "/work", 0o755},
		mount{"overlay", "overlay", newRoot, "lowerdir=" + imagePoint + ",upperdir=" + scratchPoint + "/upper,workdir=" + scratchPoint + "/work,redirect_dir=on", 0},
		move{"/proc", newRoot + "/proc"},
		move{"/sys", newRoot + "/sys"},
		move{"/dev", newRoot + "/dev"},
	}
}

// userTrees are the rest of what programs expect of a root. /tmp stays on the scratch disk: a small machine has more of that than of memory.
var userTrees = []step{
	mount{"devpts", "devpts", "/dev/pts", "gid=5,mode=0620,ptmxmode=0666", syscall.MS_NOSUID | syscall.MS_NOEXEC},
	mount{"tmpfs", "tmpfs", "/dev/shm", "mode=1777", syscall.MS_NOSUID | syscall.MS_NODEV},
	mount{"tmpfs", "tmpfs", "/run", "mode=0755", syscall.MS_NOSUID | syscall.MS_NODEV},
	mount{"cgroup2", "cgroup2", cgroupPoint, "", plain},
	folder{"/run/lock", 0o1777},
	link{"/proc/self/fd", "/dev/fd"},
	link{"/proc/self/fd/0", "/dev/stdin"},
	link{"/proc/self/fd/1", "/dev/stdout"},
	link{"/proc/self/fd/2", "/dev/stderr"},
}

// courtesies are what an image may lack, or have in a shape that nothing can be done with: the machine runs without them.
var courtesies = []step{
	folder{"/tmp", 0o1777},
	file{"/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"},
	file{"/etc/hostname", "localhost\n"},
	file{"/etc/resolv.conf", ""},
}

// doAll does steps in order up to the first that fails.
func doAll(steps []step) error {
	for _, one := range steps {
		if err := one.do(); err != nil {
			return fmt.Errorf("cannot %s: %w", one, bare(err))
		}
	}
	return nil
}

// bare takes the operation and path off an error: the step names them.
func bare(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}
