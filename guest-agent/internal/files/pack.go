package files

// GET /files/archive: a directory, or one file, as a tar. What cannot be told whole breaks the answer off, so that nobody takes it for whole.

import (
	"archive/tar"
	"bufio"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"
	"unicode/utf8"

	"portico.dev/agent/internal/proto"
)

// packer writes one archive.
type packer struct {
	out      *tar.Writer
	links    map[inode]string // the first name of each file that has several
	accounts accountNames
	block    []byte
	gone     <-chan struct{}
}

func (h *handlers) pack(w http.ResponseWriter, r *http.Request) {
	_, path, failure := query(r)
	if failure != nil {
		proto.AnswerFailure(w, failure)
		return
	}
	block := blocks.Get().(*[256 << 10]byte)
	defer blocks.Put(block)
	to := bufio.NewWriterSize(w, piece)
	p := &packer{tar.NewWriter(to), map[inode]string{}, accountNames{}, block[:], h.gone(r)}
	begin := func() { w.Header()["Content-Type"] = []string{"application/x-tar"} }
	begun, err := p.all(path, begin)
	if err == nil {
		err = p.out.Close()
	}
	if err == nil {
		err = to.Flush()
	}
	if err != nil && begun {
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		proto.AnswerFailure(w, failed(err, "pack", path))
	}
}

func (p *packer) all(path string, begin func()) (begun bool, err error) {
	fd, err := openAt(here, path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return false, err
	}
	defer func() { _ = syscall.Close(fd) }()
	one := met{folder: fd}
	if err := syscall.Fstat(fd, &one.status); err != nil {
		return false, err
	}
	if one.kind() != syscall.S_IFDIR {
		if one.kind() != syscall.S_IFREG {
			return false, proto.Fail(proto.CodeConflict, "cannot pack %s: it is neither a directory nor a regular file", quoted(path))
		}
		begin()
		folder, name := split(path)
		if one.folder, err = openAt(here, folder, syscall.O_RDONLY|syscall.O_DIRECTORY, 0); err != nil {
			return false, err
		}
		defer func() { _ = syscall.Close(one.folder) }()
		one.name, one.path = name, name
		return true, p.content(&one, 0)
	}
	begin()
	w := &walk{gone: p.gone, meet: p.entry, into: notIntoKernelTrees}
	return true, w.below(fd, "", one.status.Dev)
}

func (p *packer) entry(one *met) error {
	head := p.head(one)
	switch one.kind() {
	case syscall.S_IFDIR:
		head.Typeflag, head.Name = tar.TypeDir, one.path+"/"
	case syscall.S_IFLNK:
		target, err := readlinkAt(one.folder, one.name)
		if err != nil {
			return unlessGone(err)
		}
		head.Typeflag, head.Linkname = tar.TypeSymlink, target
	case syscall.S_IFREG:
	case syscall.S_IFIFO:
		head.Typeflag = tar.TypeFifo
	case syscall.S_IFCHR, syscall.S_IFBLK:
		head.Typeflag = tar.TypeChar
		if one.kind() == syscall.S_IFBLK {
			head.Typeflag = tar.TypeBlock
		}
		head.Devmajor, head.Devminor = deviceNumbers(one.status.Rdev)
	default:
		return nil // a socket is nothing without who listens
	}
	if one.kind() != syscall.S_IFDIR && one.status.Nlink > 1 {
		id := inode{one.status.Dev, one.status.Ino}
		if first, known := p.links[id]; known {
			head.Typeflag, head.Linkname = tar.TypeLink, first
			return p.write(head)
		}
		p.links[id] = one.path
	}
	if one.kind() == syscall.S_IFREG {
		return p.content(one, syscall.O_NOFOLLOW)
	}
	return p.write(head)
}

func (p *packer) head(one *met) *tar.Header {
	return &tar.Header{
		Typeflag: tar.TypeReg, Name: one.path, Mode: int64(one.status.Mode & 0o7777),
		Uid: int(one.status.Uid), Gid: int(one.status.Gid),
		Uname: p.accounts.user(one.status.Uid), Gname: p.accounts.group(one.status.Gid),
		ModTime: time.Unix(one.status.Mtim.Sec, one.status.Mtim.Nsec),
	}
}

func (p *packer) write(head *tar.Header) error {
	if !utf8.ValidString(head.Name) || !utf8.ValidString(head.Linkname) {
		head.Format = tar.FormatGNU // takes a name as its bytes
	}
	return p.out.WriteHeader(head)
}

// content packs a file as large as it is when it is opened. One that shrinks meanwhile is filled with zeros, as tar does.
func (p *packer) content(one *met, flags int) error {
	fd, err := openAt(one.folder, one.name, syscall.O_RDONLY|syscall.O_NONBLOCK|flags, 0)
	if err != nil {
		return unlessGone(err)
	}
	file := os.NewFile(uintptr(fd), one.name)
	defer func() { _ = file.Close() }()
	if err := syscall.Fstat(fd, &one.status); err != nil {
		return err
	}
	head := p.head(one)
	head.Size = one.status.Size
	if err := p.write(head); err != nil {
		return err
	}
	for left := head.Size; left > 0; {
		select {
		case <-p.gone:
			return errGone
		default:
		}
		part := p.block[:min(left, int64(len(p.block)))]
		n, err := io.ReadFull(file, part)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			clear(part[n:])
		} else if err != nil {
			return err
		}
		if _, err := p.out.Write(part); err != nil {
			return err
		}
		left -= int64(len(part))
	}
	return nil
}

// deviceNumbers takes the kernel's number of a device apart.
func deviceNumbers(device uint64) (major, minor int64) {
	return int64(device>>8&0xfff | device>>32&^0xfff), int64(device&0xff | device>>12&0xffffff00)
}

func deviceNumber(major, minor int64) int {
	a, b := uint64(major), uint64(minor)
	return int(a&0xfff<<8 | a&^0xfff<<32 | b&0xff | b&^0xff<<12)
}
