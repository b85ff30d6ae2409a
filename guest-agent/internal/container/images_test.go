package container

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"portico.dev/agent/internal/proto"
)

// stored is a store in a folder of its own.
func stored(t *testing.T) (*Store, string) {
	t.Helper()
	path := t.TempDir()
	folder, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = folder.Close() })
	s := &Store{}
	if err := s.Use(folder); err != nil {
		t.Fatal(err)
	}
	return s, path
}

func call(s *Store, method, digest string, body io.Reader) (string, int) {
	recorder := httptest.NewRecorder()
	s.Routes()["/images"][method](recorder, httptest.NewRequest(method, "/images?digest="+digest, body))
	return recorder.Body.String(), recorder.Code
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// files in a folder, by name.
func files(t *testing.T, folder string) []string {
	t.Helper()
	names, err := filepath.Glob(folder + "/images/*")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestImageIsThereOnceItIsWhole(t *testing.T) {
	s, path := stored(t)
	digest := digestOf("content")
	if text, _ := call(s, "GET", digest, nil); text != `{"present":false}` {
		t.Error(text)
	}
	if text, status := call(s, "PUT", digest, strings.NewReader("content")); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
	if text, _ := call(s, "GET", digest, nil); text != `{"present":true}` {
		t.Error(text)
	}
	content, err := os.ReadFile(path + "/images/" + strings.TrimPrefix(digest, "sha256:") + ".erofs")
	if err != nil || string(content) != "content" {
		t.Errorf("%q %v", content, err)
	}
}

func TestImagesThatAreNotWhatTheySayLeaveNothing(t *testing.T) {
	s, path := stored(t)
	digest := digestOf("content")
	for code, body := range map[string]io.Reader{
		proto.CodeInvalidRequest: strings.NewReader("other content"),
		proto.CodeCancelled:      io.MultiReader(strings.NewReader("con"), iotest.ErrReader(errors.New("the caller has gone"))),
	} {
		if text, status := call(s, "PUT", digest, body); status == http.StatusOK || !strings.Contains(text, code) {
			t.Errorf("%d %s, want %s", status, text, code)
		}
	}
	for _, digest := range []string{"", "sha256:12", "md5:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("../", 21) + "a"} {
		if text, _ := call(s, "PUT", digest, strings.NewReader("content")); !strings.Contains(text, proto.CodeInvalidRequest) {
			t.Errorf("%q: %s", digest, text)
		}
	}
	request := httptest.NewRequest("PUT", "/images?digest="+digest, strings.NewReader("content"))
	request.ContentLength = 1 << 60
	recorder := httptest.NewRecorder()
	if s.put(recorder, request); !strings.Contains(recorder.Body.String(), proto.CodeNoSpace) {
		t.Errorf("more than there is room for: %s", recorder.Body)
	}
	if left := files(t, path); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

func TestHalvesOfImagesAreRemovedAtTheStart(t *testing.T) {
	s, path := stored(t)
	_, _ = call(s, "PUT", digestOf("content"), strings.NewReader("content"))
	if err := os.WriteFile(path+"/images/0123"+partial, []byte("con"), 0o600); err != nil {
		t.Fatal(err)
	}
	folder, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = folder.Close() }()
	if err := s.Use(folder); err != nil {
		t.Fatal(err)
	}
	if left := files(t, path); len(left) != 1 || strings.HasSuffix(left[0], partial) {
		t.Errorf("%q", left)
	}
}

func TestMachineWithoutADiskHasNoContainers(t *testing.T) {
	if text, _ := call(&Store{}, "GET", digestOf(""), nil); !strings.Contains(text, proto.CodeUnsupported) {
		t.Error(text)
	}
}

func TestFilesOfAnotherImageAndOfOtherServicesGo(t *testing.T) {
	s, path := stored(t)
	for _, name := range []string{"web", "db"} {
		for _, image := range []string{"one", "two"} {
			if err := s.makeFolders(name, image); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Keep([]string{"web"}); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(path + "/containers/*/*")
	if want := path + "/containers/web/image " + path + "/containers/web/two"; strings.Join(left, " ") != want {
		t.Errorf("%q", left)
	}
}

func TestImagesThatNoServiceHasGoWhenNobodyAskedForThemLately(t *testing.T) {
	s, path := stored(t)
	long := time.Now().Add(-2 * keptUnused)
	for _, text := range []string{"used", "asked for", "forgotten", "new"} {
		_, _ = call(s, "PUT", digestOf(text), strings.NewReader(text))
		if text == "new" {
			continue
		}
		file := path + "/images/" + strings.TrimPrefix(digestOf(text), "sha256:") + whole
		if err := os.Chtimes(file, long, long); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = call(s, "GET", digestOf("asked for"), nil)
	s.Sweep(map[string]bool{digestOf("used"): true})
	for _, text := range []string{"used", "asked for", "new"} {
		if got, _ := call(s, "GET", digestOf(text), nil); got != `{"present":true}` {
			t.Errorf("%s: %s", text, got)
		}
	}
	if got, _ := call(s, "GET", digestOf("forgotten"), nil); got != `{"present":false}` {
		t.Errorf("forgotten: %s", got)
	}
	(&Store{}).Sweep(nil)
}
