package process

import (
	"encoding/json"
	"fmt"
	"regexp"
	"testing"
	"time"
)

// shellOf opens a shell and hears it.
func (k *keeper) shellOf(fields string) (described, *listener) {
	k.Helper()
	d, status := k.call("POST", "/shells", fields)
	if status != 200 {
		k.Fatalf("status %d", status)
	}
	return d, k.listen("GET", "/processes/output?hold=1&id="+d.ID, nil)
}

type ran struct {
	stdout, stderr string
	code           int
}

// command runs one command and hears it out.
func (l *listener) command(k *keeper, id, run, command string) ran {
	l.Helper()
	body, _ := json.Marshal(map[string]string{"run": run, "command": command})
	if _, status := k.call("POST", "/shells/run?id="+id, string(body)); status != 200 {
		l.Fatalf("status %d", status)
	}
	return l.result(run)
}

func (l *listener) result(run string) ran {
	l.Helper()
	l.stdout.Reset()
	l.stderr.Reset()
	for l.read() {
		for _, m := range l.takeMarks() {
			if m.Run == run && m.State == "ended" {
				l.last = m
				return ran{l.stdout.String(), l.stderr.String(), *m.ExitCode}
			}
		}
	}
	l.Fatalf("the run %s has no end", run)
	return ran{}
}

// onlyBash is what a plain shell ends at, or does not do where nobody types.
var onlyBash = regexp.MustCompile("syntax|jobs|%1")

func TestShellKeepsFolderVariablesFunctionsAndJobs(t *testing.T) {
	for _, env := range []string{`{}`, `{"env":{"PATH":"/nowhere"}}`} { // the second finds no bash
		k := keep(t)
		d, l := k.shellOf(env)
		path := ""
		if env != `{}` {
			path = "PATH=/usr/bin:/bin; "
		}
		steps := []struct {
			command string
			want    ran
		}{
			{path + "cd /tmp; x=1; export Y=2; f() { echo f$x; }", ran{}},
			{"pwd; f; sh -c 'echo $Y'", ran{"/tmp\nf1\n2\n", "", 0}},
			{"echo err >&2; false", ran{"", "err\n", 1}},
			{"printf 'a\\\\nb%s\n' \"it's\n\ttwo lines\"", ran{"a\\nbit's\n\ttwo lines\n", "", 0}},
			{"(exit 7)", ran{"", "", 7}},
			{"cat; echo read", ran{"read\n", "", 0}},
			{"sleep 600 & echo $! > /dev/null; jobs | wc -l | tr -d ' '", ran{"1\n", "", 0}},
			{"syntax ( error", ran{}},
			{"echo still here", ran{"still here\n", "", 0}},
			{"kill %1; wait; echo gone", ran{"gone\n", "", 0}},
		}
		for i, step := range steps {
			if env != `{}` && onlyBash.MatchString(step.command) {
				continue
			}
			got := l.command(k, d.ID, fmt.Sprint("run", i), step.command)
			if step.command == "syntax ( error" {
				if got.code == 0 || got.stderr == "" {
					t.Errorf("%+v", got)
				}
				continue
			}
			if got != step.want {
				t.Errorf("%q in %s: %+v, want %+v", step.command, env, got, step.want)
			}
		}
	}
}

func TestShellDelimitsLargeOutputExactly(t *testing.T) {
	k := keep(t)
	d, l := k.shellOf(`{}`)
	for i := range 20 {
		got := l.command(k, d.ID, fmt.Sprint(i), fmt.Sprintf("head -c %d /dev/zero; head -c 70000 /dev/zero >&2", 300_000+i))
		if len(got.stdout) != 300_000+i || len(got.stderr) != 70_000 {
			t.Fatalf("%d: %d and %d bytes", i, len(got.stdout), len(got.stderr))
		}
	}
}

func TestShellRunsWhatWaitsInOrderAndOnce(t *testing.T) {
	k := keep(t)
	d, l := k.shellOf(`{}`)
	for _, run := range []string{"a", "b", "b", "c"} {
		k.call("POST", "/shells/run?id="+d.ID, fmt.Sprintf(`{"run":%q,"command":"sleep 0.02; echo %s"}`, run, run))
	}
	for _, run := range []string{"a", "b", "c"} {
		if got := l.result(run); got.stdout != run+"\n" {
			t.Errorf("%s: %+v", run, got)
		}
	}
}

func TestShellDoesNotRunAgainWhatIsOverAndTimesEachCommandAlone(t *testing.T) {
	k := keep(t)
	d, l := k.shellOf(`{}`)
	if out := l.command(k, d.ID, "once", "echo ran"); out.stdout != "ran\n" {
		t.Fatalf("%+v", out)
	}
	if _, status := k.call("POST", "/shells/run?id="+d.ID, `{"run":"once","command":"echo ran"}`); status != 200 {
		t.Fatal(status)
	}
	other, heard := k.shellOf(`{}`)
	heard.command(k, other.ID, "meanwhile", "sleep 0.5")
	if out := l.command(k, d.ID, "after", "echo after"); out.stdout != "after\n" {
		t.Fatalf("%+v", out)
	}
	if spent := *l.last.Duration; spent >= 500 {
		t.Fatalf("%v ms: the wait before it was counted", spent)
	}
}

func TestInterruptEndsTheCommandAndNotTheShell(t *testing.T) {
	k := keep(t)
	d, l := k.shellOf(`{}`)
	k.call("POST", "/shells/run?id="+d.ID, `{"run":"long","command":"echo up; sleep 600"}`)
	l.until("up\n")
	ended := make(chan struct{})
	go func() { // the shell may not have started its program when the first comes
		for {
			k.call("POST", "/processes/signal?id="+d.ID, `{"signal":"INT"}`)
			select {
			case <-ended:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	got := l.result("long")
	close(ended)
	if got.code != 130 {
		t.Errorf("%+v", got)
	}
	if got := l.command(k, d.ID, "after", "echo alive"); got.stdout != "alive\n" {
		t.Errorf("%+v", got)
	}
}

func TestExitEndsTheShell(t *testing.T) {
	k := keep(t)
	d, l := k.shellOf(`{}`)
	k.call("POST", "/shells/run?id="+d.ID, `{"run":"x","command":"echo bye; exit 5"}`)
	if h := l.all(); h.end == nil || h.end.ExitCode != 5 || h.stdout.String() != "bye\n" {
		t.Fatalf("%+v", h.end)
	}
	if _, status := k.call("POST", "/shells/run?id="+d.ID, `{"run":"y","command":"true"}`); status != 409 {
		t.Error(status)
	}
}
