package services

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"portico.dev/agent/internal/proto"
)

func TestServiceRunsUntilItIsStopped(t *testing.T) {
	s := play(t)
	s.define("web", "trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done", nil)
	if told := s.get("web"); told.Status != "stopped" || told.Pid != nil || told.StartedAt != nil || told.ExitCode != nil {
		t.Errorf("before the start: %+v", told)
	}
	told := s.start("web")
	if told.Status != "running" || told.Pid == nil || told.StartedAt == nil {
		t.Fatalf("started: %+v", told)
	}
	if again := s.start("web"); *again.Pid != *told.Pid {
		t.Error("started twice")
	}
	after, failure := s.call("POST", "/services/stop?name=web", nil)
	if failure.Code != "" || after.Status != "stopped" || after.Pid != nil || !isGone(*told.Pid) {
		t.Errorf("stopped: %+v %v", after, failure)
	}
	if again, failure := s.call("POST", "/services/stop?name=web", nil); failure.Code != "" || again.Status != "stopped" {
		t.Errorf("stopped again: %+v", again)
	}
}

func TestStopKillsTheGroupOfAServiceThatDoesNotListen(t *testing.T) {
	s := play(t)
	s.define("deaf", "trap '' TERM; sleep 600 & echo $! >"+s.file("child")+"; wait", fields{"stop_timeout_secs": 0.2})
	s.start("deaf")
	for len(s.lines("child")) == 0 {
		time.Sleep(time.Millisecond)
	}
	told, _ := s.call("POST", "/services/stop?name=deaf", nil)
	var child int
	_, _ = fmt.Sscan(s.lines("child")[0], &child)
	if told.Status != "stopped" || told.ExitCode == nil || *told.ExitCode != 137 || !isGoneSoon(child) {
		t.Errorf("%+v, child gone: %v", told, isGone(child))
	}
}

func TestWhatItNeedsIsStartedFirstAndReady(t *testing.T) {
	s := play(t)
	port := freePort(t)
	order := ">>" + s.file("order")
	// Its port is taken later than its process starts, by a listener of the test's own.
	s.define("db", "echo db "+order+"; while ! [ -e "+s.file("go")+" ]; do sleep 0.01; done; echo ready "+order+"; exec sleep 600", fields{"health_port": port})
	listening := make(chan net.Listener, 1)
	go func() {
		for len(s.lines("order")) == 0 {
			time.Sleep(time.Millisecond)
		}
		_ = os.WriteFile(s.file("go"), nil, 0o600)
		for len(s.lines("order")) < 2 {
			time.Sleep(time.Millisecond)
		}
		listener, _ := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		listening <- listener
	}()
	s.define("pool", "echo pool "+order+"; exec sleep 600", fields{"needs": []string{"db"}})
	s.define("web", "echo web "+order+"; exec sleep 600", fields{"needs": []string{"pool", "db"}})
	s.start("web")
	defer func() { _ = (<-listening).Close() }()
	for len(s.lines("order")) < 4 {
		time.Sleep(time.Millisecond)
	}
	// What follows is ready when it has started, so the last two print at the same time.
	if got := s.lines("order"); !reflect.DeepEqual(got[:2], []string{"db", "ready"}) || *s.get("pool").StartedAt > *s.get("web").StartedAt {
		t.Errorf("%q", got)
	}
	if told, _ := s.call("POST", "/services/stop?name=db", nil); told.Status != "stopped" || s.get("web").Status != "running" {
		t.Error("to stop one stops what needs it")
	}
}

func TestCyclesAreRefusedAndUnknownNeedsAtStart(t *testing.T) {
	s := play(t)
	s.define("a", "exec sleep 600", fields{"needs": []string{"b"}})
	s.define("b", "exec sleep 600", fields{"needs": []string{"c"}})
	_, failure := s.call("PUT", "/services/one?name=c", fields{"cmd": "true", "needs": []string{"a"}})
	if failure.Code != proto.CodeInvalidRequest || !strings.Contains(failure.Message, "c → a → b → c") {
		t.Errorf("%+v", failure)
	}
	if _, failure := s.call("PUT", "/services/one?name=x", fields{"cmd": "true", "needs": []string{"x"}}); !strings.Contains(failure.Message, "x → x") {
		t.Errorf("%+v", failure)
	}
	why := s.refused("a")
	if !strings.Contains(why, "a → b → c, and c does not exist") {
		t.Error(why)
	}
	if told := s.get("a"); told.Status != "failed" || !strings.Contains(told.Reason, "a → b → c") {
		t.Errorf("%+v", told)
	}
	s.define("c", "exec sleep 600", nil)
	if told := s.start("a"); told.Status != "running" || s.get("c").Status != "running" {
		t.Errorf("%+v", told)
	}
}

