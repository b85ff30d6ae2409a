package process

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"portico.dev/agent/internal/proto"
)

// keeper serves the routes of a table over a real server, whose callers can leave.
type keeper struct {
	*testing.T
	url string
}

func keep(t *testing.T) *keeper {
	t.Helper()
	table := NewTable(subject, func(r *http.Request) <-chan struct{} { return r.Context().Done() })
	routes := table.Routes()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		routes[r.URL.Path][r.Method](w, r)
	}))
	t.Cleanup(func() {
		for _, k := range table.kept {
			k.kill()
			k.log.release()
		}
		server.CloseClientConnections()
		server.Close()
	})
	return &keeper{t, server.URL}
}

func (k *keeper) call(method, path, body string) (described, int) {
	k.Helper()
	request, _ := http.NewRequest(method, k.url+path, strings.NewReader(body))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		k.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var d described
	_ = json.NewDecoder(response.Body).Decode(&d)
	return d, response.StatusCode
}

func (k *keeper) start(fields map[string]any) described {
	k.Helper()
	body, _ := json.Marshal(fields)
	d, status := k.call("POST", "/processes", string(body))
	if status != 200 {
		k.Fatalf("status %d", status)
	}
	return d
}

func (k *keeper) wait(id string) described {
	k.Helper()
	for range 10 {
		if d, _ := k.call("GET", "/processes/wait?id="+id, ""); d.State == "exited" {
			return d
		}
	}
	k.Fatal("it does not end")
	return described{}
}

// heard is what a follower has read.
type heard struct {
	stdout, stderr bytes.Buffer
	lost           int64
	next           int64
	end            *ended
	marks          []mark
}

// listener reads records.
type listener struct {
	*testing.T
	body io.ReadCloser
	heard
	last mark // of the shell's last run
}

func (k *keeper) listen(method, path string, body io.Reader) *listener {
	k.Helper()
	request, _ := http.NewRequest(method, k.url+path, body)
	response, err := http.DefaultClient.Do(request)
	if err != nil || response.StatusCode != 200 {
		k.Fatal(err, response)
	}
	k.Cleanup(func() { _ = response.Body.Close() })
	return &listener{T: k.T, body: response.Body}
}

// read takes the next record; false at the end of the stream.
func (l *listener) read() bool {
	l.Helper()
	head := make([]byte, outputHead)
	if _, err := io.ReadFull(l.body, head); err != nil {
		return false
	}
	payload := make([]byte, binary.BigEndian.Uint32(head[9:]))
	if _, err := io.ReadFull(l.body, payload); err != nil {
		l.Fatal(err)
	}
	at := int64(binary.BigEndian.Uint64(head[1:]))
	switch head[0] {
	case byte(toStdout), byte(toStderr):
		if l.next != 0 && at != l.next {
			l.Fatalf("output at %d, want %d", at, l.next)
		}
		l.next = at + int64(len(payload))
		if head[0] == byte(toStdout) {
			l.stdout.Write(payload)
		} else {
			l.stderr.Write(payload)
		}
	case byte(toMark):
		var m mark
		if err := json.Unmarshal(payload, &m); err != nil {
			l.Fatal(err, string(payload))
		}
		l.next = at + int64(len(payload))
		l.marks = append(l.marks, m)
	case recordGap:
		l.lost += int64(binary.BigEndian.Uint64(payload))
		l.next = at
	case recordEnd:
		l.end = &ended{}
		if err := json.Unmarshal(payload, l.end); err != nil {
			l.Fatal(err)
		}
	}
	return true
}

func (l *listener) takeMarks() []mark {
	taken := l.marks
	l.marks = nil
	return taken
}

func (l *listener) all() heard {
	l.Helper()
	for l.read() {
	}
	return l.heard
}

func (l *listener) until(text string) {
	l.Helper()
	for !strings.Contains(l.stdout.String(), text) {
		if !l.read() {
			l.Fatalf("%q does not come: %q", text, l.stdout.String())
		}
	}
}

