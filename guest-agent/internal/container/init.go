package container

// A container from inside: its first process. It makes the new root, starts the program, hands signals on, buries what falls to it, and ends
// with the program and as it did; the kernel ends all others of the container with it.
//
// It is not the program itself, because the kernel keeps signals from a first process that has no handler for them: SIGTERM would end no program
// that does not know of it, and nobody would bury orphans.

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

const (
	ordersFile = 3
	reportFile = 4
	// rootPoint is where the new root is made: a folder that every sandbox has, covered in this namespace alone.
	rootPoint = "/sys"
)

// handed are the signals that the program gets. SIGCONT is one, as a program that is stopped could not hear the others.
var handed = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT,
}

// Main is the life of a container. It does not return. It begins in the scratch disk's folder, in new namespaces.
func Main() {
	report := os.NewFile(reportFile, "report")
	syscall.CloseOnExec(reportFile)
	syscall.CloseOnExec(ordersFile)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, handed...)
	program, err := begin()
	if err != nil {
		_ = json.NewEncoder(report).Encode(told{Failure: err.Error()})
		os.Exit(1)
	}
	_ = json.NewEncoder(report).Encode(told{})
	_ = report.Close()
	go handOn(signals, program)
	os.Exit(bury(program))
}

func handOn(signals <-chan os.Signal, program int) {
	for one := range signals {
		_ = syscall.Kill(-program, one.(syscall.Signal))
	}
}

// begin makes the container and starts its program.
func begin() (pid int, err error) {
	var orders plan
	file := os.NewFile(ordersFile, "orders")
	if err := json.NewDecoder(file).Decode(&orders); err != nil {
		return 0, fmt.Errorf("cannot read the container's plan: %w", err)
	}
	_ = file.Close()
	for _, one := range steps(&orders) {
		if err := one.do(); err != nil {
			return 0, fmt.Errorf("cannot %s: %w", one.what, bare(err))
		}
	}
	return orders.Program.StartInside(orders.Env)
}

// bury waits until the program has ended, and for all that ends before; it tells the exit code.
func bury(program int) int {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 1
		case pid == program && status.Signaled():
			return 128 + int(status.Signal())
		case pid == program && status.Exited():
			return status.ExitStatus()
		}
	}
}

type step struct {
	what string
	do   func() error
}

// mounted mounts a file system on a folder, which is made where it is missing.
func mounted(kind, source, target, options string, flags uintptr) step {
	return step{"mount " + kind + " on " + target, func() error {
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		return syscall.Mount(source, target, kind, flags, options)
	}}
}

const plain = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC

// steps are the way from the sandbox's root to the container's, in order.
func steps(orders *plan) []step {
	place := "containers/" + orders.Name
	layers := fmt.Sprintf("lowerdir=%[1]s/image,upperdir=%[1]s/%[2]s/upper,workdir=%[1]s/%[2]s/work,redirect_dir=on", place, orders.Image)
	var resolver []byte
	all := []step{
		{"name the container", func() error { return syscall.Sethostname([]byte(orders.Name)) }},
		{"keep mounts apart", func() error { return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") }},
		{"keep mounts apart", func() error { return syscall.Mount("", ".", "", syscall.MS_REC|syscall.MS_PRIVATE, "") }},
		{"read the sandbox's resolv.conf", func() error { resolver, _ = os.ReadFile("/etc/resolv.conf"); return nil }},
		mounted("erofs", "images/"+orders.Image+whole, place+"/image", "", syscall.MS_RDONLY),
		mounted("overlay", "overlay", rootPoint, layers, 0),
		{"go to the new root", func() error { return os.Chdir(rootPoint) }},
		mounted("proc", "proc", "proc", "", plain),
		mounted("sysfs", "sysfs", "sys", "", plain|syscall.MS_RDONLY),
		mounted("tmpfs", "tmpfs", "dev", "mode=0755,size=64k", syscall.MS_NOSUID|syscall.MS_NOEXEC),
		mounted("devpts", "devpts", "dev/pts", "newinstance,mode=0620,ptmxmode=0666", syscall.MS_NOSUID|syscall.MS_NOEXEC),
		mounted("tmpfs", "tmpfs", "dev/shm", "mode=1777", syscall.MS_NOSUID|syscall.MS_NODEV),
	}
	all = append(all, devices()...)
	return append(all,
		step{"switch to the new root", func() error { return syscall.PivotRoot(".", ".") }},
		step{"leave the old root", func() error { return syscall.Unmount(".", syscall.MNT_DETACH) }},
		step{"go to the root", func() error { return os.Chdir("/") }},
		step{"make /tmp", func() error { return makeMissing("/tmp", 0o1777) }},
		step{"make /etc/hosts", func() error {
			return writeMissing("/etc/hosts", []byte("127.0.0.1\tlocalhost "+orders.Name+"\n::1\tlocalhost ip6-localhost ip6-loopback\n"))
		}},
		step{"make /etc/resolv.conf", func() error { return writeMissing("/etc/resolv.conf", resolver) }},
	)
}

// devices are those that any program may expect.
func devices() []step {
	var all []step
	for name, minor := range map[string]int{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9, "tty": 5<<8 | 0} {
		number := 1<<8 | minor
		if name == "tty" {
			number = minor
		}
		all = append(all, step{"make /dev/" + name, func() error {
			if err := syscall.Mknod("dev/"+name, syscall.S_IFCHR|0o666, number); err != nil {
				return err
			}
			return os.Chmod("dev/"+name, 0o666)
		}})
	}
	for name, target := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		all = append(all, step{"make /dev/" + name, func() error { return os.Symlink(target, "dev/"+name) }})
	}
	return all
}

func makeMissing(path string, mode uint32) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	return syscall.Chmod(path, mode)
}

// writeMissing writes a file where there is none that can be read: a link to nowhere counts as none.
func writeMissing(path string, text []byte) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	_ = os.Remove(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// bare takes the operation and path off an error: the step names them.
func bare(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}
