package boot

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// Disk is the scratch disk beneath the root. After the switch of roots no path leads to its file system; this handle does.
type Disk struct {
	folder *os.File
	device int // the disk itself, as its driver sees it

	lock sync.Mutex
	fits uint64 // how large it was when its file system was last made as large
}

// Grow makes the file system as large as its device: the host may have enlarged that since it was made. One that fits is not even asked, as
// the kernel would look at its whole device first, and say so on the console.
func (d *Disk) Grow() error {
	const (
		deviceSize = 0x80081272 // BLKGETSIZE64
		resize     = 0x40086610 // EXT4_IOC_RESIZE_FS
	)
	d.lock.Lock()
	defer d.lock.Unlock()
	var size uint64
	if _, _, number := syscall.Syscall(syscall.SYS_IOCTL, uintptr(d.device), deviceSize, uintptr(unsafe.Pointer(&size))); number != 0 {
		return number
	}
	if size == d.fits {
		return nil
	}
	var status syscall.Statfs_t
	if err := syscall.Fstatfs(int(d.folder.Fd()), &status); err != nil {
		return err
	}
	blocks := size / uint64(status.Bsize)
	if _, _, number := syscall.Syscall(syscall.SYS_IOCTL, d.folder.Fd(), resize, uintptr(unsafe.Pointer(&blocks))); number != 0 {
		return number
	}
	d.fits = size
	return nil
}

// Flush writes out what was written to the disk, while writers go on.
func (d *Disk) Flush() error {
	const syncfs = 306
	if _, _, number := syscall.Syscall(syncfs, d.folder.Fd(), 0, 0); number != 0 {
		return number
	}
	return nil
}

// Freeze writes out the rest and holds whoever writes, until Thaw: what is on the disk then is a whole file system. It needs no lock, and neither
// does Thaw.
func (d *Disk) Freeze() error { return d.hold(0xc0045877) } // FIFREEZE

// Thaw lets writers go on.
func (d *Disk) Thaw() error { return d.hold(0xc0045878) } // FITHAW

func (d *Disk) hold(request uintptr) error {
	if _, _, number := syscall.Syscall(syscall.SYS_IOCTL, d.folder.Fd(), request, 0); number != 0 {
		return number
	}
	return nil
}

// Seal makes the disk read-only, with everything on it.
func (d *Disk) Seal() error {
	path := fmt.Sprintf("/proc/self/fd/%d", d.folder.Fd())
	if err := syscall.Mount("", path, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("cannot make the disk read-only: %w", err)
	}
	return nil
}
