package files

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"portico.dev/agent/internal/proto"
)

type change struct {
	Type     string
	Path     string
	Coded    string `json:"path_base64"`
	To       string
	ToCoded  string `json:"to_base64"`
	IsFolder *bool  `json:"is_dir"`
}

func (c change) String() string {
	text := c.Type + " " + filepath.Base(c.Path)
	if c.To != "" {
		text += " " + filepath.Base(c.To)
	}
	return text
}

// watching is a call over a real server, whose caller can leave.
type watching struct {
	*testing.T
	lines *bufio.Scanner
	leave context.CancelFunc
	ended chan struct{} // closed when the handler has returned
}

func watch(t *testing.T, path string, more ...string) *watching {
	t.Helper()
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		routes["/files/watch"]["GET"](w, r)
	}))
	ctx, leave := context.WithTimeout(context.Background(), 30*time.Second)
	r, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"/files/watch?"+at(path, more...).Encode(), nil)
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	t.Cleanup(func() { leave(); _ = response.Body.Close(); server.CloseClientConnections(); server.Close() })
	w := &watching{t, bufio.NewScanner(response.Body), leave, ended}
	if one, _ := w.next(); response.StatusCode != 200 || one.Type != "ready" {
		t.Fatalf("%d %+v", response.StatusCode, one)
	}
	return w
}

func (w *watching) next() (one change, ok bool) {
	w.Helper()
	if !w.lines.Scan() {
		return one, false
	}
	if err := json.Unmarshal(w.lines.Bytes(), &one); err != nil {
		w.Fatalf("%v in %s", err, w.lines.Bytes())
	}
	return one, true
}

// until reads up to an event and tells all before it and itself.
func (w *watching) until(last string) string {
	w.Helper()
	var all []string
	for {
		one, ok := w.next()
		if !ok {
			w.Fatalf("ended after %v", all)
		}
		all = append(all, one.String())
		if one.String() == last {
			return strings.Join(all, ", ")
		}
	}
}

func (w *watching) end() {
	w.Helper()
	if one, more := w.next(); more {
		w.Errorf("more: %+v", one)
	}
	<-w.ended
}

func TestWatchTellsEachKindOfChange(t *testing.T) {
	folder := t.TempDir()
	save(t, folder+"/old", "x")
	must(t, os.Mkdir(folder+"/sub", 0o755))
	w := watch(t, folder)
	must(t, os.WriteFile(folder+"/new", nil, 0o644), os.Truncate(folder+"/old", 0), os.Chmod(folder+"/old", 0o600),
		os.Rename(folder+"/old", folder+"/moved"), os.Remove(folder+"/new"), os.Mkdir(folder+"/made", 0o755), os.WriteFile(folder+"/sub/quiet", nil, 0o644))
	if got := w.until("create made"); got != "create new, modify old, attributes old, move old moved, delete new, create made" {
		t.Error(got)
	}
	must(t, os.WriteFile(folder+"/\xff\n", nil, 0o644))
	if one, _ := w.next(); one.Coded != coded(folder+"/\xff\n") || one.Path != folder+"/\ufffd\n" || *one.IsFolder {
		t.Errorf("%+v", one)
	}
	outside := t.TempDir()
	must(t, os.Rename(folder+"/moved", outside+"/x"), os.Rename(outside+"/x", folder+"/back"), os.Rename(folder+"/made", outside+"/made"))
	if got := w.until("delete made"); got != "delete moved, create back, delete made" {
		t.Error(got)
	}
	must(t, os.RemoveAll(folder))
	w.until("delete " + filepath.Base(folder))
	w.end()
}

func TestWatchTellsWhatIsInNewDirectories(t *testing.T) {
	folder, outside := t.TempDir(), t.TempDir()
	w := watch(t, folder, "recursive", "true")
	save(t, folder+"/a/b/c/file", "")
	if got := w.until("create file"); got != "create a, create b, create c, create file" {
		t.Error(got)
	}
	save(t, outside+"/tree/in/deep", "")
	must(t, os.Rename(outside+"/tree", folder+"/tree"))
	if got := w.until("create deep"); !strings.HasSuffix(got, "create tree, create in, create deep") {
		t.Error(got)
	}
	must(t, os.Rename(folder+"/tree/in", folder+"/a/renamed"), os.WriteFile(folder+"/a/renamed/later", nil, 0o644))
	one, _ := w.next()
	if one.Type != "move" || one.Path != folder+"/tree/in" || one.To != folder+"/a/renamed" || !*one.IsFolder {
		t.Errorf("%+v", one)
	}
	if one, _ = w.next(); one.Path != folder+"/a/renamed/later" {
		t.Errorf("%+v", one)
	}
	must(t, os.Rename(folder+"/a", outside+"/a"), os.WriteFile(outside+"/a/unseen", nil, 0o644), os.WriteFile(folder+"/seen", nil, 0o644))
	if got := w.until("create seen"); got != "delete a, create seen" {
		t.Error(got)
	}
}

