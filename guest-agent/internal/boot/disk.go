package boot

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// Disk is the scratch disk beneath the root. After the switch of roots no path leads to it; this handle does.
type Disk struct {
	folder *os.File
	device string
}

// Grow makes the file system as large as its device: the host may have enlarged that since it was made. It does nothing to one that fits.
func (d *Disk) Grow() error {
	const resize = 0x40086610 // EXT4_IOC_RESIZE_FS
	sectors, err := os.ReadFile("/sys/class/block/" + strings.TrimPrefix(d.device, "/dev/") + "/size")
	if err != nil {
		return err
	}
	count, err := strconv.ParseUint(strings.TrimSpace(string(sectors)), 10, 64)
	if err != nil {
		return err
	}
	var status syscall.Statfs_t
	if err := syscall.Fstatfs(int(d.folder.Fd()), &status); err != nil {
		return err
	}
	blocks := count * 512 / uint64(status.Bsize)
	if _, _, number := syscall.Syscall(syscall.SYS_IOCTL, d.folder.Fd(), resize, uintptr(unsafe.Pointer(&blocks))); number != 0 {
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