func TestStartsThatFailTellWhy(t *testing.T) {
	s := play(t)
	port := freePort(t)
	for name, row := range map[string]struct {
		body fields
		want string
	}{
		"missing":  {fields{"cmd": "no-such-program"}, "exec: no-such-program: not found"},
		"stranger": {fields{"cmd": "true", "user": "no-such-user"}, "there is no user"},
		"nowhere":  {fields{"cmd": "true", "working_dir": "/no/such"}, "/no/such does not exist"},
		"early":    {fields{"cmd": "sh", "args": []string{"-c", "exit 3"}, "health_port": port}, "ended with 3 before it was ready"},
		"late":     {fields{"cmd": "sleep", "args": []string{"600"}, "health_port": port, "start_timeout_secs": 0.3}, fmt.Sprintf("did not take connections on port %d within 300ms", port)},
	} {
		if _, failure := s.call("PUT", "/services/one?name="+name, row.body); failure.Code != "" {
			t.Fatalf("%s: %s", name, failure.Message)
		}
		why := s.refused(name)
		told := s.get(name)
		if !strings.Contains(why, row.want) || told.Status != "failed" || !strings.Contains(told.Reason, row.want) || told.Pid != nil {
			t.Errorf("%s: %q, %+v", name, why, told)
		}
	}
	s.define("user", "exec sleep 600", fields{"needs": []string{"early"}})
	if why := s.refused("user"); !strings.Contains(why, "user → early") || !strings.Contains(why, "ended with 3") {
		t.Error(why)
	}
}

func TestEndsByItselfAreToldAndFollowedAsThePolicyWants(t *testing.T) {
	s := play(t)
	s.define("good", "exit 0", nil)
	s.define("bad", "kill -SEGV $$", nil)
	s.define("again", "echo x >>"+s.file("again")+"; [ $(wc -l <"+s.file("again")+") -ge 2 ] && exec sleep 600; exit 7", fields{"restart": "on-failure"})
	for _, name := range []string{"good", "bad", "again"} {
		s.start(name)
	}
	s.await("good", func(one *service) bool { return one.state == stopped })
	s.await("bad", func(one *service) bool { return one.state == failed })
	if told := s.get("bad"); told.Reason != "was ended by SIGSEGV" || *told.ExitCode != 139 {
		t.Errorf("%+v", told)
	}
	s.await("again", func(one *service) bool { return one.state == waiting })
	if told := s.get("again"); told.Status != "unknown" || !strings.Contains(told.Reason, "ended with 7; it starts again in 1s") {
		t.Errorf("%+v", told)
	}
	s.await("again", func(one *service) bool { return one.state == running })
	if told := s.get("again"); told.Restarts != 1 || *told.ExitCode != 7 || told.Status != "running" {
		t.Errorf("%+v", told)
	}
}

func TestStopEndsThePauseBeforeARestartAndStartCutsItShort(t *testing.T) {
	s := play(t)
	s.define("loop", "exit 1", fields{"restart": "always"})
	s.start("loop")
	s.await("loop", func(one *service) bool { return one.state == waiting })
	begun := time.Now()
	s.start("loop")
	if spent := time.Since(begun); spent > firstPause {
		t.Errorf("the start waited %s", spent)
	}
	s.await("loop", func(one *service) bool { return one.state == waiting })
	if told := s.get("loop"); told.Restarts != 0 || !strings.Contains(told.Reason, "it starts again in 1s") {
		t.Errorf("started by somebody, and not by its policy: %+v", told)
	}
	if told, _ := s.call("POST", "/services/stop?name=loop", nil); told.Status != "stopped" {
		t.Errorf("%+v", told)
	}
}

func TestNewDefinitionCountsFromTheNextStart(t *testing.T) {
	s := play(t)
	s.define("web", "exec sleep 600", fields{"env": fields{"A": "1"}})
	before := s.start("web")
	s.define("web", "echo $A; exec sleep 600", fields{"env": fields{"A": "2"}})
	if now := s.get("web"); *now.Pid != *before.Pid || now.Env["A"] != "2" {
		t.Errorf("%+v", now)
	}
	_, _ = s.call("POST", "/services/stop?name=web", nil)
	s.start("web")
	if text := s.printed("web", 2); text != "2\n" {
		t.Errorf("%q", text)
	}
}

