package process

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"portico.dev/agent/internal/proto"
	"portico.dev/agent/internal/reaper"
)

var (
	graves      = reaper.New()
	environment = NewEnvironment()
	subject     = NewRunner(graves, environment, -1, 64<<20)
)

func TestMain(m *testing.M) {
	const setChildSubreaper = 36
	if _, _, number := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); number != 0 {
		panic(number)
	}
	go graves.Run()
	os.Exit(m.Run())
}

type answer struct {
	ExitCode        int     `json:"exit_code"`
	Stdout          string  `json:"stdout"`
	Stderr          string  `json:"stderr"`
	TimedOut        bool    `json:"timed_out"`
	DurationMs      float64 `json:"duration_ms"`
	Signal          *string `json:"signal"`
	StdoutTruncated bool    `json:"stdout_truncated"`
	StderrTruncated bool    `json:"stderr_truncated"`
	Error           *proto.WireError
}

var never = make(chan struct{})

// call sends a body to the handler, as a caller who stays.
func call(t *testing.T, body string) (answer, int) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler := subject.Exec(func(*http.Request) <-chan struct{} { return never })
	handler(recorder, httptest.NewRequest("POST", "/exec", strings.NewReader(body)))
	var a answer
	if err := json.Unmarshal(recorder.Body.Bytes(), &a); err != nil {
		t.Fatalf("%v in %.300q", err, recorder.Body)
	}
	if length := recorder.Header().Get("Content-Length"); length != "" && length != fmt.Sprint(recorder.Body.Len()) {
		t.Errorf("Content-Length %s of %d bytes", length, recorder.Body.Len())
	}
	if (recorder.Code == 200) != (a.Error == nil) {
		t.Errorf("status %d with error %v", recorder.Code, a.Error)
	}
	return a, recorder.Code
}

// shell runs a script that must be answered with 200.
func shell(t *testing.T, script string, more ...any) answer {
	t.Helper()
	fields := map[string]any{"shell": script}
	for i := 0; i < len(more); i += 2 {
		fields[more[i].(string)] = more[i+1]
	}
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	a, status := call(t, string(body))
	if status != 200 {
		t.Fatalf("status %d, %v", status, a.Error)
	}
	return a
}

func TestOutputAndExitCode(t *testing.T) {
	a := shell(t, "echo out; echo err >&2; exit 7")
	if a.ExitCode != 7 || a.Stdout != "out\n" || a.Stderr != "err\n" || a.TimedOut || a.Signal != nil || a.DurationMs <= 0 {
		t.Errorf("%+v", a)
	}
}

func TestArgvIsNotAShell(t *testing.T) {
	a, _ := call(t, `{"argv":["echo","$HOME","a b","*"]}`)
	if a.Stdout != "$HOME a b *\n" || a.ExitCode != 0 {
		t.Errorf("%+v", a)
	}
}

func TestEnvironmentLayers(t *testing.T) {
	if failure := environment.SetSandbox(map[string]string{"A": "sandbox", "B": "sandbox", "LANG": "de"}); failure != nil {
		t.Fatal(failure)
	}
	defer environment.SetSandbox(nil)
	a := shell(t, `echo "$A $B $C $LANG $HOME $TERM"; cd; env | wc -l`, "env", map[string]string{"B": "request", "C": "request"})
	if want := "sandbox request request de /root xterm\n"; !strings.HasPrefix(a.Stdout, want) {
		t.Errorf("%q, want %q", a.Stdout, want)
	}
	if failure := environment.SetSandbox(map[string]string{"A=": ""}); failure == nil {
		t.Error("a malformed name is taken")
	}
}

func TestRequestsPathFindsTheProgram(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "mine"), []byte("#!/bin/sh\necho found $0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	a, _ := call(t, fmt.Sprintf(`{"argv":["mine"],"env":{"PATH":"/nowhere:%s"}}`, folder))
	if a.Stdout != "found "+folder+"/mine\n" {
		t.Errorf("%+v", a)
	}
	a, _ = call(t, fmt.Sprintf(`{"argv":["./mine"],"cwd":"%s"}`, folder))
	if a.Stdout != "found ./mine\n" {
		t.Errorf("%+v", a)
	}
}

