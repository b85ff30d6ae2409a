package identity

// The calls that change what the machine is: its clock, its name and its random pool.

import (
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Machine is what an identity is laid upon.
type Machine interface {
	// SetClock sets the wall clock.
	SetClock(at time.Time) error
	// Now tells the wall clock.
	Now() time.Time
	// SetHostname names the machine, also in the files that tell its name.
	SetHostname(name string) error
	// Hostname tells the machine's name.
	Hostname() (string, error)
	// AddEntropy mixes bytes into the random pool, credits them, and makes the generator use them at once. It tells how many it took.
	AddEntropy(random []byte) (int, error)
	// GrowDisk makes the scratch file system as large as its device, if it can.
	GrowDisk()
}

// Guest is the virtual machine that the agent is PID 1 of.
type Guest struct {
	// Root is the folder in front of /etc/hosts and /etc/hostname.
	Root string
	// Grow grows the scratch file system.
	Grow func()
}

// GrowDisk calls Grow.
func (g Guest) GrowDisk() { g.Grow() }

// SetClock sets CLOCK_REALTIME.
func (Guest) SetClock(at time.Time) error {
	const clockRealtime = 0
	spec := syscall.NsecToTimespec(at.UnixNano())
	if _, _, number := syscall.Syscall(syscall.SYS_CLOCK_SETTIME, clockRealtime, uintptr(unsafe.Pointer(&spec)), 0); number != 0 {
		return number
	}
	return nil
}

// Now tells CLOCK_REALTIME.
func (Guest) Now() time.Time { return time.Now() }

// SetHostname calls sethostname. The files are a courtesy: a full disk in the guest must not keep it from being restored.
func (g Guest) SetHostname(name string) error {
	if err := syscall.Sethostname([]byte(name)); err != nil {
		return err
	}
	rewrite(g.Root+"/etc/hostname", func(string) string { return name + "\n" })
	rewrite(g.Root+"/etc/hosts", func(before string) string { return hostsWith(before, name) })
	return nil
}

// rewrite changes a small regular file, or makes it. Anything else that the guest has put in its place is left alone and never waited for.
// The calls are the kernel's own: a file of package os is made known to the poller first.
func rewrite(path string, change func(before string) string) {
	const flags = syscall.O_RDWR | syscall.O_CREAT | syscall.O_NONBLOCK | syscall.O_NOFOLLOW | syscall.O_CLOEXEC
	fd, err := syscall.Open(path, flags, 0o644)
	if err != nil {
		return
	}
	defer func() { _ = syscall.Close(fd) }()
	var status syscall.Stat_t
	if syscall.Fstat(fd, &status) != nil || status.Mode&syscall.S_IFMT != syscall.S_IFREG || status.Size > maxRewritten {
		return
	}
	before := make([]byte, status.Size)
	if n, err := syscall.Pread(fd, before, 0); err != nil || n < len(before) {
		return
	}
	after := change(string(before))
	if after == string(before) {
		return
	}
	if n, _ := syscall.Pwrite(fd, []byte(after), 0); n == len(after) && n != len(before) {
		_ = syscall.Ftruncate(fd, int64(n))
	}
}

const maxRewritten = 1 << 20

// Hostname calls uname.
func (Guest) Hostname() (string, error) {
	var names syscall.Utsname
	if err := syscall.Uname(&names); err != nil {
		return "", err
	}
	var name []byte
	for _, c := range names.Nodename {
		if c == 0 {
			break
		}
		name = append(name, byte(c))
	}
	return string(name), nil
}

// AddEntropy calls RNDADDENTROPY, and RNDRESEEDCRNG so that no two forks of one machine draw the same numbers even once.
func (Guest) AddEntropy(random []byte) (int, error) {
	const (
		addEntropy = 0x40085203 // RNDADDENTROPY
		reseed     = 0x5207     // RNDRESEEDCRNG
	)
	device, err := syscall.Open("/dev/urandom", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = syscall.Close(device) }()
	for rest := random; len(rest) > 0; {
		var info struct { // struct rand_pool_info
			bits, size int32
			bytes      [entropyPiece]byte
		}
		n := copy(info.bytes[:], rest)
		info.bits, info.size = int32(8*n), int32(n)
		if _, _, number := syscall.Syscall(syscall.SYS_IOCTL, uintptr(device), addEntropy, uintptr(unsafe.Pointer(&info))); number != 0 {
			return 0, number
		}
		rest = rest[n:]
	}
	if _, _, number := syscall.Syscall(syscall.SYS_IOCTL, uintptr(device), reseed, 0); number != 0 {
		return 0, number
	}
	return len(random), nil
}

const entropyPiece = 256

// hostsWith is a hosts file in which the machine's own address, 127.0.1.1, has this name alone.
func hostsWith(text, name string) string {
	var lines []string
	local := false
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 0 && fields[0] == "127.0.1.1" {
			continue
		}
		local = local || len(fields) > 0 && fields[0] == "127.0.0.1"
		lines = append(lines, strings.TrimSuffix(line, "\n")+"\n")
	}
	if !local {
		lines = append([]string{"127.0.0.1\tlocalhost\n"}, lines...)
	}
	return strings.Join(lines, "") + "127.0.1.1\t" + name + "\n"
}
