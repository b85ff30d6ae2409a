package main

// The whole agent as an ordinary process, spoken to as the runner does: one socket, one session, HTTP on its streams.

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico.dev/agent/internal/proto"
)

const testLimit = 30 * time.Second

// TestMain turns this binary into the agent itself where a test starts it so.
func TestMain(m *testing.M) {
	if os.Getenv("PORTICO_TEST_AGENT") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// started is an agent that runs as a child of the test.
type started struct {
	t       *testing.T
	socket  string
	process *os.Process
	ended   chan *os.ProcessState
}

func start(t *testing.T) *started {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent.sock")
	process, err := os.StartProcess("/proc/self/exe", []string{"agent", "-serve", "unix:" + socket}, &os.ProcAttr{
		Env: append(os.Environ(), "PORTICO_TEST_AGENT=1"), Files: []*os.File{nil, os.Stdout, os.Stderr},
	})
	if err != nil {
		t.Fatal(err)
	}
	a := &started{t, socket, process, make(chan *os.ProcessState, 1)}
	go func() {
		state, _ := process.Wait()
		a.ended <- state
	}()
	t.Cleanup(func() { _ = process.Kill() })
	return a
}

func (a *started) exit() *os.ProcessState {
	a.t.Helper()
	select {
	case state := <-a.ended:
		return state
	case <-time.After(testLimit):
		a.t.Fatal("the agent does not end")
		return nil
	}
}

// session is the runner's end of one connection. Streams are used one after the other.
type session struct {
	t      *testing.T
	conn   net.Conn
	in     *bufio.Reader
	lastID uint32
	credit int
	token  string
}

func (a *started) dial() *session {
	a.t.Helper()
	var conn net.Conn
	for deadline := time.Now().Add(testLimit); conn == nil; {
		var err error
		if conn, err = net.Dial("unix", a.socket); err != nil && time.Now().After(deadline) {
			a.t.Fatal(err)
		}
	}
	s := &session{t: a.t, conn: conn, in: bufio.NewReaderSize(conn, 1<<17)}
	a.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testLimit))
	preamble := make([]byte, 16)
	if _, err := io.ReadFull(s.in, preamble); err != nil || string(preamble[:8]) != proto.PreambleMark {
		a.t.Fatalf("%x, %v", preamble, err)
	}
	hello := proto.AppendFrame(preamble[8:16:16], proto.TypeHello, 0, []byte(`{"generation":1,"role":"runner","window":4194304}`))
	s.send(hello)
	if frame := s.next(); frame.Type != proto.TypeHello {
		a.t.Fatalf("a frame of type %d", frame.Type)
	}
	return s
}

func (s *session) send(b []byte) {
	s.t.Helper()
	if _, err := s.conn.Write(b); err != nil {
		s.t.Fatal(err)
	}
}

func (s *session) next() proto.Frame {
	s.t.Helper()
	header, err := s.in.Peek(proto.HeaderLength)
	if err != nil {
		s.t.Fatal(err)
	}
	whole := make([]byte, proto.HeaderLength+int(header[1])<<16+int(header[2])<<8+int(header[3]))
	if _, err := io.ReadFull(s.in, whole); err != nil {
		s.t.Fatal(err)
	}
	frame, _, err := proto.ReadFrame(whole)
	if err != nil {
		s.t.Fatal(err)
	}
	return frame
}

// open begins a request and sends its body as credit allows; end says END at once.
func (s *session) open(method, path string, body []byte, end bool) uint32 {
	s.t.Helper()
	s.lastID += 2
	id := s.lastID - 1
	head := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: guest\r\nConnection: close\r\nPortico-Token: %s\r\nContent-Length: %d\r\n\r\n", method, path, s.token, len(body))
	s.send(proto.AppendFrame(proto.AppendFrame(nil, proto.TypeOpen, id, nil), proto.TypeData, id, head))
	s.credit = proto.DefaultWindow - len(head)
	for len(body) > 0 {
		for s.credit == 0 {
			if frame := s.next(); frame.Type == proto.TypeCredit {
				s.credit += int(frame.Credit())
			}
		}
		n := min(len(body), s.credit, proto.MaxData)
		s.send(proto.AppendFrame(nil, proto.TypeData, id, body[:n]))
		s.credit -= n
		body = body[n:]
	}
	if end {
		s.send(proto.AppendFrame(nil, proto.TypeEnd, id, nil))
	}
	return id
}