func TestLogsAreBoundedAndGoOnOverRestarts(t *testing.T) {
	s := play(t)
	s.define("loud", "echo first >&2; [ -e "+s.file("once")+" ] || head -c 3000000 /dev/zero | tr '\\0' x; touch "+s.file("once")+"; echo last; exit 1",
		fields{"restart": "on-failure"})
	s.start("loud")
	s.await("loud", func(one *service) bool { return one.state == waiting })
	response, err := http.Get(s.url + "/services/logs?name=loud&from=2")
	if err != nil {
		t.Fatal(err)
	}
	kind, at, payload := readRecord(t, response.Body)
	lost := int64(binary.BigEndian.Uint64(payload))
	if kind != 4 || lost < 1_900_000 || at != 2+lost {
		t.Errorf("kind %d at %d: %d bytes are missing", kind, at, lost)
	}
	var kept int
	var tail string
	for kind != 3 {
		if kind, at, payload = readRecord(t, response.Body); kind == 1 || kind == 2 {
			kept, tail = kept+len(payload), string(payload)
		}
	}
	if kept > logSize || kept < logSize/2 || !strings.HasSuffix(tail, "last\n") || !strings.Contains(string(payload), `"exit_code":1`) {
		t.Errorf("%d bytes, the last %.10q, the end %s", kept, tail, payload)
	}
	end := at
	response, err = http.Get(fmt.Sprintf("%s/services/logs?name=loud&follow=1&from=%d", s.url, end))
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for text != "first\nlast\n" && text != "last\nfirst\n" {
		kind, at, payload = readRecord(t, response.Body)
		if at != end {
			t.Fatalf("an offset of %d, not %d", at, end)
		}
		end, text = at+int64(len(payload)), text+string(payload)
	}
	_, _ = s.call("DELETE", "/services/one?name=loud", nil)
	if kind, _, _ := readRecord(t, response.Body); kind != 3 {
		t.Errorf("the follower of a service that is deleted is told %d", kind)
	}
}

func TestAllAreStoppedThoseThatNeedOthersFirst(t *testing.T) {
	s := play(t)
	script := func(name string) string {
		return "trap 'echo " + name + " >>" + s.file("order") + "; exit 0' TERM; echo up; while :; do sleep 0.02; done"
	}
	s.define("a-db", script("a-db"), nil)
	s.define("web", script("web"), fields{"needs": []string{"a-db"}})
	s.start("web")
	s.printed("a-db", 3)
	s.printed("web", 3)
	s.supervisor.StopAll(patience)
	if got := s.lines("order"); !reflect.DeepEqual(got, []string{"web", "a-db"}) {
		t.Errorf("%q", got)
	}
	if why := s.refused("web"); !strings.Contains(why, "the sandbox is stopping") {
		t.Error(why)
	}
}

func TestUnknownAndMalformedServicesAreRefused(t *testing.T) {
	s := play(t)
	for _, path := range []string{"GET /services/one", "DELETE /services/one", "POST /services/start", "POST /services/stop", "GET /services/logs"} {
		method, route, _ := strings.Cut(path, " ")
		if _, failure := s.call(method, route+"?name=none", nil); failure.Code != proto.CodeServiceNotFound {
			t.Errorf("%s: %+v", path, failure)
		}
	}
	for name, body := range map[string]fields{
		"a/b": {"cmd": "true"}, "empty": {}, "policy": {"cmd": "x", "restart": "never"}, "port": {"cmd": "x", "health_port": 70_000},
		"env": {"cmd": "x", "env": fields{"A=": "b"}}, "zero": {"cmd": "x\x00"}, "box": {"cmd": "x", "container": true}, "dir": {"cmd": "x", "working_dir": "tmp"},
		"limit": {"cmd": "x", "start_timeout_secs": 0},
	} {
		if _, failure := s.call("PUT", "/services/one?name="+name, body); failure.Code != proto.CodeInvalidRequest && failure.Code != proto.CodeInvalidPath {
			t.Errorf("%s: %+v", name, failure)
		}
	}
	args := strings.Repeat("x", 900_000)
	for _, name := range []string{"1", "2", "3", "4"} {
		s.define(name, args, nil)
	}
	s.define("4", args, nil)
	if _, failure := s.call("PUT", "/services/one?name=5", fields{"cmd": "x", "args": []string{args}}); failure.Code != proto.CodeQuotaExceeded {
		t.Errorf("%+v", failure)
	}
	s.define("plain", "exec sleep 600", nil)
	if _, failure := s.call("POST", "/services/exec?name=plain", fields{"cmd": []string{"true"}}); failure.Code != proto.CodeInvalidRequest {
		t.Errorf("%+v", failure)
	}
}

