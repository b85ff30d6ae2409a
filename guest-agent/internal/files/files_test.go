package files

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"portico.dev/agent/internal/proto"
)

func request(method, path string, body io.Reader, more ...string) (*httptest.ResponseRecorder, *http.Request) {
	values := url.Values{"path": {path}}
	for i := 0; i < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	return httptest.NewRecorder(), httptest.NewRequest(method, "/files?"+values.Encode(), body)
}

func put(path, body string, more ...string) *httptest.ResponseRecorder {
	w, r := request("PUT", path, strings.NewReader(body), more...)
	Write(w, r)
	return w
}

func get(path string, header ...string) *httptest.ResponseRecorder {
	w, r := request("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	Read(w, r)
	return w
}

func code(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var answer struct{ Error proto.WireError }
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%v in %q", err, w.Body)
	}
	if w.Code != proto.Status[answer.Error.Code] || !strings.HasPrefix(answer.Error.Message, "cannot ") {
		t.Errorf("%d %v", w.Code, answer.Error)
	}
	return answer.Error.Code
}

func written(t *testing.T, path string) (string, os.FileMode) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), status.Mode()
}

func namesIn(t *testing.T, folder string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range entries {
		names = append(names, one.Name())
	}
	return names
}

func TestWriteMakesParentsAndTellsTheSize(t *testing.T) {
	path := t.TempDir() + "/a/b/c.txt"
	w := put(path, "hello")
	if want := `{"path":"` + path + `","size":5}`; w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if text, mode := written(t, path); text != "hello" || mode != 0o644 {
		t.Errorf("%q %v", text, mode)
	}
}

func TestEmptyFile(t *testing.T) {
	path := t.TempDir() + "/empty"
	if w := put(path, ""); w.Code != 200 {
		t.Fatal(w.Body)
	}
	if w := get(path); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestModeIsAskedForOrKept(t *testing.T) {
	path := t.TempDir() + "/f"
	put(path, "1", "mode", "0700")
	if _, mode := written(t, path); mode != 0o700 {
		t.Errorf("asked for: %v", mode)
	}
	put(path, "2")
	if text, mode := written(t, path); text != "2" || mode != 0o700 {
		t.Errorf("kept: %q %v", text, mode)
	}
	put(path, "3", "mode", "4755")
	if _, mode := written(t, path); mode != 0o755|os.ModeSetuid {
		t.Errorf("set-uid: %v", mode)
	}
	for _, bad := range []string{"abc", "9", "77777", "-1"} {
		if got := code(t, put(path, "x", "mode", bad)); got != proto.CodeInvalidRequest {
			t.Errorf("mode %s: %s", bad, got)
		}
	}
}

func TestOwnerIsKept(t *testing.T) {
	path := t.TempDir() + "/f"
	put(path, "1")
	if err := os.Chown(path, 1234, 1235); err != nil {
		t.Fatalf("this test needs root: %v", err)
	}
	put(path, "2")
	status, _ := os.Stat(path)
	if owner := status.Sys().(*syscall.Stat_t); owner.Uid != 1234 || owner.Gid != 1235 {
		t.Errorf("%d:%d", owner.Uid, owner.Gid)
	}
}

func TestWriteGoesThroughLinks(t *testing.T) {
	folder := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(folder+"/real", 0o755))
	must(os.WriteFile(folder+"/real/file", []byte("old"), 0o600))
	must(os.Symlink("real/file", folder+"/link"))
	must(os.Symlink("link", folder+"/chain"))
	must(os.Symlink("real/new/deep", folder+"/dangling"))
	must(os.Symlink("loop", folder+"/loop"))
	must(os.Symlink("real", folder+"/folder"))
	for _, row := range []struct{ path, real string }{
		{"/chain", "/real/file"}, {"/dangling", "/real/new/deep"}, {"/folder/x", "/real/x"},
	} {
		if w := put(folder+row.path, "through "+row.path); w.Code != 200 {
			t.Fatal(w.Body)
		}
		if text, _ := written(t, folder+row.real); text != "through "+row.path {
			t.Errorf("%s: %q", row.path, text)
		}
	}
	if status, _ := os.Lstat(folder + "/chain"); status.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	if got := code(t, put(folder+"/loop", "x")); got != proto.CodeInvalidPath {
		t.Errorf("loop: %s", got)
	}
	if got := code(t, put(folder+"/folder", "x")); got != proto.CodeIsDirectory {
		t.Errorf("link to a directory: %s", got)
	}
}

