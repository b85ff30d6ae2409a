package files

// Directories as they are gone through: all names of one at a time, by bytes, and everything below one, parents first. Links are met, never
// followed. What vanishes meanwhile is passed over.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"syscall"

	"portico.dev/agent/internal/proto"
)

// names are what a directory holds, sorted, in one piece of memory, each ended by a zero byte.
type names struct {
	bytes []byte
	spans []span
}

type span struct {
	from, to uint32
	kind     byte // as the directory has it
}

// Kinds of entries as directories have them; not each file system tells.
const (
	kindUnknown = 0
	kindFolder  = 4
)

func (n *names) at(i int) []byte { return n.bytes[n.spans[i].from:n.spans[i].to] }

// pointer is the name for a call of the kernel.
func (n *names) pointer(i int) *byte { return &n.bytes[n.spans[i].from] }

var direntBlocks = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// readNames reads what an open directory holds: nothing, if it was removed meanwhile.
func readNames(folder int) (*names, error) {
	block := direntBlocks.Get().(*[32 << 10]byte)
	defer direntBlocks.Put(block)
	found := &names{}
	for {
		n, err := syscall.ReadDirent(folder, block[:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil && err != syscall.ENOENT {
			return nil, err
		}
		if n <= 0 {
			break
		}
		for rest := block[:n]; len(rest) > 0; {
			name, length := direntName(rest)
			kind := rest[direntKind]
			rest = rest[length:]
			if !isDots(name) {
				from := uint32(len(found.bytes))
				found.bytes = append(append(found.bytes, name...), 0)
				found.spans = append(found.spans, span{from, from + uint32(len(name)), kind})
			}
		}
	}
	slices.SortFunc(found.spans, func(a, b span) int {
		return bytes.Compare(found.bytes[a.from:a.to], found.bytes[b.from:b.to])
	})
	return found, nil
}

// direntKind is where a record has its kind, after inode, offset and length; the name follows.
const direntKind = 18

// direntName takes the name of the first record of the kernel's, and the record's length.
func direntName(records []byte) (name []byte, length int) {
	length = int(binary.NativeEndian.Uint16(records[16:]))
	name = records[direntKind+1 : length]
	if end := bytes.IndexByte(name, 0); end >= 0 {
		name = name[:end]
	}
	return name, length
}

func isDots(name []byte) bool {
	return len(name) == 1 && name[0] == '.' || len(name) == 2 && name[0] == '.' && name[1] == '.'
}

// holdsAnything tells whether a directory is there and not empty.
func holdsAnything(folder int, name string) bool {
	fd, err := openAt(folder, name, folderFlags, 0)
	if err != nil {
		return false
	}
	defer func() { _ = syscall.Close(fd) }()
	block := direntBlocks.Get().(*[32 << 10]byte)
	defer direntBlocks.Put(block)
	for {
		n, err := syscall.ReadDirent(fd, block[:])
		if err != nil || n <= 0 {
			return false
		}
		for rest := block[:n]; len(rest) > 0; {
			name, length := direntName(rest)
			if !isDots(name) {
				return true
			}
			rest = rest[length:]
		}
	}
}

// met is one entry on the way, valid until the next.
type met struct {
	folder int // the open directory that holds it
	name   string
	path   string // from where the walk began
	status syscall.Stat_t
}

func (m *met) kind() uint32 { return m.status.Mode & syscall.S_IFMT }

// walk goes through all that is below a directory.
type walk struct {
	gone <-chan struct{}
	// meet is told of each entry, a directory before what is in it.
	meet func(*met) error
	// into, if there is one, tells whether to go into a directory.
	into func(*met, uint64) (bool, error)
	// leave, if there is one, is told of each directory after what is in it.
	leave func(*met) error
}

var errGone = proto.Fail(proto.CodeCancelled, "cannot go on: the caller has gone")

// below walks an open directory. device is where it is.
func (w *walk) below(folder int, path string, device uint64) error {
	found, err := readNames(folder)
	if err != nil {
		return &atPath{path, err}
	}
	one := met{folder: folder}
	for i := range found.spans {
		select {
		case <-w.gone:
			return errGone
		default:
		}
		err := statPointer(folder, found.pointer(i), &one.status)
		if err == syscall.ENOENT {
			continue
		}
		one.name = string(found.at(i))
		one.path = joined(path, one.name)
		if err == nil {
			err = w.meet(&one)
		}
		if err == nil && one.kind() == syscall.S_IFDIR {
			err = w.enter(&one, device)
		}
		if err != nil {
			return placed(one.path, err)
		}
	}
	return nil
}

func (w *walk) enter(one *met, device uint64) error {
	if w.into != nil {
		if enter, err := w.into(one, device); !enter || err != nil {
			return err
		}
	}
	fd, err := openAt(one.folder, one.name, folderFlags, 0)
	if err == syscall.ENOENT || err == syscall.ENOTDIR || err == syscall.ELOOP {
		return nil // it is gone, or something else by now
	}
	if err != nil {
		return err
	}
	err = w.below(fd, one.path, one.status.Dev)
	_ = syscall.Close(fd)
	if err == nil && w.leave != nil {
		err = w.leave(one)
	}
	return err
}

// notIntoKernelTrees keeps a walk out of /proc and its like, whose files are none.
func notIntoKernelTrees(one *met, device uint64) (bool, error) {
	if one.status.Dev == device {
		return true, nil
	}
	fd, err := openAt(one.folder, one.name, folderFlags, 0)
	if err != nil {
		return false, nil
	}
	defer func() { _ = syscall.Close(fd) }()
	var system syscall.Statfs_t
	if err := syscall.Fstatfs(fd, &system); err != nil {
		return false, nil
	}
	return !kernelTrees[uint32(system.Type)], nil
}

// kernelTrees are proc, sysfs, cgroup2, cgroup, debugfs, tracefs, devpts, securityfs, bpf, configfs.
var kernelTrees = map[uint32]bool{
	0x9fa0: true, 0x62656572: true, 0x63677270: true, 0x27e0eb: true, 0x64626720: true, 0x74726163: true, 0x1cd1: true, 0x73636673: true,
	0xcafe4a11: true, 0x62656570: true,
}

func joined(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// atPath is an error that was met below the path that was asked for.
type atPath struct {
	path string
	err  error
}

func (a *atPath) Error() string { return a.err.Error() }
func (a *atPath) Unwrap() error { return a.err }

// placed notes where an error was met, unless it says so already.
func placed(path string, err error) error {
	var already *atPath
	var failure *proto.Failure
	if err == nil || errors.As(err, &already) || errors.As(err, &failure) {
		return err
	}
	return &atPath{path, err}
}

// failed tells an error as a Failure that names the entry.
func failed(err error, verb, path string) *proto.Failure {
	var where *atPath
	if errors.As(err, &where) && where.path != "" {
		path = joined(path, where.path)
	}
	return proto.FailureOf(err, "cannot "+verb+" "+quoted(path))
}
