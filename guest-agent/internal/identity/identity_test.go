package identity

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico.dev/agent/internal/proto"
)

var entropy = base64.StdEncoding.EncodeToString(make([]byte, 48))

func identify(machine Machine, env *map[string]string, fields map[string]any) *httptest.ResponseRecorder {
	whole := map[string]any{"sandbox_id": "s", "hostname": "box-1", "clock_unix_ms": 1.9e12, "entropy": entropy, "token": entropy[:43] + "=", "env": map[string]string{"A": "b"}}
	maps.Copy(whole, fields)
	body, _ := json.Marshal(whole)
	w := httptest.NewRecorder()
	Handler(machine, &Gate{}, func(e map[string]string, _ Program) *proto.Failure { *env = e; return nil })(w, httptest.NewRequest("POST", "/identity", strings.NewReader(string(body))))
	return w
}

func TestConfirmsWhatIsInForce(t *testing.T) {
	var env map[string]string
	w := identify(&Pretend{}, &env, nil)
	var got confirmation
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if got.Hostname != "box-1" || got.EntropyBytes != 48 || env["A"] != "b" {
		t.Errorf("%+v %v", got, env)
	}
	if off := time.UnixMilli(got.ClockUnixMs).Sub(time.UnixMilli(1.9e12)); off < -time.Millisecond || off > time.Minute {
		t.Errorf("the clock is off by %v", off)
	}
}

func TestRefusesWhatIsNotWhole(t *testing.T) {
	for _, fields := range []map[string]any{
		{"entropy": ""}, {"entropy": "!"}, {"entropy": base64.StdEncoding.EncodeToString(make([]byte, 31))},
		{"hostname": ""}, {"hostname": "a b"}, {"hostname": "-a"}, {"hostname": "a\nb"}, {"hostname": strings.Repeat("a", 65)},
		{"clock_unix_ms": 0}, {"token": ""}, {"token": "AAAA"}, {"token": "!"},
	} {
		var env map[string]string
		if w := identify(&Pretend{}, &env, fields); w.Code != 400 || env != nil {
			t.Errorf("%v: %d %s", fields, w.Code, w.Body)
		}
	}
}

// failing is a machine of which one call fails.
type failing struct {
	Pretend
	clock, name, pool error
}

func (f *failing) SetClock(at time.Time) error           { return f.clock }
func (f *failing) SetHostname(name string) error         { return f.name }
func (f *failing) AddEntropy(random []byte) (int, error) { return len(random), f.pool }

func TestNothingIsConfirmedWhenAnyOfItFails(t *testing.T) {
	broken := errors.New("broken")
	for _, machine := range []*failing{{clock: broken}, {name: broken}, {pool: broken}} {
		var env map[string]string
		if w := identify(machine, &env, nil); w.Code != 500 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

func TestGateLetsInWhoKnowsTheTokenInForce(t *testing.T) {
	var gate Gate
	with := func(token string) *http.Request {
		r := httptest.NewRequest("GET", "/files", nil)
		r.Header.Set(TokenHeader, token)
		return r
	}
	if !gate.Admits(with("")) {
		t.Error("shut before the first identity")
	}
	for _, token := range []string{"first", "second"} {
		gate.close(token)
		for given, want := range map[string]bool{"": false, "first": token == "first", "second": token == "second"} {
			if gate.Admits(with(given)) != want {
				t.Errorf("%s is in force, %q: %v", token, given, !want)
			}
		}
	}
}

func TestHostsFile(t *testing.T) {
	for before, after := range map[string]string{
		"":                      "127.0.0.1\tlocalhost\n127.0.1.1\tnew\n",
		"127.0.0.1 localhost\n": "127.0.0.1 localhost\n127.0.1.1\tnew\n",
		"127.0.0.1 localhost":   "127.0.0.1 localhost\n127.0.1.1\tnew\n",
		"127.0.0.1 localhost\n127.0.1.1\told\n10.0.0.1 db\n": "127.0.0.1 localhost\n10.0.0.1 db\n127.0.1.1\tnew\n",
	} {
		if got := hostsWith(before, "new"); got != after {
			t.Errorf("%q, want %q", got, after)
		}
		if again := hostsWith(hostsWith(before, "new"), "new"); again != after {
			t.Errorf("a second time: %q", again)
		}
	}
}

func TestFilesThatTellTheNameAreRewritten(t *testing.T) {
	folder := t.TempDir()
	rewrite(folder+"/new", func(string) string { return "made" })
	rewrite(folder+"/new", func(before string) string { return before[:2] })
	if text, _ := os.ReadFile(folder + "/new"); string(text) != "ma" {
		t.Errorf("%q", text)
	}
	if err := errors.Join(syscall.Mkfifo(folder+"/pipe", 0o644), os.Symlink("new", folder+"/link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/pipe", "/link"} {
		rewrite(folder+name, func(string) string { t.Errorf("%s was changed", name); return "" })
	}
}