func TestPathsThatCannotBeUsed(t *testing.T) {
	folder := t.TempDir()
	if err := errors.Join(os.WriteFile(folder+"/file", nil, 0o644), syscall.Mkfifo(folder+"/pipe", 0o644)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][3]string{ // write, read, list
		"":                             {proto.CodeInvalidPath, proto.CodeInvalidPath, proto.CodeInvalidPath},
		"../../etc/passwd":             {proto.CodeInvalidPath, proto.CodeInvalidPath, proto.CodeInvalidPath},
		"/a\x00b":                      {proto.CodeInvalidPath, proto.CodeInvalidPath, proto.CodeInvalidPath},
		"/" + strings.Repeat("n", 300): {proto.CodeInvalidPath, proto.CodeInvalidPath, proto.CodeInvalidPath},
		folder:                         {proto.CodeIsDirectory, proto.CodeIsDirectory, ""},
		folder + "/new/":               {proto.CodeIsDirectory, proto.CodeFileNotFound, proto.CodeFileNotFound},
		folder + "/file/x":             {proto.CodeNotDirectory, proto.CodeNotDirectory, proto.CodeNotDirectory},
		folder + "/file":               {"", "", proto.CodeNotDirectory},
		folder + "/pipe":               {proto.CodeConflict, proto.CodeConflict, proto.CodeNotDirectory},
		"/dev/null":                    {proto.CodeConflict, proto.CodeConflict, proto.CodeNotDirectory},
	} {
		wl, rl := request("GET", path, nil)
		List(wl, rl)
		for i, w := range []*httptest.ResponseRecorder{put(path, "x"), get(path), wl} {
			if want[i] == "" && w.Code != 200 || want[i] != "" && code(t, w) != want[i] {
				t.Errorf("%q, call %d: %d %s, want %s", path, i, w.Code, w.Body, want[i])
			}
		}
	}
	if got := code(t, get(folder+"/missing")); got != proto.CodeFileNotFound {
		t.Errorf("missing: %s", got)
	}
	if got := code(t, put("/proc/x/y", "")); got != proto.CodeFileNotFound && got != proto.CodePermissionDenied {
		t.Errorf("a place where nothing can be made: %s", got)
	}
}

// breakingOff is a body that ends in the middle.
type breakingOff struct{ left int }

func (b *breakingOff) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), b.left)
	b.left -= n
	return n, nil
}

func TestUploadThatBreaksOffLeavesNothing(t *testing.T) {
	folder := t.TempDir()
	put(folder+"/kept", "before")
	for _, name := range []string{"/kept", "/new"} {
		w, r := request("PUT", folder+name, &breakingOff{1 << 20})
		Write(w, r)
		if got := code(t, w); got != proto.CodeCancelled {
			t.Errorf("%s", got)
		}
	}
	if text, _ := written(t, folder+"/kept"); text != "before" {
		t.Errorf("%q", text)
	}
	if names := namesIn(t, folder); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
}

func TestFullDiskIsToldAndLeavesNothing(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatalf("this test needs root: %v", err)
	}
	defer func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) }()
	if got := code(t, put(folder+"/big", strings.Repeat("x", 2<<20))); got != proto.CodeNoSpace {
		t.Errorf("%s", got)
	}
	if names := namesIn(t, folder); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
	if err := syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if got := code(t, put(folder+"/small", "x")); got != proto.CodePermissionDenied {
		t.Errorf("read-only: %s", got)
	}
}

func TestReadWholeAndRanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.html")
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	put(path, string(content))
	w := get(path)
	if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), content) || w.Header().Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d, %d bytes, %v", w.Code, w.Body.Len(), w.Header())
	}
	w = get(path, "Range", "bytes=5-9")
	if w.Code != 206 || w.Body.String() != "56789" || w.Header().Get("Content-Range") != "bytes 5-9/1000000" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	if w = get(path, "Range", "bytes=2000000-"); w.Code != 416 {
		t.Errorf("%d", w.Code)
	}
}

func TestReadOfAFileWithoutASize(t *testing.T) {
	want, err := os.ReadFile("/proc/version")
	if err != nil {
		t.Fatal(err)
	}
	if w := get("/proc/version"); w.Code != 200 || !bytes.Equal(w.Body.Bytes(), want) {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestListIsSortedAndTellsTypes(t *testing.T) {
	folder := t.TempDir()
	err := errors.Join(
		os.Mkdir(folder+"/d", 0o750), os.WriteFile(folder+"/b", []byte("123"), 0o604), os.Symlink("b", folder+"/a"),
		syscall.Mkfifo(folder+"/c", 0o644), os.WriteFile(folder+"/e\xff", nil, 0o644))
	if err != nil {
		t.Fatal(err)
	}
	w, r := request("GET", folder, nil)
	List(w, r)
	var answer struct {
		Path    string
		Entries []listed
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Path != folder {
		t.Fatalf("%v %s", err, w.Body)
	}
	var rows []string
	for _, one := range answer.Entries {
		rows = append(rows, strings.Join([]string{one.Name, one.Type, one.Mode}, " "))
		if !strings.HasSuffix(one.ModifiedAt, "Z") || len(one.ModifiedAt) != len("2006-01-02T15:04:05.000Z") {
			t.Errorf("%s", one.ModifiedAt)
		}
	}
	if got := strings.Join(rows, ", "); got != "a symlink 0777, b file 0604, c other 0644, d directory 0750, e\ufffd file 0644" {
		t.Errorf("%s", got)
	}
	if answer.Entries[1].Size != 3 {
		t.Errorf("%+v", answer.Entries[1])
	}
	empty := t.TempDir()
	w, r = request("GET", empty, nil)
	List(w, r)
	if want := `{"path":"` + empty + `","entries":[],"truncated":false,"deeper":false}`; w.Body.String() != want {
		t.Errorf("%s", w.Body)
	}
}
