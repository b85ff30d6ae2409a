package files

// The directories that a watch has an eye on, as a tree: a directory that moves takes what is below it along. A new one is watched first and gone
// through then, so that nothing in it is missed; what the kernel tells of it meanwhile would be told twice, and is left out once.

import (
	"syscall"

	"portico.dev/agent/internal/proto"
)

const (
	// maxFolders is how many directories one watch may have; the kernel has a limit of its own, which depends on the memory.
	maxFolders = 65_536
	// maxFound bounds what is remembered of the directories that were gone through.
	maxFound = 65_536
)

type node struct {
	watch   int32
	round   int // in which walk it was last seen
	parent  *node
	name    string
	folders map[string]*node
}

type entryKey struct {
	watch int32
	name  string
}

type tree struct {
	notify     *inotify
	tell       func(path []byte, folder bool) error
	base       string // the path as it was asked for, and told
	place      string // the directory that this is
	only       string // the one name in it that is watched
	recursive  bool
	root       *node
	nodes      map[int32]*node
	round      int
	found      map[entryKey]struct{} // told by a walk; the kernel may tell of it, too
	foundUntil int64                 // but not after so many bytes of events
}

// path is that of a name in the directory, as it is told.
func (n *node) path(base, name string) []byte {
	var parts []string
	length := len(base) + 1 + len(name)
	for one := n; one.parent != nil; one = one.parent {
		parts = append(parts, one.name)
		length += 1 + len(one.name)
	}
	path := append(make([]byte, 0, length), base...)
	for i := len(parts) - 1; i >= -1; i-- {
		if len(path) == 0 || path[len(path)-1] != '/' {
			path = append(path, '/')
		}
		if i < 0 {
			path = append(path, name...)
		} else {
			path = append(path, parts[i]...)
		}
	}
	return path
}

func (n *node) goTo(parent *node, name string) {
	if n.parent != nil && n.parent.folders[n.name] == n {
		delete(n.parent.folders, n.name)
	}
	n.parent, n.name = parent, name
	if parent != nil {
		if parent.folders == nil {
			parent.folders = map[string]*node{}
		}
		parent.folders[name] = n
	}
}

// begin watches what is there.
func (t *tree) begin() error {
	t.found = map[entryKey]struct{}{}
	fd, err := openAt(here, t.place, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = syscall.Close(fd) }()
	t.root, err = t.adopt(nil, "", fd, false)
	return err
}

// again goes through everything once more, as events were lost. The error is that what was watched is no longer there.
func (t *tree) again() error {
	clear(t.found)
	t.round++
	fd, err := openAt(here, t.place, syscall.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return errOver
	}
	defer func() { _ = syscall.Close(fd) }()
	root, err := t.adopt(nil, "", fd, false)
	if root != t.root || err != nil && root == nil {
		return errOver
	}
	for _, one := range t.nodes {
		if one.round != t.round && err == nil {
			t.drop(one)
		}
	}
	return nil
}

// arrived puts a directory where it has moved to. What is believed to have moved may be another one that has taken its name since, so that it is
// looked at; where nothing is, it has moved on, and another event tells.
func (t *watcher) arrived(one *node, to *node, as string) error {
	fd, err := openAt(here, string(to.path(t.place, as)), folderFlags, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = syscall.Close(fd) }()
	watch, err := t.add(fd, 0)
	if err != nil || one == nil || t.nodes[watch] != one {
		return t.appeared(to, as)
	}
	for above := to; above != nil; above = above.parent {
		if above == one {
			return nil // the one has moved on into the other
		}
	}
	if former := to.folders[as]; former != one {
		t.drop(former) // it was empty, and is replaced
	}
	one.goTo(to, as)
	return nil
}

// appeared watches a new directory and tells what is in it. What cannot be watched is told as a loss.
func (t *watcher) appeared(parent *node, name string) error {
	if !t.recursive {
		return nil
	}
	path := parent.path(t.place, name)
	fd, err := openAt(here, string(path), folderFlags, 0)
	if err != nil {
		if err != syscall.ENOENT && err != syscall.ENOTDIR && err != syscall.ELOOP {
			t.line("overflow", nil)
		}
		return nil // gone, or gone elsewhere: another event tells
	}
	defer func() { _ = syscall.Close(fd) }()
	_, err = t.adopt(parent, name, fd, true)
	t.foundUntil = t.waiting()
	if err == nil {
		return nil
	}
	if failure := proto.FailureOf(err, ""); failure.Code == proto.CodeCancelled {
		return err
	}
	t.line("overflow", nil)
	return nil
}

// adopt watches an open directory and, if the watch is recursive, those below it. There is no node for one that is mounted in itself.
func (t *tree) adopt(parent *node, name string, fd int, tell bool) (*node, error) {
	one, err := t.include(parent, name, fd)
	if err != nil || one == nil || !t.recursive {
		return one, err
	}
	names, err := readNames(fd)
	if err != nil {
		return one, err
	}
	var self, status syscall.Stat_t
	if err := syscall.Fstat(fd, &self); err != nil {
		return one, err
	}
	for i := range names.spans {
		entry := met{folder: fd, name: string(names.at(i))}
		folder := false
		if kind := names.spans[i].kind; kind == kindFolder || kind == kindUnknown {
			if statPointer(fd, names.pointer(i), &status) != nil {
				continue
			}
			entry.status = status
			folder = entry.kind() == syscall.S_IFDIR
		}
		if tell {
			if len(t.found) < maxFound {
				t.found[entryKey{one.watch, entry.name}] = struct{}{}
			}
			if err := t.tell(one.path(t.base, entry.name), folder); err != nil {
				return one, proto.Fail(proto.CodeCancelled, "cannot tell the caller: it has gone")
			}
		}
		if !folder {
			continue
		}
		if into, _ := notIntoKernelTrees(&entry, self.Dev); !into {
			continue
		}
		below, err := openAt(fd, entry.name, folderFlags, 0)
		if err != nil {
			continue // gone; if it has moved, an event tells
		}
		_, err = t.adopt(one, entry.name, below, tell)
		_ = syscall.Close(below)
		if err != nil {
			return one, err
		}
	}
	return one, nil
}

func (t *tree) include(parent *node, name string, fd int) (*node, error) {
	more := uint32(0)
	if parent == nil {
		more = ownEnd
	}
	watch, err := t.notify.add(fd, more)
	if err == nil && len(t.nodes) >= maxFolders && t.nodes[watch] == nil {
		t.notify.remove(watch)
		err = syscall.ENOSPC
	}
	if err == syscall.ENOSPC {
		return nil, proto.Fail(proto.CodeOverloaded, "cannot watch %s: it has more directories than the kernel can watch", quoted(t.base))
	}
	if err != nil {
		return nil, err
	}
	one := t.nodes[watch]
	if one == nil {
		one = &node{watch: watch}
		t.nodes[watch] = one
	}
	for above := parent; above != nil; above = above.parent {
		if above == one {
			return nil, nil
		}
	}
	one.round = t.round
	if parent != nil {
		if former := parent.folders[name]; former != nil && former != one {
			t.drop(former)
		}
		one.goTo(parent, name)
	}
	return one, nil
}

// drop forgets a directory and those below it.
func (t *tree) drop(one *node) {
	if one == nil {
		return
	}
	for _, below := range one.folders {
		t.drop(below)
	}
	one.goTo(nil, "")
	delete(t.nodes, one.watch)
	t.notify.remove(one.watch)
}