func TestFollowingTellsBothOutputsAndTheEnd(t *testing.T) {
	k := keep(t)
	h := k.listen("POST", "/processes", strings.NewReader(`{"shell":"echo out; echo err >&2; exit 3","follow":true}`)).all()
	if h.stdout.String() != "out\n" || h.stderr.String() != "err\n" || h.end == nil || h.end.ExitCode != 3 {
		t.Fatalf("%+v", h)
	}
}

func TestFirstByteComesWhenItIsWritten(t *testing.T) {
	k := keep(t)
	l := k.listen("POST", "/processes", strings.NewReader(`{"shell":"echo now; read line; echo $line","follow":true,"detach":true,"stdin_open":true}`))
	l.until("now\n")
	d := k.only()
	if _, status := k.call("POST", "/processes/stdin?close=1&id="+d.ID, "later\n"); status != 200 {
		t.Fatal(status)
	}
	if h := l.all(); h.stdout.String() != "now\nlater\n" || h.end.ExitCode != 0 {
		t.Fatalf("%+v", h)
	}
}

func (k *keeper) only() described {
	k.Helper()
	response, err := http.Get(k.url + "/processes")
	if err != nil {
		k.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct{ Processes []described }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || len(answer.Processes) != 1 {
		k.Fatal(err, answer)
	}
	return answer.Processes[0]
}

func TestReaderComesBackAtItsOffset(t *testing.T) {
	k := keep(t)
	d := k.start(map[string]any{"shell": "seq 1 20000; read line; seq 1 20000", "stdin_open": true})
	first := k.listen("GET", "/processes/output?from=0&id="+d.ID, nil)
	for first.next < 50_000 && first.read() {
	}
	_ = first.body.Close()
	k.call("POST", "/processes/stdin?close=1&id="+d.ID, "go\n")
	rest := k.listen("GET", fmt.Sprintf("/processes/output?from=%d&id=%s", first.next, d.ID), nil).all()
	var want strings.Builder
	for range 2 {
		for i := range 20000 {
			fmt.Fprintln(&want, i+1)
		}
	}
	if got := first.stdout.String() + rest.stdout.String(); got != want.String() || rest.lost != 0 {
		t.Fatalf("%d bytes, want %d; lost %d", len(got), want.Len(), rest.lost)
	}
}

func TestWhatTheBufferLostIsTold(t *testing.T) {
	k := keep(t)
	d := k.start(map[string]any{"shell": "head -c 3000000 /dev/zero", "buffer_bytes": 65536})
	d = k.wait(d.ID)
	h := k.listen("GET", "/processes/output?from=0&id="+d.ID, nil).all()
	if h.lost+int64(h.stdout.Len()) != 3_000_000 || h.lost == 0 || h.stdout.Len() > 65536 || d.OutputStart != h.lost || d.OutputEnd != 3_000_000 {
		t.Fatalf("lost %d, got %d, %+v", h.lost, h.stdout.Len(), d)
	}
}

func TestSlowReaderThatHoldsLosesNothing(t *testing.T) {
	k := keep(t)
	const script = "exec 3>&1; head -c 20000000 /dev/urandom | tee /dev/fd/3 | sha256sum >&2"
	body, _ := json.Marshal(map[string]any{"shell": script, "follow": true, "buffer_bytes": 65536})
	l := k.listen("POST", "/processes", bytes.NewReader(body))
	time.Sleep(50 * time.Millisecond) // the buffer is full long before; a reader that held nothing would lose nearly all
	h := l.all()
	sum := fmt.Sprintf("%x", sha256.Sum256(h.stdout.Bytes()))
	if h.lost != 0 || h.stdout.Len() != 20_000_000 || !strings.HasPrefix(h.stderr.String(), sum) {
		t.Fatalf("lost %d, got %d bytes, %s, %s", h.lost, h.stdout.Len(), sum, h.stderr.String())
	}
}

func TestProcessWithoutReaderIsNeverHeldUp(t *testing.T) {
	k := keep(t)
	d := k.start(map[string]any{"shell": "head -c 5000000 /dev/zero; echo done >&2", "buffer_bytes": 65536})
	if d = k.wait(d.ID); d.Ending.ExitCode != 0 || d.OutputEnd != 5_000_005 {
		t.Fatalf("%+v", d)
	}
}

func TestCallerWhoLeavesEndsItUnlessItIsDetached(t *testing.T) {
	k := keep(t)
	for _, detach := range []bool{false, true} {
		l := k.listen("POST", "/processes", strings.NewReader(fmt.Sprintf(`{"shell":"echo up; exec sleep 600","follow":true,"detach":%v}`, detach)))
		l.until("up\n")
		d := k.only()
		_ = l.body.Close()
		if detach {
			if d, _ = k.call("GET", "/processes/wait?timeout_ms=50&id="+d.ID, ""); d.State != "running" {
				t.Fatalf("%+v", d)
			}
			k.call("DELETE", "/processes?id="+d.ID, "")
			continue
		}
		// Waited for until it has ended, it is forgotten at once or after that.
		for status := 200; status != 404; {
			_, status = k.call("GET", "/processes/wait?id="+d.ID, "")
		}
	}
}

func TestInputThatIsSentAgainIsTakenOnce(t *testing.T) {
	k := keep(t)
	d := k.start(map[string]any{"shell": "cat", "stdin_open": true})
	k.call("POST", "/processes/stdin?at=0&id="+d.ID, "hello ")
	d, _ = k.call("POST", "/processes/stdin?at=0&id="+d.ID, "hello world")
	if d.StdinEnd != 11 {
		t.Fatalf("%+v", d)
	}
	if _, status := k.call("POST", "/processes/stdin?at=20&id="+d.ID, "gap"); status != proto.Status[proto.CodeConflict] {
		t.Fatal(status)
	}
	k.call("POST", "/processes/stdin?at=11&close=1&id="+d.ID, "!")
	k.wait(d.ID)
	if h := k.listen("GET", "/processes/output?id="+d.ID, nil).all(); h.stdout.String() != "hello world!" {
		t.Fatalf("%q", h.stdout.String())
	}
	if _, status := k.call("POST", "/processes/stdin?id="+d.ID, "late"); status != proto.Status[proto.CodeConflict] {
		t.Fatal(status)
	}
}

func TestInputThatBreaksOffDoesNotEnd(t *testing.T) {
	k := keep(t)
	d := k.start(map[string]any{"shell": "cat", "stdin_open": true})
	body := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(errors.New("the caller is gone")))
	request, _ := http.NewRequest("POST", k.url+"/processes/stdin?at=0&close=1&id="+d.ID, body)
	if response, err := http.DefaultClient.Do(request); err == nil {
		_ = response.Body.Close()
	}
	d, status := k.call("POST", "/processes/stdin?at=0&close=1&id="+d.ID, "half, and the rest")
	if status != 200 || d.StdinEnd != 18 {
		t.Fatal(status, d)
	}
	k.wait(d.ID)
	if h := k.listen("GET", "/processes/output?id="+d.ID, nil).all(); h.stdout.String() != "half, and the rest" {
		t.Fatalf("%q", h.stdout.String())
	}
}