func TestProgramsThatCannotRun(t *testing.T) {
	folder := t.TempDir()
	for name, mode := range map[string]os.FileMode{"plain": 0o644, "nonsense": 0o755} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("\x01\x02"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name   string
		code   int
		stderr string
	}{
		{"nosuchprogram", 127, "exec: nosuchprogram: not found\n"},
		{"/no/such/program", 127, "exec: /no/such/program: not found\n"},
		{folder + "/plain/x", 127, "exec: " + folder + "/plain/x: not found\n"},
		{"plain", 126, "exec: plain: permission denied\n"},
		{folder + "/plain", 126, "exec: " + folder + "/plain: permission denied\n"},
		{"/tmp", 126, "exec: /tmp: permission denied\n"},
		{"nonsense", 126, "exec: nonsense: exec format error\n"},
	} {
		a, status := call(t, fmt.Sprintf(`{"argv":[%q],"env":{"PATH":%q}}`, row.name, folder))
		if status != 200 || a.ExitCode != row.code || a.Stderr != row.stderr {
			t.Errorf("%s: %+v", row.name, a)
		}
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	for body, code := range map[string]string{
		`{`:                                    proto.CodeInvalidJson,
		`[]`:                                   proto.CodeInvalidJson,
		`{}`:                                   proto.CodeInvalidRequest,
		`{"argv":[]}`:                          proto.CodeInvalidRequest,
		`{"argv":[""]}`:                        proto.CodeInvalidRequest,
		`{"argv":"ls"}`:                        proto.CodeInvalidRequest,
		`{"argv":["a\u0000b"]}`:                proto.CodeInvalidRequest,
		`{"argv":["ls"],"shell":"ls"}`:         proto.CodeInvalidRequest,
		`{"shell":"ls","env":{"A=B":"c"}}`:     proto.CodeInvalidRequest,
		`{"shell":"ls","env":{"":"c"}}`:        proto.CodeInvalidRequest,
		`{"shell":"ls","timeout_ms":0}`:        proto.CodeInvalidRequest,
		`{"shell":"ls","timeout_ms":"1"}`:      proto.CodeInvalidRequest,
		`{"shell":"ls","max_output_bytes":-1}`: proto.CodeInvalidRequest,
		`{"shell":"ls","stdin":"?"}`:           proto.CodeInvalidRequest,
		`{"shell":"ls","cwd":"tmp"}`:           proto.CodeInvalidPath,
		`{"shell":"ls","cwd":"/no/such"}`:      proto.CodeInvalidPath,
		`{"shell":"ls","cwd":"/etc/passwd"}`:   proto.CodeInvalidPath,
	} {
		a, status := call(t, body)
		if status != 400 || a.Error.Code != code || !strings.HasPrefix(a.Error.Message, "cannot ") || strings.Contains(a.Error.Message, "\n") {
			t.Errorf("%s: %d %v", body, status, a.Error)
		}
	}
}

func TestWorkingDirectory(t *testing.T) {
	if a := shell(t, "pwd"); a.Stdout != "/\n" {
		t.Errorf("%q", a.Stdout)
	}
	if a := shell(t, "pwd", "cwd", "/usr/bin"); a.Stdout != "/usr/bin\n" {
		t.Errorf("%q", a.Stdout)
	}
}

func TestStdin(t *testing.T) {
	if a := shell(t, "cat; echo over"); a.Stdout != "over\n" {
		t.Errorf("without: %q", a.Stdout)
	}
	for _, size := range []int{0, 5, 64 << 10, 3 << 20} {
		input := strings.Repeat("x", size)
		a := shell(t, "cat", "stdin", base64.StdEncoding.EncodeToString([]byte(input)))
		if a.Stdout != input {
			t.Errorf("%d bytes come back as %d", size, len(a.Stdout))
		}
	}
	if a := shell(t, "head -c 1", "stdin", base64.StdEncoding.EncodeToString(make([]byte, 1<<20))); a.ExitCode != 0 {
		t.Errorf("a command that does not read all: %+v", a)
	}
}

func TestOutputBeyondTheCapIsDroppedAndTheCommandEnds(t *testing.T) {
	a := shell(t, "head -c 30000000 /dev/zero | tr '\\0' x; echo done >&2", "max_output_bytes", 1000)
	if len(a.Stdout) != 1000 || !a.StdoutTruncated || a.StderrTruncated || a.Stderr != "done\n" || a.ExitCode != 0 {
		t.Errorf("%d bytes, %v %q", len(a.Stdout), a.StdoutTruncated, a.Stderr)
	}
	a = shell(t, "head -c 12000000 /dev/zero | tr '\\0' x")
	if len(a.Stdout) != 10<<20 || !a.StdoutTruncated {
		t.Errorf("%d bytes, %v", len(a.Stdout), a.StdoutTruncated)
	}
	if a = shell(t, "printf ab", "max_output_bytes", 2); a.Stdout != "ab" || a.StdoutTruncated {
		t.Errorf("%+v", a)
	}
	if a = shell(t, "printf a€", "max_output_bytes", 3); a.Stdout != "a" || !a.StdoutTruncated {
		t.Errorf("a character that is cut: %+v", a)
	}
	if left := subject.output.left.Load(); left != 64<<20 {
		t.Errorf("%d bytes of the allowance are left", left)
	}
}

func TestLoudCommandsShareAnAllowance(t *testing.T) {
	small := NewRunner(graves, environment, -1, 100_000)
	result, err := small.run(&command{argv: []string{"/bin/sh", "-c", "head -c 300000 /dev/zero"}, cwd: "/", timeout: time.Minute, maxOutput: maxOutput}, never)
	if err != nil || len(result.stdout) > 100_000 || !result.truncated[0] {
		t.Errorf("%d bytes, %v", len(result.stdout), err)
	}
	if left := small.output.left.Load(); left != 100_000 {
		t.Errorf("%d bytes are left", left)
	}
}

func TestOutputIsAlwaysUTF8(t *testing.T) {
	a := shell(t, `printf 'a\377b\303\251"\\\001\t'`)
	if want := "a\ufffdbé\"\\\x01\t"; a.Stdout != want || !utf8.ValidString(a.Stdout) {
		t.Errorf("%q, want %q", a.Stdout, want)
	}
}

func TestSignal(t *testing.T) {
	a := shell(t, "kill -SEGV $$; sleep 100")
	if a.ExitCode != 139 || a.Signal == nil || *a.Signal != "SIGSEGV" {
		t.Errorf("%+v", a)
	}
}

func TestTimeoutEndsTheWholeGroupAndKeepsTheOutput(t *testing.T) {
	mark := fmt.Sprintf("4%d", time.Now().UnixNano()%1_000_000)
	a := shell(t, "echo before; sleep "+mark+" & sleep "+mark, "timeout_ms", 150)
	if a.ExitCode != 124 || !a.TimedOut || a.Stdout != "before\n" || a.DurationMs < 150 || a.DurationMs > 5000 {
		t.Errorf("%+v", a)
	}
	waitUntilNobodyRuns(t, "sleep\x00"+mark)
	if a := shell(t, "sleep "+mark, "timeout_ms", 1); a.ExitCode != 124 || !a.TimedOut {
		t.Errorf("%+v", a)
	}
}

func TestTimeoutAnswersThoughAnEscapedProcessHoldsThePipes(t *testing.T) {
	begun := time.Now()
	a := shell(t, "setsid sh -c 'while :; do echo x; sleep 0.005; done' & echo $!; sleep 100", "timeout_ms", 100)
	if a.ExitCode != 124 || time.Since(begun) > 3*time.Second {
		t.Errorf("%d after %v", a.ExitCode, time.Since(begun))
	}
	killEscaped(t, a.Stdout)
}

func TestBackgroundProcessStaysAndDoesNotHoldTheAnswer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "alive")
	begun := time.Now()
	script := fmt.Sprintf("(sleep 0.3; seq 100000; echo y > %s) & echo started", file)
	a := shell(t, script)
	if a.Stdout != "started\n" || a.ExitCode != 0 || time.Since(begun) > 250*time.Millisecond {
		t.Errorf("%+v after %v", a, time.Since(begun))
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		if text, _ := os.ReadFile(file); string(text) == "y\n" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("it did not live on, or its output held it up")
		}
		shell(t, "sleep 0.05")
	}
}

