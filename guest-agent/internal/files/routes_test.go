package files

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
)

// listed is one entry of a listing.
type listed struct {
	Name       string
	NameBase64 string `json:"name_base64"`
	Type       string
	IsDir      bool `json:"is_dir"`
	Size       int64
	Mode       string
	ModifiedAt string `json:"modified_at"`
}

type listing struct {
	Path, PathBase64  string
	Entries           []listed
	Truncated, Deeper bool
}

var routes = Routes(func(r *http.Request) <-chan struct{} { return r.Context().Done() })

// ask sends a request to the route table.
func ask(method, route string, values url.Values, body io.Reader) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	routes[route][method](w, httptest.NewRequest(method, route+"?"+values.Encode(), body))
	return w
}

// post sends a body, with fields two by two.
func post(route string, fields ...any) *httptest.ResponseRecorder {
	body := map[string]any{}
	for i := 0; i < len(fields); i += 2 {
		body[fields[i].(string)] = fields[i+1]
	}
	text, _ := json.Marshal(body)
	return ask("POST", route, nil, strings.NewReader(string(text)))
}

func at(path string, more ...string) url.Values {
	values := url.Values{"path": {path}}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	return values
}

func coded(path string) string { return base64.StdEncoding.EncodeToString([]byte(path)) }

// fine reads an answer that must be 200.
func fine[T any](t *testing.T, w *httptest.ResponseRecorder) (value T) {
	t.Helper()
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &value); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return value
}

// did checks that a change was made.
func did(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if answer := fine[done](t, w); !answer.OK {
		t.Errorf("%s", w.Body)
	}
}

// refused checks that a change was refused with a code.
func refused(t *testing.T, w *httptest.ResponseRecorder, want string) {
	t.Helper()
	if w.Code == 200 {
		t.Errorf("not refused: %s", w.Body)
	} else if got := code(t, w); got != want {
		t.Errorf("%s, want %s", w.Body, want)
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// save writes a file and the directories above it.
func save(t *testing.T, path, text string) {
	t.Helper()
	folder, _ := split(path)
	must(t, os.MkdirAll(folder, 0o755), os.WriteFile(path, []byte(text), 0o644))
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
