package process

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const aTrace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestATraceIsACallsUnlessItsEnvironmentNamesOne(t *testing.T) {
	header := http.Header{"Traceparent": {aTrace}}
	if env := traced(nil, header); env["TRACEPARENT"] != aTrace {
		t.Fatalf("without an environment: %v", env)
	}
	asked := map[string]string{"A": "1"}
	if env := traced(asked, header); env["TRACEPARENT"] != aTrace || env["A"] != "1" || len(asked) != 1 {
		t.Fatalf("with an environment: %v of %v", env, asked)
	}
	if env := traced(map[string]string{"TRACEPARENT": "mine"}, header); env["TRACEPARENT"] != "mine" {
		t.Fatalf("the call's own is lost: %v", env)
	}
	if env := traced(nil, http.Header{}); env != nil {
		t.Fatalf("without a header: %v", env)
	}
}

func TestAMalformedTraceIsIgnored(t *testing.T) {
	for _, text := range []string{
		"", "nonsense", aTrace[:54], aTrace + "-more", "ff" + aTrace[2:], strings.ToUpper(aTrace), "01" + aTrace[2:] + "more",
		"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"01" + aTrace[2:] + "-" + strings.Repeat("x", 80), "01" + aTrace[2:] + "-a\nb", strings.Replace(aTrace, "-0", "_0", 1),
	} {
		if isTrace(text) {
			t.Errorf("%q counts as a trace", text)
		}
	}
	for _, text := range []string{aTrace, "01" + aTrace[2:], "01" + aTrace[2:] + "-later"} {
		if !isTrace(text) {
			t.Errorf("%q is none", text)
		}
	}
}

func TestACommandSeesTheTraceOfItsCall(t *testing.T) {
	for body, want := range map[string]string{
		`{"argv":["printenv","TRACEPARENT"]}`:                                    aTrace + "\n",
		`{"argv":["printenv","TRACEPARENT"],"env":{"TRACEPARENT":"the call's"}}`: "the call's\n",
	} {
		recorder := httptest.NewRecorder()
		request := httptest.NewRequest("POST", "/exec", strings.NewReader(body))
		request.Header.Set("traceparent", aTrace)
		subject.Exec(func(*http.Request) <-chan struct{} { return never })(recorder, request)
		var a answer
		if err := json.Unmarshal(recorder.Body.Bytes(), &a); err != nil || a.Stdout != want {
			t.Errorf("%s: %+v, want %q", body, a, want)
		}
	}
}
