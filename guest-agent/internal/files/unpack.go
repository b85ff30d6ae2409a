package files

// PUT /files/archive: a tar, plain or gzip, is laid into a directory, which is made. Whatever the archive says and whatever links are there,
// nothing outside of the directory is written: each entry's own directory is opened by the kernel so that it cannot be left, and the entry is
// made anew in it by its last name. What stood there before and is no directory is replaced.

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"os/user"
	"strings"
	"syscall"
	"time"

	"portico.dev/agent/internal/proto"
)

const (
	// maxFolderTimes is how many bytes are spent on the directories that get their time back, once all is in them; each costs its path and more.
	maxFolderTimes = 16 << 20
	folderTimeCost = 64
	// maxAccount is the longest name of a user or a group that is looked up; of a longer one the number counts.
	maxAccount = 255
)

// unpacker lays out one archive.
type unpacker struct {
	root    int
	gone    <-chan struct{}
	entries int
	bytes   int64
	folders []folderTime
	spent   int // on folders, in bytes
	users   map[string]int
	groups  map[string]int
	block   []byte
}

type folderTime struct {
	path string
	time time.Time
}

// upload is a body that notes that it broke off, as that is no fault of the archive.
type upload struct {
	io.Reader
	fault error
}

func (u *upload) Read(b []byte) (int, error) {
	n, err := u.Reader.Read(b)
	if err != nil && err != io.EOF {
		u.fault = err
	}
	return n, err
}

func (h *handlers) unpack(r *http.Request) (any, *proto.Failure) {
	_, path, failure := query(r)
	if failure != nil {
		return nil, failure
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, failed(err, "unpack into", path)
	}
	root, err := openAt(here, path, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, failed(err, "unpack into", path)
	}
	defer func() { _ = syscall.Close(root) }()
	block := blocks.Get().(*[256 << 10]byte)
	defer blocks.Put(block)
	u := &unpacker{root: root, gone: h.gone(r), users: map[string]int{}, groups: map[string]int{}, block: block[:]}
	body := &upload{Reader: r.Body}
	err = u.all(body)
	if body.fault != nil {
		return nil, proto.Fail(proto.CodeCancelled, "cannot unpack the archive: the upload broke off")
	}
	if err != nil {
		return nil, failed(err, "unpack into", path)
	}
	return struct {
		done
		Entries int   `json:"entries"`
		Bytes   int64 `json:"bytes"`
	}{didTo(path), u.entries, u.bytes}, nil
}

func noArchive(why string) *proto.Failure {
	return proto.Fail(proto.CodeInvalidRequest, "cannot unpack the archive: %s", why)
}

func (u *unpacker) all(body io.Reader) error {
	from := bufio.NewReaderSize(body, piece)
	first, err := from.Peek(2)
	if err != nil {
		return noArchive("it is empty")
	}
	var plain io.Reader = from
	if first[0] == 0x1f && first[1] == 0x8b {
		zipped, err := gzip.NewReader(from)
		if err != nil {
			return noArchive("its gzip is damaged")
		}
		plain = zipped
	}
	archive := tar.NewReader(plain)
	for {
		head, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return damaged(err)
		}
		if err := u.entry(head, archive); err != nil {
			return placed(strings.Trim(head.Name, "/"), err)
		}
		if err := u.awaited(); err != nil {
			return err
		}
	}
	// What follows the end, such as a block's padding, is read so that a damaged gzip shows and the sender comes to its end.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return damaged(err)
	}
	for i := len(u.folders) - 1; i >= 0; i-- {
		if folder, name, err := u.parent(u.folders[i].path, false); err == nil {
			_ = setTimes(folder, name, timesOf(u.folders[i].time))
			_ = syscall.Close(folder)
		}
	}
	return nil
}

// awaited tells an error once the caller has gone: what a small body unfolds to may be large.
func (u *unpacker) awaited() error {
	select {
	case <-u.gone:
		return errGone
	default:
		return nil
	}
}

func damaged(err error) error {
	switch {
	case errors.Is(err, tar.ErrHeader):
		return noArchive("it is no tar, plain or gzip")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return noArchive("it ends in the middle")
	}
	return noArchive("it is damaged")
}

// inside checks an entry's path and cleans it; it is empty for the directory itself.
func inside(name string) (string, error) {
	if strings.HasPrefix(name, "/") || strings.IndexByte(name, 0) >= 0 {
		return "", proto.Fail(proto.CodeInvalidPath, "cannot unpack %s: its path is not relative", quoted(name))
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", proto.Fail(proto.CodeInvalidPath, "cannot unpack %s: it leads out of the directory", quoted(name))
		default:
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/"), nil
}

// parent opens the directory that a path's last name is in, and makes it with those above it if asked to.
func (u *unpacker) parent(path string, make bool) (folder int, name string, err error) {
	above, name := ".", path
	if at := strings.LastIndexByte(path, '/'); at >= 0 {
		above, name = path[:at], path[at+1:]
	}
	folder, err = openBeneath(u.root, above, syscall.O_RDONLY|syscall.O_DIRECTORY)
	if err == syscall.ENOENT && make && above != "." {
		var upper int
		var last string
		if upper, last, err = u.parent(above, true); err != nil {
			return -1, "", err
		}
		err = syscall.Mkdirat(upper, last, 0o755)
		_ = syscall.Close(upper)
		if err == nil || err == syscall.EEXIST {
			folder, err = openBeneath(u.root, above, syscall.O_RDONLY|syscall.O_DIRECTORY)
		}
	}
	if err == syscall.EXDEV {
		err = proto.Fail(proto.CodeInvalidPath, "cannot unpack %s: a link leads it out of the directory", quoted(path))
	}
	return folder, name, err
}

func (u *unpacker) entry(head *tar.Header, content io.Reader) error {
	path, err := inside(head.Name)
	if err != nil {
		return err
	}
	if head.Typeflag == tar.TypeXGlobalHeader || path == "" {
		return nil // of the directory itself nothing is changed
	}
	folder, name, err := u.parent(path, true)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(folder) }()
	if err := u.make(head, path, folder, name, content); err != nil {
		return err
	}
	u.entries++
	return nil
}

