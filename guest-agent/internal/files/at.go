package files

// The calls of the kernel that work on a name in an open directory, where package syscall has none: what is done to a tree is done from one
// open directory to the next, so that nothing that is swapped meanwhile can lead it elsewhere, and no path grows too long.

import (
	"syscall"
	"unsafe"
)

const (
	here           = -0x64 // AT_FDCWD
	linkItself     = 0x100 // AT_SYMLINK_NOFOLLOW
	emptyFolder    = 0x200 // AT_REMOVEDIR
	renameNoOver   = 0x1   // RENAME_NOREPLACE
	renameSwap     = 0x2   // RENAME_EXCHANGE
	resolveBeneath = 0x8
	callChmodAt    = 452
	callOpenAt2    = 437
	// unchanged leaves an owner or a group as it is.
	unchanged = -1
)

// folderFlags open a directory that is one itself, and no link to one.
const folderFlags = syscall.O_RDONLY | syscall.O_DIRECTORY | syscall.O_NOFOLLOW | syscall.O_CLOEXEC

func openAt(folder int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := syscall.Openat(folder, name, flags|syscall.O_CLOEXEC, mode)
		if err != syscall.EINTR {
			return fd, err
		}
	}
}

// openBeneath opens a path that may not leave the folder, by whatever links: EXDEV if it would.
func openBeneath(folder int, path string, flags int) (int, error) {
	how := struct{ flags, mode, resolve uint64 }{uint64(flags | syscall.O_CLOEXEC), 0, resolveBeneath}
	pointer, err := syscall.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	for {
		fd, _, number := syscall.Syscall6(callOpenAt2, uintptr(folder), uintptr(unsafe.Pointer(pointer)), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
		if number == 0 {
			return int(fd), nil
		}
		if number != syscall.EINTR && number != syscall.EAGAIN { // EAGAIN: something was renamed at the same time
			return -1, number
		}
	}
}

// statAt tells of a name itself, also where it is a link.
func statAt(folder int, name string, status *syscall.Stat_t) error {
	pointer, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	return statPointer(folder, pointer, status)
}

// statPointer does so for a name that ends in a zero byte already.
func statPointer(folder int, name *byte, status *syscall.Stat_t) error {
	_, _, number := syscall.Syscall6(syscall.SYS_NEWFSTATAT, uintptr(folder), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(status)), linkItself, 0, 0)
	return orNil(number)
}

func unlinkAt(folder int, name string, flags int) error {
	return callAt(syscall.SYS_UNLINKAT, folder, name, uintptr(flags))
}

// chmodAt changes a mode. What was swapped for a link meanwhile is left alone.
func chmodAt(folder int, name string, bits uint32) error {
	pointer, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, number := syscall.Syscall6(callChmodAt, uintptr(folder), uintptr(unsafe.Pointer(pointer)), uintptr(bits), linkItself, 0, 0)
	if number == syscall.ENOSYS {
		return syscall.Fchmodat(folder, name, bits, 0)
	}
	return orNil(number)
}

func renameAt(fromFolder int, from string, toFolder int, to string, flags uintptr) error {
	a, err := syscall.BytePtrFromString(from)
	if err != nil {
		return err
	}
	b, err := syscall.BytePtrFromString(to)
	if err != nil {
		return err
	}
	const renameAt2 = 316
	_, _, number := syscall.Syscall6(renameAt2, uintptr(fromFolder), uintptr(unsafe.Pointer(a)), uintptr(toFolder), uintptr(unsafe.Pointer(b)), flags, 0)
	return orNil(number)
}

// linkAt gives a file another name. A link is linked itself.
func linkAt(fromFolder int, from string, toFolder int, to string) error {
	a, err := syscall.BytePtrFromString(from)
	if err != nil {
		return err
	}
	b, err := syscall.BytePtrFromString(to)
	if err != nil {
		return err
	}
	_, _, number := syscall.Syscall6(syscall.SYS_LINKAT, uintptr(fromFolder), uintptr(unsafe.Pointer(a)), uintptr(toFolder), uintptr(unsafe.Pointer(b)), 0, 0)
	return orNil(number)
}

func symlinkAt(target string, folder int, name string) error {
	a, err := syscall.BytePtrFromString(target)
	if err != nil {
		return err
	}
	b, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, number := syscall.Syscall(syscall.SYS_SYMLINKAT, uintptr(unsafe.Pointer(a)), uintptr(folder), uintptr(unsafe.Pointer(b)))
	return orNil(number)
}

// maxTarget is the longest text of a link.
const maxTarget = 4096

func readlinkAt(folder int, name string) (string, error) {
	pointer, err := syscall.BytePtrFromString(name)
	if err != nil {
		return "", err
	}
	var text [maxTarget]byte
	n, _, number := syscall.Syscall6(syscall.SYS_READLINKAT, uintptr(folder), uintptr(unsafe.Pointer(pointer)), uintptr(unsafe.Pointer(&text)), maxTarget, 0, 0)
	if number != 0 {
		return "", number
	}
	return string(text[:n]), nil
}

// setTimes sets when a name was last read and last changed.
func setTimes(folder int, name string, times [2]syscall.Timespec) error {
	pointer, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, number := syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(folder), uintptr(unsafe.Pointer(pointer)), uintptr(unsafe.Pointer(&times)), linkItself, 0, 0)
	return orNil(number)
}

// setOwnTimes does so for an open file.
func setOwnTimes(fd int, times [2]syscall.Timespec) error {
	_, _, number := syscall.Syscall6(syscall.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	return orNil(number)
}

func callAt(call uintptr, folder int, name string, argument uintptr) error {
	pointer, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, number := syscall.Syscall(call, uintptr(folder), uintptr(unsafe.Pointer(pointer)), argument)
	return orNil(number)
}

func orNil(number syscall.Errno) error {
	if number != 0 {
		return number
	}
	return nil
}