// answer reads a stream's answer to its end.
func (s *session) answer(id uint32) (int, []byte) {
	s.t.Helper()
	var raw []byte
	for {
		frame := s.next()
		switch {
		case frame.Stream != id:
		case frame.Type == proto.TypeData:
			raw = append(raw, frame.Payload...)
			s.send(proto.AppendCredit(nil, id, len(frame.Payload)))
		case frame.Type == proto.TypeReset:
			s.t.Fatalf("reset: %s", frame.Payload)
		case frame.Type == proto.TypeEnd:
			response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
			if err != nil {
				s.t.Fatalf("%v in %.300q", err, raw)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil {
				s.t.Fatal(err)
			}
			return response.StatusCode, body
		}
	}
}

func (s *session) call(method, path, body string) (int, string) {
	s.t.Helper()
	status, answer := s.answer(s.open(method, path, []byte(body), true))
	return status, string(answer)
}

func (s *session) shell(script string) string {
	s.t.Helper()
	body, _ := json.Marshal(map[string]string{"shell": script})
	status, text := s.call("POST", "/exec", string(body))
	var answer struct{ Stdout string }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 {
		s.t.Fatalf("%d %s", status, text)
	}
	return answer.Stdout
}

func TestRoutes(t *testing.T) {
	s := start(t).dial()
	status, text := s.call("GET", "/health", "")
	var health struct {
		Generation int
		Version    string
		UptimeMs   float64 `json:"uptime_ms"`
		BootMs     float64 `json:"boot_ms"`
	}
	if err := json.Unmarshal([]byte(text), &health); err != nil || status != 200 || health.Generation != proto.Generation || health.Version == "" || health.UptimeMs < health.BootMs {
		t.Errorf("%d %s", status, text)
	}
	for _, row := range []struct {
		method, path, code string
		status             int
	}{
		{"GET", "/nothing", proto.CodeNotFound, 404}, {"GET", "/", proto.CodeNotFound, 404},
		{"GET", "/exec", proto.CodeMethodNotAllowed, 405}, {"POST", "/files", proto.CodeMethodNotAllowed, 405},
		{"POST", "/exec", proto.CodeInvalidJson, 400}, {"PUT", "/files?path=../x", proto.CodeInvalidPath, 400},
		{"GET", "/files?path=%2&x", proto.CodeInvalidRequest, 400},
	} {
		status, text := s.call(row.method, row.path, "")
		var answer struct{ Error proto.WireError }
		if err := json.Unmarshal([]byte(text), &answer); err != nil || status != row.status || answer.Error.Code != row.code {
			t.Errorf("%s %s: %d %s", row.method, row.path, status, text)
		}
	}
}

func TestIdentityReachesProcesses(t *testing.T) {
	a := start(t)
	s := a.dial()
	token := strings.Repeat("A", 43) + "="
	body := `{"token":"` + token + `","sandbox_id":"x","hostname":"box","clock_unix_ms":1.9e12,"entropy":"` + strings.Repeat("AAAA", 16) + `","env":{"SECRET":"of mine"}}`
	if status, text := s.call("POST", "/identity", body); status != 200 || !strings.Contains(text, `"hostname":"box"`) {
		t.Fatalf("%d %s", status, text)
	}
	for _, wrong := range []string{"", strings.Repeat("B", 43) + "="} {
		s.token = wrong
		for route, want := range map[string]int{"/files/list?path=/": 401, "/health": 200} {
			if status, text := s.call("GET", route, ""); status != want {
				t.Errorf("%s with the token %q: %d %s", route, wrong, status, text)
			}
		}
	}
	s = a.dial()
	s.token = token
	if got := s.shell("echo $SECRET"); got != "of mine\n" {
		t.Errorf("%q", got)
	}
}

func TestFilesGoInAndOut(t *testing.T) {
	s := start(t).dial()
	path := url.QueryEscape(filepath.Join(t.TempDir(), "a b/ü"))
	content := bytes.Repeat([]byte("0123456789abcdef"), 5<<16)
	if status, text := s.answer(s.open("PUT", "/files?path="+path, content, true)); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	if status, got := s.answer(s.open("GET", "/files?path="+path, nil, true)); status != 200 || !bytes.Equal(got, content) {
		t.Errorf("%d, %d bytes", status, len(got))
	}
}

func TestUploadThatIsResetLeavesNothing(t *testing.T) {
	s := start(t).dial()
	folder := t.TempDir()
	s.lastID += 2
	id := s.lastID - 1
	head := fmt.Appendf(nil, "PUT /files?path=%s/new/file HTTP/1.1\r\nHost: g\r\nContent-Length: 1000\r\n\r\nabc", folder)
	s.send(proto.AppendFrame(proto.AppendFrame(nil, proto.TypeOpen, id, nil), proto.TypeData, id, head))
	for deadline := time.Now().Add(testLimit); ; {
		if entries, _ := os.ReadDir(folder + "/new"); len(entries) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the upload does not begin")
		}
	}
	s.send(proto.AppendError(nil, proto.TypeReset, id, proto.WireError{Code: proto.CodeCancelled, Message: "cannot go on"}))
	for deadline := time.Now().Add(testLimit); ; {
		entries, err := os.ReadDir(folder + "/new")
		if err == nil && len(entries) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left: %v, %v", entries, err)
		}
	}
}