func TestServiceThatCannotBeEndedIsNotCalledStopped(t *testing.T) {
	for _, row := range []struct {
		isStopped bool
		end       ended
		state     state
		reason    string
	}{
		{true, ended{fault: "was ended by SIGTERM", exited: true}, stopped, ""},
		{true, ended{fault: "could not be ended", hangs: true}, failed, "could not be ended"},
		{false, ended{fault: "ended with 3", exited: true}, failed, "ended with 3"},
		{false, ended{exited: true}, stopped, "ended with 0"},
	} {
		one := &service{}
		if one.settle(row.isStopped, row.end); one.state != row.state || one.reason != row.reason {
			t.Errorf("%+v: %d %q", row, one.state, one.reason)
		}
	}
}

func TestOthersGoOnWhileTheFilesOfAServiceAreRemoved(t *testing.T) {
	s := play(t)
	s.define("box", "exec sleep 600", nil)
	s.define("web", "exec sleep 600", nil)
	clearing, cleared := make(chan struct{}), make(chan struct{})
	go func() {
		s.supervisor.lock.Lock()
		defer s.supervisor.lock.Unlock()
		s.supervisor.forget(s.supervisor.services["box"], func() { close(clearing); <-cleared })
	}()
	<-clearing
	s.start("web")
	if all := s.list(); len(all) != 1 {
		t.Errorf("%+v", all)
	}
	if state := s.supervisor.state(); len(state) != 1 || state[0].Name != "web" || !state[0].Running {
		t.Errorf("a checkpoint would keep %+v", state)
	}
	defined := make(chan struct{})
	go func() {
		defer close(defined)
		s.define("box", "exec sleep 600", nil)
	}()
	close(cleared)
	<-defined
	if all := s.list(); len(all) != 2 {
		t.Errorf("defined anew: %+v", all)
	}
}

func TestCallsThatWaitForAStartAreBoundedAndThoseThatStopAreNot(t *testing.T) {
	s := play(t)
	s.define("web", "exec sleep 600", nil)
	s.start("web")
	s.supervisor.starts.Store(maxStarts)
	if _, failure := s.call("POST", "/services/start?name=web", nil); failure.Code != proto.CodeOverloaded {
		t.Errorf("%+v", failure)
	}
	if told, failure := s.call("POST", "/services/stop?name=web", nil); told.Status != "stopped" {
		t.Errorf("%+v", failure)
	}
	s.supervisor.starts.Add(-1)
	s.start("web")
}

func TestImagesGoWithTheLastServiceThatHasThem(t *testing.T) {
	s := play(t)
	folder, err := os.Open(s.folder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	if err := s.supervisor.images.Use(folder); err != nil {
		t.Fatal(err)
	}
	file := func(digit string) string { return s.file("images/" + strings.Repeat(digit, 64) + ".erofs") }
	if err := os.Mkdir(s.file("images"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, digit := range []string{"a", "b"} {
		if err := os.WriteFile(file(digit), nil, 0o400); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file(digit), time.Unix(0, 0), time.Unix(0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	left := func() (digits string) {
		for _, digit := range []string{"a", "b"} {
			if _, err := os.Stat(file(digit)); err == nil {
				digits += digit
			}
		}
		return digits
	}
	box := fields{"container": true, "image": "x", "container_image": fields{"digest": "sha256:" + strings.Repeat("a", 64)}}
	s.define("box", "true", box)
	s.define("twin", "true", box)
	if got := left(); got != "a" {
		t.Errorf("both have a, and there is %q", got)
	}
	for _, step := range [][2]string{{"box", "a"}, {"twin", ""}} {
		if _, failure := s.call("DELETE", "/services/one?name="+step[0], nil); failure.Code != "" || left() != step[1] {
			t.Errorf("%s is deleted, and there is %q: %+v", step[0], left(), failure)
		}
	}
}
