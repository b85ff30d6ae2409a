package files

// Copies of whole trees: mode, owner, times, extended attributes and holes are kept, links are links, and names of one file in the tree are
// names of one file in the copy.

import (
	"io"
	"syscall"
	"unsafe"
)

const (
	seekData = 3
	seekHole = 4
)

type inode struct{ device, number uint64 }

type copier struct {
	gone  <-chan struct{}
	base  int              // where paths begin
	links map[inode]string // the first copy of each file that has several names
	block []byte
}

// entry copies one name to another, at path from the base, and all that is below it.
func (c *copier) entry(from int, name string, to int, as, path string) error {
	select {
	case <-c.gone:
		return errGone
	default:
	}
	var status syscall.Stat_t
	if err := statAt(from, name, &status); err != nil {
		return err
	}
	kind := status.Mode & syscall.S_IFMT
	if kind != syscall.S_IFDIR && status.Nlink > 1 {
		id := inode{status.Dev, status.Ino}
		if first, known := c.links[id]; known {
			if linkAt(c.base, first, to, as) == nil {
				return nil
			}
		} else {
			c.links[id] = path
		}
	}
	switch kind {
	case syscall.S_IFREG:
		return c.file(from, name, to, as)
	case syscall.S_IFDIR:
		return c.folder(from, name, to, as, path)
	case syscall.S_IFLNK:
		target, err := readlinkAt(from, name)
		if err == nil {
			err = symlinkAt(target, to, as)
		}
		if err != nil {
			return err
		}
	default:
		if err := syscall.Mknodat(to, as, status.Mode&^0o7777|0o600, int(status.Rdev)); err != nil {
			return err
		}
	}
	if err := syscall.Fchownat(to, as, int(status.Uid), int(status.Gid), linkItself); err != nil {
		return err
	}
	if kind != syscall.S_IFLNK {
		if err := chmodAt(to, as, status.Mode&0o7777); err != nil {
			return err
		}
	}
	return setTimes(to, as, [2]syscall.Timespec{status.Atim, status.Mtim})
}

func (c *copier) folder(from int, name string, to int, as, path string) error {
	source, err := openAt(from, name, folderFlags, 0)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(source) }()
	if err := syscall.Mkdirat(to, as, 0o700); err != nil {
		return err
	}
	made, err := openAt(to, as, folderFlags, 0)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(made) }()
	var status syscall.Stat_t
	if err := syscall.Fstat(source, &status); err != nil {
		return err
	}
	found, err := readNames(source)
	if err != nil {
		return err
	}
	for i := range found.spans {
		one := string(found.at(i))
		if err := c.entry(source, one, made, one, path+"/"+one); err != nil && err != syscall.ENOENT {
			return placed(one, err)
		}
	}
	return dress(source, made, &status)
}

func (c *copier) file(from int, name string, to int, as string) error {
	source, err := openAt(from, name, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(source) }()
	var status syscall.Stat_t
	if err := syscall.Fstat(source, &status); err != nil {
		return err
	}
	made, err := openAt(to, as, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL, status.Mode&0o777)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(made) }()
	if err := c.content(source, made, &status); err != nil {
		return err
	}
	return dress(source, made, &status)
}

// content copies what a file holds, and leaves its holes out.
func (c *copier) content(source, made int, status *syscall.Stat_t) error {
	if status.Blocks*512 >= status.Size { // no holes, or a file that tells no size
		return c.span(source, made, -1)
	}
	for end := int64(0); ; {
		from, err := syscall.Seek(source, end, seekData)
		if err == syscall.ENXIO { // no more data
			return syscall.Ftruncate(made, status.Size)
		}
		if err != nil {
			return err
		}
		if end, err = syscall.Seek(source, from, seekHole); err != nil {
			return err
		}
		if _, err := syscall.Seek(source, from, io.SeekStart); err != nil {
			return err
		}
		if _, err := syscall.Seek(made, from, io.SeekStart); err != nil {
			return err
		}
		if err := c.span(source, made, end-from); err != nil {
			return err
		}
	}
}

// span copies so many bytes from where both files stand, or all there are if that is negative.
func (c *copier) span(source, made int, left int64) error {
	for left != 0 {
		select {
		case <-c.gone:
			return errGone
		default:
		}
		part := c.block
		if left > 0 {
			part = part[:min(left, int64(len(part)))]
		}
		n, err := syscall.Read(source, part)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return err
		}
		left -= int64(n)
		for part = part[:n]; len(part) > 0; {
			n, err := syscall.Write(made, part)
			if err != nil && err != syscall.EINTR {
				return err
			}
			part = part[max(n, 0):]
		}
	}
	return nil
}

// dress gives a copy the original's owner, mode, extended attributes and times.
func dress(source, made int, status *syscall.Stat_t) error {
	if err := wear(made, int(status.Uid), int(status.Gid), status.Mode&0o7777); err != nil {
		return err
	}
	copyAttributes(source, made)
	return setOwnTimes(made, [2]syscall.Timespec{status.Atim, status.Mtim})
}

// wear gives an open file an owner and a mode, where it has others. The owner comes first, as a change of it takes bits away.
func wear(fd, uid, gid int, bits uint32) error {
	var status syscall.Stat_t
	if err := syscall.Fstat(fd, &status); err != nil {
		return err
	}
	owned := status.Uid == uint32(uid) && status.Gid == uint32(gid)
	if !owned {
		if err := syscall.Fchown(fd, uid, gid); err != nil {
			return err
		}
	}
	if owned && status.Mode&0o7777 == bits {
		return nil
	}
	return syscall.Fchmod(fd, bits)
}

// copyAttributes copies the extended attributes that the other file system takes.
func copyAttributes(source, made int) {
	var some [256]byte
	list := some[:]
	n, _, number := syscall.Syscall(syscall.SYS_FLISTXATTR, uintptr(source), uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)))
	if number == syscall.ERANGE {
		list = make([]byte, 64<<10) // the most that the kernel keeps
		n, _, number = syscall.Syscall(syscall.SYS_FLISTXATTR, uintptr(source), uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)))
	}
	if number != 0 || n == 0 {
		return
	}
	value := make([]byte, 64<<10)
	for at := 0; at < int(n); {
		name := &list[at]
		size, _, number := syscall.Syscall6(syscall.SYS_FGETXATTR, uintptr(source), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&value[0])), uintptr(len(value)), 0, 0)
		if number == 0 {
			_, _, _ = syscall.Syscall6(syscall.SYS_FSETXATTR, uintptr(made), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&value[0])), size, 0, 0)
		}
		for list[at] != 0 {
			at++
		}
		at++
	}
}
