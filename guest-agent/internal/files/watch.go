package files

// GET /files/watch: one line of JSON for each change, as soon as it is known.
//
//	watches set ──▶ ready ──▶ events, and a heartbeat in silence ──▶ what is watched is gone, or the caller
//
// Nothing grows with a slow caller: while it does not read, the kernel keeps its events, and tells when it has lost some.

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"portico.dev/agent/internal/proto"
)

const (
	heartbeat = 15 * time.Second
	// moveWait is how long the second half of a move is waited for. The kernel tells both at once.
	moveWait = 10 * time.Millisecond
	// maxHeld is how many events behind a half of a move are looked at for the other. A move that is not recognized is a delete and a create.
	maxHeld    = 64
	maxWatches = 64
)

var errOver = errors.New("cannot go on: what was watched is gone")

// watcher is one call.
type watcher struct {
	*inotify
	tree
	w      http.ResponseWriter
	queue  []event
	out    []byte
	last   int // where the last line of out begins
	silent time.Time
}

func (h *handlers) watch(w http.ResponseWriter, r *http.Request) {
	values, path, failure := query(r)
	recursive := false
	if failure == nil {
		recursive, failure = flag(values, "recursive")
	}
	if failure != nil {
		proto.AnswerFailure(w, failure)
		return
	}
	defer h.watches.Add(-1)
	if h.watches.Add(1) > maxWatches {
		proto.AnswerFailure(w, proto.Fail(proto.CodeOverloaded, "cannot watch %s: %d watches are open", quoted(path), maxWatches))
		return
	}
	watcher, err := openWatcher(w, path, recursive)
	if err != nil {
		proto.AnswerFailure(w, failed(err, "watch", path))
		return
	}
	served := make(chan struct{})
	defer close(served)
	go func() {
		select {
		case <-h.gone(r):
		case <-served:
		}
		_ = watcher.file.Close()
	}()
	w.Header()["Content-Type"] = []string{"application/x-ndjson"}
	watcher.line("ready", nil)
	_ = watcher.serve()
}

func openWatcher(w http.ResponseWriter, path string, recursive bool) (*watcher, error) {
	place, status, err := target(path)
	if err == nil && status == nil {
		err = syscall.ENOENT
	}
	if err != nil {
		return nil, err
	}
	notify, err := openInotify()
	if err != nil {
		return nil, err
	}
	t := &watcher{inotify: notify, w: w}
	t.tree = tree{notify: notify, tell: t.created, base: path, place: place, recursive: recursive, nodes: map[int32]*node{}}
	if !status.IsDir() {
		// A file is watched in its directory, as editors put another one in its place.
		t.place, t.only = split(place)
		t.recursive = false
	}
	if err := t.begin(); err != nil {
		_ = notify.file.Close()
		return nil, err
	}
	return t, nil
}

// serve tells events until the end.
func (t *watcher) serve() error {
	for {
		if len(t.queue) == 0 {
			if err := t.flush(); err != nil {
				return err
			}
			var err error
			t.queue, err = t.next(t.queue[:0], t.silent.Add(heartbeat))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.line("heartbeat", nil)
				continue
			}
			if err != nil {
				return err
			}
		}
		if len(t.queue) == 0 {
			continue
		}
		one := t.queue[0]
		t.queue = t.queue[1:]
		err := t.handle(one)
		if err == nil && len(t.out) >= piece {
			err = t.flush()
		}
		if err != nil {
			_ = t.flush()
			return err
		}
	}
}

func (t *watcher) flush() error {
	if len(t.out) == 0 {
		return nil
	}
	_, err := t.w.Write(t.out)
	if err == nil {
		err = http.NewResponseController(t.w).Flush()
	}
	t.out, t.last, t.silent = t.out[:0], 0, time.Now()
	return err
}

// line tells an event. One that says the same as the line before it is left out.
func (t *watcher) line(kind string, path []byte, more ...func([]byte) []byte) {
	from := len(t.out)
	t.out = append(append(append(t.out, `{"type":"`...), kind...), '"')
	if path != nil {
		t.out = appendNamed(append(t.out, ','), "path", path)
	}
	for _, one := range more {
		t.out = one(append(t.out, ','))
	}
	t.out = append(t.out, "}\n"...)
	if from > 0 && (kind == "modify" || kind == "attributes") && bytes.Equal(t.out[t.last:from], t.out[from:]) {
		t.out = t.out[:from]
		return
	}
	t.last = from
}

func isFolder(yes bool) func([]byte) []byte {
	return func(out []byte) []byte { return strconv.AppendBool(append(out, `"is_dir":`...), yes) }
}

