package process

import (
	"os"
	"strings"
	"testing"
)

func withDefaults(t *testing.T, defaults Defaults) (note string) {
	t.Helper()
	note = environment.SetDefaults(defaults)
	t.Cleanup(func() { environment.SetDefaults(Defaults{}) })
	return note
}

func TestCommandsBeginWhereTheImageSays(t *testing.T) {
	folder := t.TempDir() + "/app/deep"
	if note := withDefaults(t, Defaults{Workdir: folder}); note != "" {
		t.Fatal(note)
	}
	if got, _ := call(t, `{"argv":["pwd"]}`); got.Stdout != folder+"\n" {
		t.Errorf("%+v", got)
	}
	if got, _ := call(t, `{"argv":["pwd"],"cwd":"/"}`); got.Stdout != "/\n" {
		t.Errorf("the caller's own folder: %+v", got)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if got, _ := call(t, `{"argv":["pwd"]}`); got.Stdout != "/\n" {
		t.Errorf("after the folder was removed: %+v", got)
	}
}

func TestTheEntrypointRunsWithTheImagesWordsOrTheCallers(t *testing.T) {
	withDefaults(t, Defaults{Entrypoint: []string{"echo", "entry"}, Cmd: []string{"cmd"}})
	for want, body := range map[string]string{
		"entry cmd\n": `{"entrypoint":true}`,
		"entry own\n": `{"entrypoint":true,"args":["own"]}`,
		"entry\n":     `{"entrypoint":true,"args":[]}`,
	} {
		if got, _ := call(t, body); got.Stdout != want {
			t.Errorf("%q: %+v", want, got)
		}
	}
}

func TestAnEntrypointIsRefusedWhereThereIsNoneOrSomethingElseIsAsked(t *testing.T) {
	none := wireRequest{Entrypoint: true}
	if _, failure := environment.complete(&none); failure == nil || !strings.Contains(failure.Message, "no entrypoint") {
		t.Errorf("%v", failure)
	}
	shell := "true"
	for _, w := range []*wireRequest{{Entrypoint: true, Argv: []string{"a"}}, {Entrypoint: true, Shell: &shell}, {Args: []string{"a"}, Shell: &shell}} {
		if _, failure := environment.complete(w); failure == nil {
			t.Errorf("%+v was taken", w)
		}
	}
}

func TestAUserThatTheImageDoesNotHaveIsRoot(t *testing.T) {
	if note := withDefaults(t, Defaults{User: "nobody-of-that-name"}); !strings.Contains(note, "nobody-of-that-name") {
		t.Errorf("note: %q", note)
	}
	var w wireRequest
	if user, failure := environment.complete(&w); user != nil || failure != nil {
		t.Errorf("%v %v", user, failure)
	}
	if note := withDefaults(t, Defaults{User: "12:34"}); note != "" {
		t.Error(note)
	}
	if user, _ := environment.complete(&w); user == nil || user.uid != 12 || user.gid != 34 {
		t.Errorf("%+v", user)
	}
	withDefaults(t, Defaults{User: "61234"})
	if user, _ := environment.complete(&w); user == nil || user.uid != 61234 || user.gid != 0 || len(user.groups) > 0 {
		t.Errorf("a number without an entry: %+v", user)
	}
	own := "0"
	if user, _ := environment.complete(&wireRequest{User: &own}); user != nil {
		t.Errorf("the caller's own: %+v", user)
	}
}
