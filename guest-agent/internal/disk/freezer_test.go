package disk

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recorded notes the calls of a file system.
type recorded struct {
	lock   sync.Mutex
	calls  []string
	thawed chan struct{}
	fail   string
}

func (f *recorded) note(call string) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.calls = append(f.calls, call)
	if call == "thaw" {
		f.thawed <- struct{}{}
	}
	if call == f.fail {
		return errors.New("no")
	}
	return nil
}

func (f *recorded) Flush() error  { return f.note("flush") }
func (f *recorded) Freeze() error { return f.note("freeze") }
func (f *recorded) Thaw() error   { return f.note("thaw") }

func newRecorded() *recorded { return &recorded{thawed: make(chan struct{}, 8)} }

func ask(f *Freezer, route, body string) (int, string) {
	w := httptest.NewRecorder()
	f.Routes()[route][http.MethodPost](w, httptest.NewRequest(http.MethodPost, route, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestFreezeFlushesFirstAndThawEndsIt(t *testing.T) {
	system := newRecorded()
	freezer := New(system)
	if code, body := ask(freezer, "/disk/freeze", `{"limit_ms":5000}`); code != 200 || !strings.Contains(body, "flushed_ms") {
		t.Fatal(code, body)
	}
	if code, body := ask(freezer, "/disk/freeze", `{"limit_ms":5000}`); code != 409 {
		t.Error("a second freeze:", code, body)
	}
	for range 2 {
		if code, body := ask(freezer, "/disk/thaw", ""); code != 200 || !strings.Contains(body, `"expired":false`) {
			t.Error(code, body)
		}
	}
	if want := []string{"flush", "freeze", "flush", "thaw"}; !slices.Equal(system.calls, want) {
		t.Error(system.calls)
	}
}

func TestDiskThawsByItselfAtItsLimitAndSaysSo(t *testing.T) {
	system := newRecorded()
	freezer := New(system)
	if code, body := ask(freezer, "/disk/freeze", `{"limit_ms":1}`); code != 200 {
		t.Fatal(code, body)
	}
	<-system.thawed
	if code, body := ask(freezer, "/disk/thaw", ""); code != 200 || !strings.Contains(body, `"expired":true`) {
		t.Error(code, body)
	}
	// The next one is a freeze of its own.
	ask(freezer, "/disk/freeze", `{"limit_ms":5000}`)
	if _, body := ask(freezer, "/disk/thaw", ""); !strings.Contains(body, `"expired":false`) {
		t.Error(body)
	}
}

func TestWrongRequestsFreezeNothing(t *testing.T) {
	system := newRecorded()
	freezer := New(system)
	for _, body := range []string{`{"limit_ms":0}`, `{"limit_ms":5001}`, `{"limit_ms":-1}`, `{}`, `x`} {
		if code, _ := ask(freezer, "/disk/freeze", body); code != 400 {
			t.Errorf("%s: %d", body, code)
		}
	}
	if code, _ := ask(freezer, "/disk/thaw", ""); code != 409 {
		t.Error("a thaw before any freeze:", code)
	}
	if len(system.calls) != 0 {
		t.Error(system.calls)
	}
}

func TestFreezeThatFailsLeavesTheDiskWritable(t *testing.T) {
	system := newRecorded()
	system.fail = "freeze"
	freezer := New(system)
	if code, _ := ask(freezer, "/disk/freeze", `{"limit_ms":5000}`); code < 400 {
		t.Error(code)
	}
	system.fail = ""
	if code, body := ask(freezer, "/disk/freeze", `{"limit_ms":5000}`); code != 200 {
		t.Error(code, body)
	}
}
