package services

import (
	"reflect"
	"testing"
)

func TestStateIsRestored(t *testing.T) {
	s := play(t)
	s.define("db", "exec sleep 600", nil)
	s.define("web", "exec sleep 600", fields{"needs": []string{"db"}})
	s.define("idle", "exec sleep 600", nil)
	s.start("web")
	var state wholeState
	s.fetch("GET", "/services/state", nil, &state)
	s.define("other", "exec sleep 600", nil)
	before := *s.start("db").Pid
	state.Services = append(state.Services, kept{Definition{Name: "broken", Cmd: "no-such", Restart: "no", StartTimeout: 1}, true})
	var told struct{ Started, Failed []string }
	s.fetch("POST", "/services/restore", state, &told)
	if !reflect.DeepEqual(told.Started, []string{"db", "web"}) || !reflect.DeepEqual(told.Failed, []string{"broken"}) {
		t.Errorf("%+v", told)
	}
	var names []string
	for _, one := range s.list() {
		names = append(names, one.Name+" "+one.Status)
	}
	if want := []string{"broken failed", "db running", "idle stopped", "web running"}; !reflect.DeepEqual(names, want) || !isGone(before) {
		t.Errorf("%q, the old one gone: %v", names, isGone(before))
	}
}
