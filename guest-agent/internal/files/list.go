package files

// Listings: each directory's entries by name, the upper levels before the lower ones, so that a listing that meets its limit has told what is
// nearest. It is made for directories of many thousand entries: one call of the kernel for each, and no memory but the names.

import (
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"portico.dev/agent/internal/proto"
)

const (
	usualLimit = 10_000
	maxLimit   = 10_000_000
	maxDepth   = 1000
)

// lister is one listing under way.
type lister struct {
	pieces
	left      int // how many entries may still be told; negative is any number
	told      bool
	truncated bool // the limit was met
	deeper    bool // something is below the last level
	second    int64
	stamp     []byte // that second, as it is told
}

// List is the handler of GET /files/list. Links are told, not followed, but for the one that the path may end in.
func List(w http.ResponseWriter, r *http.Request) {
	values, path, failure := query(r)
	l := &lister{pieces: pieces{w: w}, left: -1}
	depth := 1
	if failure == nil {
		depth, failure = l.bounds(values)
	}
	if failure == nil {
		failure = l.list(path, depth)
	}
	if failure != nil {
		proto.AnswerFailure(w, failure)
	}
}

func (l *lister) bounds(values url.Values) (depth int, failure *proto.Failure) {
	depth = 1
	if values.Has("depth") {
		if depth, failure = count(values, "depth", maxDepth); failure != nil {
			return 0, failure
		}
		l.left = usualLimit
	}
	if values.Has("limit") {
		l.left, failure = count(values, "limit", maxLimit)
	}
	return depth, failure
}

// count reads a parameter that is a number from 1.
func count(values url.Values, name string, most int) (int, *proto.Failure) {
	n, err := strconv.Atoi(values.Get(name))
	if err != nil || n < 1 || n > most {
		return 0, proto.Fail(proto.CodeInvalidRequest, "cannot read the request: %s must be a number from 1 to %d", name, most)
	}
	return n, nil
}

func (l *lister) list(path string, depth int) *proto.Failure {
	root, err := openAt(here, path, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return proto.FailureOf(err, "cannot list "+quoted(path))
	}
	defer func() { _ = syscall.Close(root) }()
	found, err := readNames(root)
	if err != nil {
		return proto.FailureOf(err, "cannot list "+quoted(path))
	}
	l.begin()
	l.out = make([]byte, 0, min(piece+4096, 256+160*len(found.spans)))
	l.out = append(appendNamed(append(l.out, '{'), "path", []byte(path)), `,"entries":[`...)
	folders, err := l.level(root, "", found, depth == 1)
	for depth--; depth > 0 && len(folders) > 0 && err == nil && !l.truncated; depth-- {
		folders, err = l.nextLevel(root, folders, depth == 1)
	}
	if err != nil {
		return nil // nobody reads on
	}
	l.out = append(l.out, `],"truncated":`...)
	l.out = strconv.AppendBool(l.out, l.truncated)
	l.out = append(l.out, `,"deeper":`...)
	l.out = append(strconv.AppendBool(l.out, l.deeper), '}')
	l.finish()
	return nil
}

func (l *lister) nextLevel(root int, folders []string, last bool) (below []string, err error) {
	for _, folder := range folders {
		fd, err := openAt(root, folder, folderFlags, 0)
		if err == syscall.ENOENT || err == syscall.ENOTDIR || err == syscall.ELOOP {
			continue
		}
		if err != nil {
			l.deeper = true // it is there, and cannot be gone into
			continue
		}
		found, err := readNames(fd)
		if err == nil {
			var more []string
			more, err = l.level(fd, folder, found, last)
			below = append(below, more...)
		} else {
			l.deeper, err = true, nil
		}
		_ = syscall.Close(fd)
		if err != nil || l.truncated {
			return nil, err
		}
	}
	return below, nil
}

// level tells what one directory holds, and gives back the directories in it, or looks whether they hold anything where they are the last level.
func (l *lister) level(fd int, path string, found *names, last bool) (folders []string, err error) {
	var status syscall.Stat_t
	for i := range found.spans {
		if statPointer(fd, found.pointer(i), &status) != nil {
			continue // it is gone again
		}
		if l.left == 0 {
			l.truncated = true
			return nil, nil
		}
		l.left--
		name := found.at(i)
		l.entry(path, name, &status)
		if err := l.sendIfLong(); err != nil {
			return nil, err
		}
		if status.Mode&syscall.S_IFMT != syscall.S_IFDIR {
			continue
		}
		if !last {
			folders = append(folders, joined(path, string(name)))
		} else if !l.deeper {
			l.deeper = holdsAnything(fd, string(name))
		}
	}
	return folders, nil
}

func (l *lister) entry(path string, name []byte, status *syscall.Stat_t) {
	if l.told {
		l.out = append(l.out, ',')
	}
	l.told = true
	if path != "" {
		name = append(append([]byte(path), '/'), name...)
	}
	out := appendNamed(append(l.out, '{'), "name", name)
	kind := kindOf(status.Mode)
	out = append(append(append(out, `,"type":"`...), kind...), `","is_dir":`...)
	out = append(strconv.AppendBool(out, kind == "directory"), `,"size":`...)
	out = append(strconv.AppendInt(out, status.Size, 10), `,"mode":"`...)
	bits := status.Mode & 0o7777
	out = append(out, '0'+byte(bits>>9), '0'+byte(bits>>6&7), '0'+byte(bits>>3&7), '0'+byte(bits&7))
	out = append(out, `","modified_at":"`...)
	out = l.appendMoment(out, status.Mtim)
	l.out = append(out, `"}`...)
}

// appendMoment tells a time; entries of the same second share the work.
func (l *lister) appendMoment(out []byte, t syscall.Timespec) []byte {
	if l.stamp == nil || t.Sec != l.second {
		l.second = t.Sec
		l.stamp = time.Unix(t.Sec, 0).UTC().AppendFormat(l.stamp[:0], "2006-01-02T15:04:05.")
	}
	ms := t.Nsec / 1e6
	return append(append(out, l.stamp...), '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10), 'Z')
}

func kindOf(mode uint32) string {
	switch mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		return "file"
	case syscall.S_IFDIR:
		return "directory"
	case syscall.S_IFLNK:
		return "symlink"
	}
	return "other"
}