// created tells what was found in a new directory.
func (t *watcher) created(path []byte, folder bool) error {
	t.line("create", path, isFolder(folder))
	if len(t.out) >= piece {
		return t.flush()
	}
	return nil
}

func (t *watcher) handle(e event) error {
	if e.mask&syscall.IN_Q_OVERFLOW != 0 {
		err := t.again()
		t.line("overflow", nil)
		if err != nil {
			return t.over()
		}
		return nil
	}
	if e.end > t.foundUntil {
		clear(t.found)
	}
	at := t.nodes[e.watch]
	if at == nil {
		return nil
	}
	if e.name == "" {
		return t.itself(at, e)
	}
	if t.only != "" {
		return t.single(e)
	}
	return t.inFolder(at, e)
}

// itself takes an event of a watched directory that its parent does not tell of.
func (t *watcher) itself(at *node, e event) error {
	switch {
	case at == t.root && e.mask&(syscall.IN_DELETE_SELF|syscall.IN_MOVE_SELF|syscall.IN_UNMOUNT|syscall.IN_IGNORED) != 0:
		return t.over()
	case at == t.root && e.mask&syscall.IN_ATTRIB != 0 && t.only == "":
		t.line("attributes", []byte(t.base), isFolder(true))
	case e.mask&syscall.IN_IGNORED != 0:
		delete(t.nodes, e.watch)
	}
	return nil
}

func (t *watcher) over() error {
	t.line("delete", []byte(t.base), isFolder(t.only == ""))
	return errOver
}

// single tells of the one file that is watched. What comes to its name is a create, what leaves it a delete.
func (t *watcher) single(e event) error {
	if e.name != t.only {
		return nil
	}
	if kind := kindOfEvent(e.mask); kind != "" {
		t.line(kind, []byte(t.base), isFolder(e.mask&syscall.IN_ISDIR != 0))
	}
	return nil
}

func kindOfEvent(mask uint32) string {
	switch {
	case mask&(syscall.IN_CREATE|syscall.IN_MOVED_TO) != 0:
		return "create"
	case mask&(syscall.IN_DELETE|syscall.IN_MOVED_FROM) != 0:
		return "delete"
	case mask&syscall.IN_MODIFY != 0:
		return "modify"
	case mask&syscall.IN_ATTRIB != 0:
		return "attributes"
	}
	return ""
}

func (t *watcher) inFolder(at *node, e event) error {
	folder := e.mask&syscall.IN_ISDIR != 0
	key := entryKey{at.watch, e.name}
	if e.mask&syscall.IN_MOVED_FROM != 0 {
		if other, found := t.otherHalf(e.cookie); found {
			if to := t.nodes[other.watch]; to != nil {
				return t.moved(at, e.name, to, other.name, folder)
			}
		}
	}
	switch kind := kindOfEvent(e.mask); kind {
	case "create":
		_, known := t.found[key]
		delete(t.found, key)
		if known && e.mask&syscall.IN_CREATE != 0 {
			return nil // told when its directory was gone through; what was moved here may have replaced what was seen then
		}
		t.line(kind, at.path(t.base, e.name), isFolder(folder))
		if folder {
			return t.appeared(at, e.name)
		}
	case "delete":
		delete(t.found, key)
		t.line(kind, at.path(t.base, e.name), isFolder(folder))
		t.drop(at.folders[e.name])
	case "":
	default:
		t.line(kind, at.path(t.base, e.name), isFolder(folder))
	}
	return nil
}

// otherHalf takes the event of where something went out of the queue. It follows at once, so that it is not waited for long.
func (t *watcher) otherHalf(cookie uint32) (event, bool) {
	for looked, until := 0, time.Now().Add(moveWait); ; {
		for ; looked < min(len(t.queue), maxHeld); looked++ {
			if one := t.queue[looked]; one.cookie == cookie && one.mask&syscall.IN_MOVED_TO != 0 {
				t.queue = append(t.queue[:looked], t.queue[looked+1:]...)
				return one, true
			}
		}
		if len(t.queue) >= maxHeld {
			return event{}, false
		}
		var err error
		if t.queue, err = t.next(t.queue, until); err != nil {
			return event{}, false
		}
	}
}

func (t *watcher) moved(from *node, name string, to *node, as string, folder bool) error {
	delete(t.found, entryKey{from.watch, name})
	delete(t.found, entryKey{to.watch, as})
	t.line("move", from.path(t.base, name), func(out []byte) []byte { return appendNamed(out, "to", to.path(t.base, as)) }, isFolder(folder))
	if !folder || !t.recursive {
		return nil
	}
	return t.arrived(from.folders[name], to, as)
}