func (u *unpacker) make(head *tar.Header, path string, folder int, name string, content io.Reader) error {
	var before syscall.Stat_t
	there := statAt(folder, name, &before) == nil
	if head.Typeflag == tar.TypeDir {
		return u.makeFolder(head, path, folder, name, there && before.Mode&syscall.S_IFMT == syscall.S_IFDIR, there)
	}
	if head.Typeflag == tar.TypeLink {
		return u.hardLink(head, folder, name, there)
	}
	if there {
		if err := unlinkAt(folder, name, 0); err != nil {
			return err
		}
	}
	var err error
	switch head.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return u.makeFile(head, folder, name, content)
	case tar.TypeSymlink:
		err = symlinkAt(head.Linkname, folder, name)
	case tar.TypeFifo:
		err = syscall.Mknodat(folder, name, syscall.S_IFIFO|0o600, 0)
	case tar.TypeChar:
		err = syscall.Mknodat(folder, name, syscall.S_IFCHR|0o600, deviceNumber(head.Devmajor, head.Devminor))
	case tar.TypeBlock:
		err = syscall.Mknodat(folder, name, syscall.S_IFBLK|0o600, deviceNumber(head.Devmajor, head.Devminor))
	default:
		return noArchive("it has an entry of the unknown type " + string(rune(head.Typeflag)))
	}
	if err != nil {
		return err
	}
	return u.dress(head, folder, name)
}

func (u *unpacker) makeFile(head *tar.Header, folder int, name string, content io.Reader) error {
	fd, err := openAt(folder, name, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_NOFOLLOW, uint32(head.Mode&0o777))
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), name)
	defer func() { _ = file.Close() }()
	for {
		if err := u.awaited(); err != nil {
			return err
		}
		n, err := content.Read(u.block)
		if n > 0 {
			if _, err := file.Write(u.block[:n]); err != nil {
				return err
			}
			u.bytes += int64(n)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return damaged(err)
		}
	}
	if err := wear(fd, u.uid(head), u.gid(head), uint32(head.Mode&0o7777)); err != nil {
		return err
	}
	return setOwnTimes(fd, timesOf(head.ModTime))
}

func (u *unpacker) makeFolder(head *tar.Header, path string, folder int, name string, already, there bool) error {
	if there && !already {
		if err := unlinkAt(folder, name, 0); err != nil {
			return err
		}
	}
	if !already {
		if err := syscall.Mkdirat(folder, name, 0o700); err != nil {
			return err
		}
	}
	if u.spent += len(path) + folderTimeCost; u.spent <= maxFolderTimes {
		u.folders = append(u.folders, folderTime{path, head.ModTime})
	}
	return u.dress(head, folder, name)
}

// hardLink gives a file of the archive another name. Its first name may not be outside either.
func (u *unpacker) hardLink(head *tar.Header, folder int, name string, there bool) error {
	path, err := inside(head.Linkname)
	if err != nil {
		return err
	}
	from, first, err := u.parent(path, false)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(from) }()
	var source, before syscall.Stat_t
	if err := statAt(from, first, &source); err != nil {
		return err
	}
	if there {
		if statAt(folder, name, &before) == nil && isSame(&source, &before) {
			return nil
		}
		if err := unlinkAt(folder, name, 0); err != nil {
			return err
		}
	}
	return linkAt(from, first, folder, name)
}

// dress gives what was made its owner, mode and time.
func (u *unpacker) dress(head *tar.Header, folder int, name string) error {
	if err := syscall.Fchownat(folder, name, u.uid(head), u.gid(head), linkItself); err != nil {
		return err
	}
	if head.Typeflag != tar.TypeSymlink {
		if err := chmodAt(folder, name, uint32(head.Mode&0o7777)); err != nil {
			return err
		}
	}
	return setTimes(folder, name, timesOf(head.ModTime))
}

// uid is the user of that name here, or the number.
func (u *unpacker) uid(head *tar.Header) int {
	return known(u.users, head.Uname, head.Uid, func() (string, error) {
		entry, err := user.Lookup(head.Uname)
		if err != nil {
			return "", err
		}
		return entry.Uid, nil
	})
}

func (u *unpacker) gid(head *tar.Header) int {
	return known(u.groups, head.Gname, head.Gid, func() (string, error) {
		entry, err := user.LookupGroup(head.Gname)
		if err != nil {
			return "", err
		}
		return entry.Gid, nil
	})
}

// known looks a name up, and remembers some: an archive may have any number of names, of any length.
func known(names map[string]int, name string, number int, lookup func() (string, error)) int {
	if len(name) > maxAccount {
		return number
	}
	id, seen := names[name]
	if !seen {
		id = -1
		if name != "" {
			if found, ok := numberOf("", lookup); ok {
				id = found
			}
		}
		if len(names) < 1024 {
			names[name] = id
		}
	}
	if id < 0 {
		return number
	}
	return id
}

func timesOf(t time.Time) [2]syscall.Timespec {
	one := syscall.NsecToTimespec(t.UnixNano())
	return [2]syscall.Timespec{one, one}
}
