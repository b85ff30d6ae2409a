package files

// POST /files/move and POST /files/copy. What was copied stands beside its destination under another name until it is whole, and then takes
// its place in one step; what breaks off leaves nothing.

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"strings"
	"syscall"

	"portico.dev/agent/internal/proto"
)

// transfer is a body of both calls.
type transfer struct {
	Source            *string `json:"source"`
	SourceBase64      *string `json:"source_base64"`
	Destination       *string `json:"destination"`
	DestinationBase64 *string `json:"destination_base64"`
	Overwrite         *bool   `json:"overwrite"`
	Recursive         bool    `json:"recursive"`
}

// between is where something goes from and to.
type between struct {
	from, to *place
	source   syscall.Stat_t
	over     bool
	gone     <-chan struct{}
}

func (h *handlers) transfer(verb string, do func(*between, bool) error) http.HandlerFunc {
	return answering(func(r *http.Request) (any, *proto.Failure) {
		var wanted transfer
		if failure := proto.ReadJSON(r, maxRequest, &wanted); failure != nil {
			return nil, failure
		}
		source, failure := pathOf(wanted.Source, wanted.SourceBase64, "source")
		if failure != nil {
			return nil, failure
		}
		destination, failure := pathOf(wanted.Destination, wanted.DestinationBase64, "destination")
		if failure != nil {
			return nil, failure
		}
		b := &between{over: wanted.Overwrite == nil || *wanted.Overwrite, gone: h.gone(r)}
		err := b.open(source, destination)
		if err == nil {
			err = do(b, wanted.Recursive)
		}
		b.close()
		if err != nil {
			return nil, failed(err, verb, source)
		}
		return didTo(destination), nil
	})
}

func (b *between) open(source, destination string) (err error) {
	if b.from, err = openPlace(source, false); err != nil {
		return err
	}
	if b.source, err = b.from.stat(); err != nil {
		return err
	}
	b.to, err = openPlace(destination, true)
	if err == nil && strings.HasSuffix(destination, "/") && b.source.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return proto.Fail(proto.CodeIsDirectory, "cannot write to %s: it names a directory", quoted(destination))
	}
	return err
}

func (b *between) close() {
	for _, one := range []*place{b.from, b.to} {
		if one != nil {
			one.close()
		}
	}
}

func (b *between) taken(why string) error {
	return proto.Fail(proto.CodeConflict, "cannot write to %s: %s", quoted(b.to.path), why)
}

// check looks at what is at the destination. same is true if that is the very entry that would go there.
func (b *between) check() (same bool, err error) {
	there, err := b.to.stat()
	if err == syscall.ENOENT {
		return false, b.checkNotInside()
	}
	if err != nil {
		return false, err
	}
	var fromFolder, toFolder syscall.Stat_t
	if err := syscall.Fstat(b.from.folder, &fromFolder); err != nil {
		return false, err
	}
	if err := syscall.Fstat(b.to.folder, &toFolder); err != nil {
		return false, err
	}
	switch {
	case b.from.name == b.to.name && isSame(&fromFolder, &toFolder):
		return true, nil
	case !b.over:
		return false, b.taken("something is there")
	case there.Mode&syscall.S_IFMT == syscall.S_IFDIR:
		return false, b.taken("a directory is there")
	}
	return false, b.checkNotInside()
}

// checkNotInside keeps a directory from going into itself.
func (b *between) checkNotInside() error {
	if b.source.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return nil
	}
	fd, err := openAt(b.to.folder, ".", syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	defer func() { _ = syscall.Close(fd) }()
	for last := (syscall.Stat_t{}); err == nil; {
		var status syscall.Stat_t
		if err = syscall.Fstat(fd, &status); err != nil {
			break
		}
		if isSame(&status, &b.source) {
			return proto.Fail(proto.CodeInvalidPath, "cannot write to %s: it is inside of what would go there", quoted(b.to.path))
		}
		if isSame(&status, &last) {
			return nil // the root
		}
		last = status
		var above int
		if above, err = openAt(fd, "..", syscall.O_RDONLY|syscall.O_DIRECTORY, 0); err == nil {
			_ = syscall.Close(fd)
			fd = above
		}
	}
	return err
}

func isSame(a, b *syscall.Stat_t) bool { return a.Ino == b.Ino && a.Dev == b.Dev }

// move renames, or copies and removes where a name cannot cross.
func move(b *between, _ bool) error {
	same, err := b.check()
	if same || err != nil {
		return err
	}
	there, missing := b.to.stat()
	err = b.settle(b.from.folder, b.from.name)
	if err == nil && missing == nil && isSame(&there, &b.source) {
		// Two names of one file: the kernel has left both.
		return unlinkAt(b.from.folder, b.from.name, 0)
	}
	if err != syscall.EXDEV {
		return err
	}
	if err := b.copyOver(); err != nil {
		return err
	}
	return removeTree(b.from, nil) // to the end, as it is in two places now
}

// copyTo copies a file, a link, or with recursive a directory.
func copyTo(b *between, recursive bool) error {
	if b.source.Mode&syscall.S_IFMT == syscall.S_IFDIR && !recursive {
		return proto.Fail(proto.CodeIsDirectory, "cannot copy %s: it is a directory, and recursive is not set", quoted(b.from.path))
	}
	same, err := b.check()
	if err != nil {
		return err
	}
	if same {
		return b.taken("it is the source itself")
	}
	return b.copyOver()
}

// copyOver copies to a name of its own and then to its place.
func (b *between) copyOver() error {
	var random [8]byte
	_, _ = rand.Read(random[:])
	beside := &place{b.to.folder, temporaryPrefix + hex.EncodeToString(random[:]), ""}
	block := blocks.Get().(*[256 << 10]byte)
	defer blocks.Put(block)
	c := &copier{b.gone, beside.folder, map[inode]string{}, block[:]}
	err := c.entry(b.from.folder, b.from.name, beside.folder, beside.name, beside.name)
	if err == nil {
		err = b.settle(beside.folder, beside.name)
	}
	if err != nil {
		_ = removeTree(beside, nil)
	}
	return err
}

// settle gives what is whole its name.
func (b *between) settle(folder int, name string) error {
	if !b.over {
		return renameAt(folder, name, b.to.folder, b.to.name, renameNoOver)
	}
	err := renameAt(folder, name, b.to.folder, b.to.name, 0)
	if err != syscall.ENOTDIR {
		return err
	}
	// A directory takes a file's place: they change places, and the file goes.
	if err := renameAt(folder, name, b.to.folder, b.to.name, renameSwap); err != nil {
		return err
	}
	return unlinkAt(folder, name, 0)
}