func TestEndOfTheRequestIsNotTheCallersLeaving(t *testing.T) {
	s := start(t).dial()
	if got := s.shell("sleep 0.3; echo still answered"); got != "still answered\n" {
		t.Errorf("%q", got)
	}
}

func TestCallerWhoLeavesEndsTheCommandAndALostSessionDoesNot(t *testing.T) {
	a := start(t)
	for name, leave := range map[string]func(s *session, id uint32){
		"disconnect": func(s *session, _ uint32) { _ = s.conn.Close() },
		"reset": func(s *session, id uint32) {
			s.send(proto.AppendError(nil, proto.TypeReset, id, proto.WireError{Code: proto.CodeCancelled, Message: "cannot go on"}))
		},
	} {
		s := a.dial()
		file := filepath.Join(t.TempDir(), "pid")
		id := s.open("POST", "/exec", fmt.Appendf(nil, `{"shell":"sleep 1000 & echo $! > %s.new; mv %s.new %s; wait"}`, file, file, file), true)
		var pid int
		for deadline := time.Now().Add(testLimit); pid == 0; {
			text, _ := os.ReadFile(file)
			_, _ = fmt.Sscan(string(text), &pid)
			if time.Now().After(deadline) {
				t.Fatalf("%s: the command does not begin", name)
			}
		}
		leave(s, id)
		if name == "disconnect" {
			a.dial().shell("true")
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Errorf("%s: it is gone", name)
			}
		}
		for deadline := time.Now().Add(testLimit); syscall.Kill(pid, 0) == nil; {
			if time.Now().After(deadline) {
				t.Fatalf("%s: it goes on", name)
			}
		}
	}
}

func TestChannelOpenedAgainManyTimes(t *testing.T) {
	a := start(t)
	pid := strings.TrimSpace(a.dial().shell("sleep 1000 > /dev/null 2>&1 & echo $!"))
	for range 50 {
		s := a.dial()
		if got := s.shell("echo hi"); got != "hi\n" {
			t.Fatalf("%q", got)
		}
		_ = s.conn.Close()
	}
	if got := a.dial().shell("kill " + pid + " && echo was there"); got != "was there\n" {
		t.Errorf("what ran did not outlive the sessions: %q", got)
	}
}

func TestPoweroffAnswersAndEndsEverything(t *testing.T) {
	a := start(t)
	s := a.dial()
	var stubborn int
	if _, err := fmt.Sscan(s.shell("sh -c 'trap : TERM; while :; do sleep 0.05; done' > /dev/null 2>&1 & echo $!"), &stubborn); err != nil {
		t.Fatal(err)
	}
	if status, text := s.call("POST", "/poweroff", `{"budget_ms":100}`); status != 200 || text != "{}" {
		t.Errorf("%d %s", status, text)
	}
	if state := a.exit(); !state.Success() {
		t.Errorf("%v", state)
	}
	if syscall.Kill(stubborn, 0) == nil {
		t.Error("a process goes on")
	}
}

func TestSignalEndsIt(t *testing.T) {
	a := start(t)
	a.dial()
	_ = a.process.Signal(syscall.SIGTERM)
	if state := a.exit(); !state.Success() {
		t.Errorf("%v", state)
	}
}

func TestMonitorThreadIsTheFirstThatWasStarted(t *testing.T) {
	folder := t.TempDir()
	for _, thread := range []int{os.Getpid(), os.Getpid() + 30, os.Getpid() + 4, os.Getpid() + 5} {
		if err := os.Mkdir(fmt.Sprintf("%s/%d", folder, thread), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got := monitorThread(folder); got != os.Getpid()+4 {
		t.Errorf("%d", got-os.Getpid())
	}
	if got := monitorThread(t.TempDir()); got != 0 {
		t.Errorf("%d", got)
	}
}