func TestTerminalEchoesResizesAndTakesSignals(t *testing.T) {
	k := keep(t)
	d := k.start(map[string]any{"shell": "trap 'echo got-int' INT; trap 'stty size' WINCH; stty size; echo ready; while :; do read line && echo \"<$line>\"; done",
		"tty": map[string]int{"cols": 90, "rows": 30}})
	input, feed := io.Pipe()
	l := k.listen("POST", "/processes/attach?id="+d.ID, input)
	l.until("30 90")
	l.until("ready")
	send := func(kind byte, payload string) {
		_, _ = feed.Write(append([]byte{kind, 0, 0, 0, byte(len(payload))}, payload...))
	}
	send(inputData, "typed\r")
	l.until("<typed>")
	if strings.Count(l.stdout.String(), "typed") != 2 {
		t.Errorf("no echo: %q", l.stdout.String())
	}
	send(inputSize, `{"cols":100,"rows":40}`)
	l.until("40 100")
	send(inputData, "\x03")
	l.until("got-int")
	send(inputSignal, "KILL")
	if h := l.all(); h.end == nil || h.end.Signal != "SIGKILL" {
		t.Fatalf("%+v", h.end)
	}
	_ = feed.Close()
}

func TestTimeoutAndSignalsAreTold(t *testing.T) {
	k := keep(t)
	d := k.start(map[string]any{"shell": "sleep 600", "timeout_ms": 30})
	if d = k.wait(d.ID); d.Ending.ExitCode != exitTimedOut || !d.Ending.TimedOut || d.Ending.Signal != "" {
		t.Fatalf("%+v", d.Ending)
	}
	d = k.start(map[string]any{"argv": []string{"sleep", "600"}})
	if _, status := k.call("POST", "/processes/signal?id="+d.ID, `{"signal":"term"}`); status != 200 {
		t.Fatal(status)
	}
	if d = k.wait(d.ID); d.Ending.ExitCode != 143 || d.Ending.Signal != "SIGTERM" {
		t.Fatalf("%+v", d.Ending)
	}
	if _, status := k.call("POST", "/processes/signal?id="+d.ID, `{"signal":"nonsense"}`); status != 400 {
		t.Fatal(status)
	}
}

