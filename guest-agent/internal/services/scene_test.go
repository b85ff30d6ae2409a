package services

// What the tests of this package have in common: a supervisor behind a server, and the calls to it.

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico.dev/agent/internal/container"
	"portico.dev/agent/internal/process"
	"portico.dev/agent/internal/proto"
	"portico.dev/agent/internal/reaper"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

var runner *process.Runner

func TestMain(m *testing.M) {
	const setChildSubreaper = 36
	if _, _, number := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); number != 0 {
		panic(number)
	}
	graves := reaper.New()
	go graves.Run()
	runner = process.NewRunner(graves, process.NewEnvironment(), -1, 64<<20)
	os.Exit(m.Run())
}

// scene is a supervisor behind a real server, whose callers can leave.
type scene struct {
	*testing.T
	url        string
	supervisor *Supervisor
	folder     string
}

func play(t *testing.T) *scene {
	t.Helper()
	supervisor := New(runner, &container.Store{}, -1)
	routes := supervisor.Routes(func(r *http.Request) <-chan struct{} { return r.Context().Done() })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { routes[r.URL.Path][r.Method](w, r) }))
	s := &scene{t, server.URL, supervisor, t.TempDir()}
	t.Cleanup(func() {
		for _, one := range s.list() {
			s.call("DELETE", "/services/one?name="+one.Name, nil)
		}
		server.CloseClientConnections()
		server.Close()
	})
	return s
}

// call sends a value and reads the answer into a record or an error.
func (s *scene) call(method, path string, body any) (told record, failure proto.WireError) {
	s.Helper()
	answer := struct {
		record
		Error proto.WireError `json:"error"`
	}{}
	s.fetch(method, path, body, &answer)
	return answer.record, answer.Error
}

func (s *scene) fetch(method, path string, body, into any) {
	s.Helper()
	text, _ := json.Marshal(body)
	request, _ := http.NewRequest(method, s.url+path, bytes.NewReader(text))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) list() (all []record) {
	s.fetch("GET", "/services", nil, &all)
	return all
}

type fields map[string]any

// define upserts a service that runs a script.
func (s *scene) define(name, script string, more fields) {
	s.Helper()
	body := fields{"cmd": "sh", "args": []string{"-c", script}, "stop_timeout_secs": 5}
	for key, value := range more {
		body[key] = value
	}
	if _, failure := s.call("PUT", "/services/one?name="+name, body); failure.Code != "" {
		s.Fatalf("%s: %s", name, failure.Message)
	}
}

func (s *scene) start(name string) record {
	s.Helper()
	told, failure := s.call("POST", "/services/start?name="+name, nil)
	if failure.Code != "" {
		s.Fatalf("%s: %s", failure.Code, failure.Message)
	}
	return told
}

// refused starts what must not become ready, and gives back why.
func (s *scene) refused(name string) string {
	s.Helper()
	_, failure := s.call("POST", "/services/start?name="+name, nil)
	if failure.Code != proto.CodeServiceFailed {
		s.Fatalf("code %q: %s", failure.Code, failure.Message)
	}
	return failure.Message
}

func (s *scene) get(name string) record {
	s.Helper()
	told, failure := s.call("GET", "/services/one?name="+name, nil)
	if failure.Code != "" {
		s.Fatal(failure.Message)
	}
	return told
}

// await waits until a service is as it should be; the supervisor tells each change.
func (s *scene) await(name string, is func(*service) bool) {
	s.Helper()
	late := time.AfterFunc(patience, func() { s.supervisor.change(func() { panic("the service does not come to be as it should: " + name) }) })
	defer late.Stop()
	s.supervisor.lock.Lock()
	defer s.supervisor.lock.Unlock()
	for !is(s.supervisor.services[name]) {
		s.supervisor.moved.Wait()
	}
}

func (s *scene) file(name string) string { return filepath.Join(s.folder, name) }

// lines of a file that services write.
func (s *scene) lines(name string) []string {
	text, _ := os.ReadFile(s.file(name))
	return strings.Fields(string(text))
}

// freePort is one that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

func isGone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

// isGoneSoon is for a process that was killed and has lost its parent: it is buried a moment later.
func isGoneSoon(pid int) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if isGone(pid) {
			return true
		}
	}
	return false
}

// printed follows a log until it has so many bytes.
func (s *scene) printed(name string, least int) string {
	s.Helper()
	response, err := http.Get(s.url + "/services/logs?follow=1&name=" + name)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text := ""
	for len(text) < least {
		kind, _, payload := readRecord(s.T, response.Body)
		if kind == 1 || kind == 2 {
			text += string(payload)
		}
	}
	return text
}

func readRecord(t *testing.T, from io.Reader) (kind byte, at int64, payload []byte) {
	t.Helper()
	head := make([]byte, 13)
	if _, err := io.ReadFull(from, head); err != nil {
		t.Fatal(err)
	}
	payload = make([]byte, binary.BigEndian.Uint32(head[9:]))
	if _, err := io.ReadFull(from, payload); err != nil {
		t.Fatal(err)
	}
	return head[0], int64(binary.BigEndian.Uint64(head[1:])), payload
}