func TestWatchOfOneFileSeesItReplaced(t *testing.T) {
	folder := t.TempDir()
	save(t, folder+"/f", "1")
	must(t, os.Symlink("f", folder+"/link"))
	w := watch(t, folder+"/link", "recursive", "true")
	put(folder+"/other", "x")
	put(folder+"/f", "2")
	if one, _ := w.next(); one.Type != "create" || one.Path != folder+"/link" {
		t.Errorf("%+v", one)
	}
	must(t, os.Remove(folder+"/f"))
	if one, _ := w.next(); one.Type != "delete" {
		t.Errorf("%+v", one)
	}
}

func TestWatchEndsWithItsCaller(t *testing.T) {
	w := watch(t, t.TempDir(), "recursive", "true")
	w.leave()
	<-w.ended
	refused(t, ask("GET", "/files/watch", at(t.TempDir()+"/none"), nil), proto.CodeFileNotFound)
	refused(t, ask("GET", "/files/watch", at("/", "recursive", "maybe"), nil), proto.CodeInvalidRequest)
}

// model is what somebody who believes the events thinks is there.
type model map[string]bool

func (m model) take(c change) error {
	under := func(path string, do func(string)) {
		for one := range m {
			if one == path || strings.HasPrefix(one, path+"/") {
				do(one)
			}
		}
	}
	switch c.Type {
	case "create":
		m[c.Path] = true
	case "delete":
		under(c.Path, func(one string) { delete(m, one) })
	case "move":
		under(c.To, func(one string) { delete(m, one) })
		var moved []string
		under(c.Path, func(one string) { moved = append(moved, one) })
		if len(moved) == 0 {
			moved = []string{c.Path} // it came and went before its directory was gone through
		}
		for _, one := range moved {
			delete(m, one)
			m[c.To+one[len(c.Path):]] = true
		}
	case "overflow":
		return fmt.Errorf("events were lost")
	}
	return nil
}

func TestWatchMissesNothingOfAWildTree(t *testing.T) {
	const operations = 300 // of each writer; the kernel keeps the events of that many
	folder, outside := t.TempDir(), t.TempDir()
	w := watch(t, folder, "recursive", "true")
	var writers sync.WaitGroup
	for writer := range 4 {
		writers.Add(1)
		go func() {
			defer writers.Done()
			random := rand.New(rand.NewPCG(uint64(writer), 1))
			any := func() string {
				path := folder
				for range 1 + random.IntN(4) {
					path += fmt.Sprintf("/%c", 'a'+random.IntN(4))
				}
				return path
			}
			for range operations {
				switch random.IntN(8) {
				case 0, 1, 2:
					_ = os.MkdirAll(any(), 0o755)
				case 3, 4:
					_ = os.WriteFile(any(), nil, 0o644)
				case 5:
					_ = os.Rename(any(), any())
				case 6:
					_ = os.RemoveAll(any())
				default:
					away := fmt.Sprintf("%s/%d", outside, writer)
					_ = os.RemoveAll(away)
					if os.Rename(any(), away) == nil {
						_ = os.Rename(away, any())
					}
				}
			}
		}()
	}
	go func() {
		writers.Wait()
		_ = os.WriteFile(folder+"/end", nil, 0o644)
	}()
	believed, events := model{}, 0
	for !believed[folder+"/end"] {
		one, ok := w.next()
		if !ok {
			t.Fatal("it ended")
		}
		must(t, believed.take(one))
		events++
	}
	// Everything is watched in the end, wherever it was moved.
	_ = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if filepath.Base(path) == "last" {
			return nil // of this walk
		}
		if err == nil && path != folder && !believed[path] {
			t.Errorf("%s is there and was not told", path)
		}
		delete(believed, path)
		if entry.IsDir() {
			must(t, os.WriteFile(path+"/last", nil, 0o644))
			for one, _ := w.next(); one.Path != path+"/last"; one, _ = w.next() {
				if one.Type == "" {
					t.Fatalf("nothing was told of %s", path)
				}
			}
		}
		return nil
	})
	for path := range believed {
		t.Errorf("%s is gone, and that was not told", path)
	}
	t.Logf("%d events", events)
}

func TestWatchTellsALossAndGoesOn(t *testing.T) {
	folder := t.TempDir()
	must(t, os.Mkdir(folder+"/old", 0o755))
	recorder := httptest.NewRecorder()
	w, err := openWatcher(recorder, folder, true)
	must(t, err)
	defer func() { _ = w.file.Close() }()
	must(t, os.MkdirAll(folder+"/new/below", 0o755), os.Remove(folder+"/old"))
	w.queue, err = w.next(nil, time.Now().Add(time.Second))
	must(t, err, w.handle(event{watch: -1, mask: syscall.IN_Q_OVERFLOW}), w.flush())
	if got := recorder.Body.String(); got != "{\"type\":\"overflow\"}\n" {
		t.Error(got)
	}
	if len(w.nodes) != 3 {
		t.Errorf("%d directories", len(w.nodes))
	}
	must(t, os.RemoveAll(folder))
	if err := w.handle(event{watch: -1, mask: syscall.IN_Q_OVERFLOW}); err != errOver {
		t.Error(err)
	}
}