func TestCallerWhoLeavesEndsTheGroup(t *testing.T) {
	mark := fmt.Sprintf("5%d", time.Now().UnixNano()%1_000_000)
	for _, delay := range []time.Duration{0, 100 * time.Millisecond} {
		gone := make(chan struct{})
		time.AfterFunc(delay, func() { close(gone) })
		c := &command{argv: []string{"/bin/sh", "-c", "sleep " + mark + " & sleep " + mark}, cwd: "/", timeout: time.Minute, maxOutput: 100}
		if _, err := subject.run(c, gone); !errors.Is(err, errCallerGone) {
			t.Errorf("%v", err)
		}
		waitUntilNobodyRuns(t, "sleep\x00"+mark)
	}
}

func TestManyShortCommandsAtOnce(t *testing.T) {
	answers := make(chan string)
	for i := range 200 {
		go func() {
			result, err := subject.run(&command{argv: []string{"echo", fmt.Sprint(i)}, cwd: "/", timeout: time.Minute, maxOutput: 100}, never)
			if err != nil || string(result.stdout) != fmt.Sprintln(i) {
				answers <- fmt.Sprintf("%d: %+v, %v", i, result, err)
				return
			}
			answers <- ""
		}()
	}
	for range 200 {
		if wrong := <-answers; wrong != "" {
			t.Error(wrong)
		}
	}
}