func TestProgramThatCannotRunIsAnEnd(t *testing.T) {
	k := keep(t)
	d := k.start(map[string]any{"argv": []string{"no-such-program"}})
	d = k.wait(d.ID)
	h := k.listen("GET", "/processes/output?id="+d.ID, nil).all()
	if d.Ending.ExitCode != 127 || h.stderr.String() != "exec: no-such-program: not found\n" {
		t.Fatalf("%+v %q", d.Ending, h.stderr.String())
	}
}

func TestDescendantsInTheBackgroundDoNotHoldTheEndBack(t *testing.T) {
	k := keep(t)
	begun := time.Now()
	d := k.start(map[string]any{"shell": "sleep 600 & echo up"})
	d = k.wait(d.ID)
	if d.Ending.ExitCode != 0 || time.Since(begun) > 10*time.Second {
		t.Fatalf("%+v after %s", d, time.Since(begun))
	}
}

func TestRunsAsWhomIsAsked(t *testing.T) {
	for _, c := range [][2]string{{"nobody", "65534"}, {"1234:55", "1234"}} {
		a := shell(t, "id -u; echo $HOME", "user", c[0])
		if !strings.HasPrefix(a.Stdout, c[1]+"\n") {
			t.Errorf("%s: %+v", c[0], a)
		}
	}
	if _, status := call(t, `{"shell":"id","user":"no such user"}`); status != 400 {
		t.Error(status)
	}
}

func TestUnknownProcessIsNotFound(t *testing.T) {
	k := keep(t)
	for _, path := range []string{"status", "wait", "output"} {
		if _, status := k.call("GET", "/processes/"+path+"?id=proc0", ""); status != 404 {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestOutputIsWholeHoweverLateItIsRead(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = write.Close() }() // a descendant that holds it open
	log := newOutputLog(1<<20, &subject.output)
	defer log.release()
	p := newPump(read, toStdout)
	k := &kept{log: log, pumps: []*pump{p}}
	printed := bytes.Repeat([]byte("0123456789abcdef"), 3000)
	if _, err := write.Write(printed); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	go func() { drain(k.pumps); close(drained) }()
	select {
	case <-drained:
		t.Fatal("what stood in the pipe was given up")
	case <-time.After(3 * patience): // the machine had no time for the pump
	}
	go p.run(log)
	<-drained
	if _, end := log.span(); end != int64(len(printed)) {
		t.Fatalf("%d of %d bytes", end, len(printed))
	}
}

func TestWhoPrintsOnInTheBackgroundDoesNotHoldTheEndBack(t *testing.T) {
	k := keep(t)
	d := k.start(map[string]any{"shell": "while :; do echo noise; done & echo $! >&2", "buffer_bytes": 16 << 20})
	k.wait(d.ID)
	h := k.listen("GET", "/processes/output?id="+d.ID, nil).all()
	pid, err := strconv.Atoi(strings.TrimSpace(h.stderr.String()))
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}