func TestCommandsLeaveNoDescriptorBehind(t *testing.T) {
	shell(t, "echo warm")
	before := openDescriptors(t)
	for range 30 {
		shell(t, "echo x")
		shell(t, "sleep 0.01; cat", "stdin", "eA==")
		call(t, `{"argv":["nosuchprogram"],"stdin":"eA=="}`)
		call(t, `{"shell":"x","cwd":"/no/such","stdin":"eA=="}`)
	}
	if after := openDescriptors(t); after > before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func runsAnywhere(commandLine string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if text, _ := os.ReadFile(file); strings.HasPrefix(string(text), commandLine+"\x00") {
			return true
		}
	}
	return false
}

func waitUntilNobodyRuns(t *testing.T, commandLine string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); runsAnywhere(commandLine); {
		if time.Now().After(deadline) {
			t.Fatalf("%q still runs", commandLine)
		}
	}
}

// killEscaped ends the process group whose leader's number the command printed first.
func killEscaped(t *testing.T, output string) {
	t.Helper()
	var leader int
	if _, err := fmt.Sscan(output, &leader); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); syscall.Kill(-leader, syscall.SIGKILL) == syscall.ESRCH; {
		if time.Now().After(deadline) {
			return
		}
	}
}

func TestWhatIsInThePipeIsReadHoweverLateThePumpIs(t *testing.T) {
	var room allowance
	room.left.Store(1 << 30)
	for range 200 {
		c, theirs, err := newCapture(1<<20, &room)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := syscall.Write(theirs, make([]byte, 60_000)); n != 60_000 || err != nil {
			t.Fatal(n, err)
		}
		c.pump()
		c.catchUp(never) // somebody still has the pipe, so its end tells nothing
		if output, truncated := c.result(); len(output) != 60_000 || truncated {
			t.Fatalf("%d bytes", len(output))
		}
		_ = syscall.Close(theirs)
		<-c.ended
	}
}
