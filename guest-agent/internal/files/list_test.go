package files

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico.dev/agent/internal/proto"
)

func namesOf(l listing) string {
	var all []string
	for _, one := range l.Entries {
		all = append(all, one.Name)
	}
	return strings.Join(all, " ")
}

func TestListOfSeveralLevelsTellsTheUpperOnesFirst(t *testing.T) {
	folder := t.TempDir()
	save(t, folder+"/src/deep/er/z", "")
	save(t, folder+"/src/main.py", "12345")
	save(t, folder+"/a", "")
	must(t, os.Symlink(".", folder+"/loop"))
	for _, row := range []struct {
		depth, limit, names string
		truncated, deeper   bool
	}{
		{"1", "", "a loop src", false, true},
		{"2", "", "a loop src src/deep src/main.py", false, true},
		{"4", "", "a loop src src/deep src/main.py src/deep/er src/deep/er/z", false, false},
		{"4", "4", "a loop src src/deep", true, false},
		{"4", "7", "a loop src src/deep src/main.py src/deep/er src/deep/er/z", false, false},
		{"", "2", "a loop", true, false},
	} {
		values := at(folder)
		if row.depth != "" {
			values.Set("depth", row.depth)
		}
		if row.limit != "" {
			values.Set("limit", row.limit)
		}
		got := fine[listing](t, ask("GET", "/files/list", values, nil))
		if namesOf(got) != row.names || got.Truncated != row.truncated || got.Deeper != row.deeper {
			t.Errorf("%+v: %s %v %v", row, namesOf(got), got.Truncated, got.Deeper)
		}
	}
	got := fine[listing](t, ask("GET", "/files/list", at(folder, "depth", "2"), nil))
	if one := got.Entries[4]; one.Size != 5 || one.IsDir || one.Type != "file" || one.Mode != "0644" {
		t.Errorf("%+v", one)
	}
	if one := got.Entries[3]; !one.IsDir || one.Type != "directory" {
		t.Errorf("%+v", one)
	}
	for _, bad := range []string{"0", "-1", "x", "1001"} {
		refused(t, ask("GET", "/files/list", at(folder, "depth", bad), nil), proto.CodeInvalidRequest)
	}
	refused(t, ask("GET", "/files/list", at(folder, "limit", "0"), nil), proto.CodeInvalidRequest)
}

func TestNamesOfAnyBytes(t *testing.T) {
	folder := t.TempDir()
	odd := []string{"new\nline", "bad\xff\xfe", "quo\"te\\", "sp ace", "\u2028é😀", "-rf", strings.Repeat("n", 255)}
	for _, name := range odd {
		if w := ask("PUT", "/files", map[string][]string{"path_base64": {coded(folder + "/" + name)}}, strings.NewReader(name)); w.Code != 200 {
			t.Fatal(w.Body)
		}
		if text, _ := written(t, folder+"/"+name); text != name {
			t.Errorf("%q holds %q", name, text)
		}
		if w := ask("GET", "/files", map[string][]string{"path_base64": {coded(folder + "/" + name)}}, nil); w.Body.String() != name {
			t.Errorf("%q reads %s", name, w.Body)
		}
	}
	got := fine[listing](t, ask("GET", "/files/list", at(folder), nil))
	told := map[string]bool{}
	for _, one := range got.Entries {
		name := one.Name
		if one.NameBase64 != "" {
			bytes, failure := pathOf(nil, &[]string{coded("/" + "bad\xff\xfe")}[0], "path")
			if failure != nil || one.NameBase64 != coded(bytes[1:]) || one.Name != "bad\ufffd\ufffd" {
				t.Errorf("%+v", one)
			}
			name = "bad\xff\xfe"
		}
		told[name] = true
	}
	for _, name := range odd {
		if !told[name] {
			t.Errorf("%q is not told", name)
		}
	}
	bad := folder + "/bad\xff\xfe"
	d := fine[described](t, ask("GET", "/files/stat", map[string][]string{"path_base64": {coded(bad)}}, nil))
	if d.PathBase64 != coded(bad) || d.Size != int64(len(odd[1])) {
		t.Errorf("%+v", d)
	}
	refused(t, ask("GET", "/files/stat", map[string][]string{"path": {"/a"}, "path_base64": {coded("/a")}}, nil), proto.CodeInvalidRequest)
	refused(t, ask("GET", "/files/stat", map[string][]string{"path_base64": {"?"}}, nil), proto.CodeInvalidRequest)
	refused(t, ask("GET", "/files/stat", map[string][]string{"path_base64": {coded("a")}}, nil), proto.CodeInvalidPath)
}

func TestListOfManyEntries(t *testing.T) {
	const many = 10_000
	folder := t.TempDir()
	for i := range many + 1 {
		fd, err := syscall.Open(fmt.Sprintf("%s/file-%05d", folder, i), syscall.O_CREAT|syscall.O_WRONLY, 0o644)
		must(t, err)
		_ = syscall.Close(fd)
	}
	begun := time.Now()
	w := ask("GET", "/files/list", at(folder, "depth", "1"), nil)
	t.Logf("%d entries, %d bytes in %v", many, w.Body.Len(), time.Since(begun))
	got := fine[listing](t, w)
	if len(got.Entries) != many || !got.Truncated || got.Entries[many-1].Name != "file-09999" {
		t.Errorf("%d %v", len(got.Entries), got.Truncated)
	}
	if got = fine[listing](t, ask("GET", "/files/list", at(folder), nil)); len(got.Entries) != many+1 || got.Truncated {
		t.Errorf("%d %v", len(got.Entries), got.Truncated)
	}
}

func TestStatAndExists(t *testing.T) {
	folder := t.TempDir()
	save(t, folder+"/script.sh", "#!/bin/sh\n")
	must(t, os.Chmod(folder+"/script.sh", 0o755), os.Symlink("nowhere", folder+"/link"), os.Symlink("loop", folder+"/loop"))
	stamp := time.Date(2024, 5, 11, 10, 0, 0, 250_000_000, time.UTC)
	must(t, os.Chtimes(folder+"/script.sh", stamp, stamp), os.Chown(folder+"/script.sh", 1, 54_321))
	d := fine[described](t, ask("GET", "/files/stat", at(folder+"/script.sh"), nil))
	if d.Name != "script.sh" || d.Path != folder+"/script.sh" || d.Size != 10 || d.ModifiedAt != "2024-05-11T10:00:00.250Z" || d.IsDir ||
		d.Permissions != "755" || d.Owner != "daemon" || d.Group != "54321" || d.UID != 1 || d.GID != 54321 || d.SymlinkTarget != "" || d.Type != "file" {
		t.Errorf("%+v", d)
	}
	if d = fine[described](t, ask("GET", "/files/stat", at(folder+"/link"), nil)); d.Type != "symlink" || d.SymlinkTarget != "nowhere" {
		t.Errorf("%+v", d)
	}
	if d = fine[described](t, ask("GET", "/files/stat", at("/"), nil)); d.Name != "/" || !d.IsDir {
		t.Errorf("%+v", d)
	}
	must(t, os.Truncate(folder+"/script.sh", 1<<30))
	if d = fine[described](t, ask("GET", "/files/stat", at(folder+"/script.sh"), nil)); d.Size != 1<<30 || d.Allocated > 1<<20 {
		t.Errorf("%+v", d)
	}
	refused(t, ask("GET", "/files/stat", at(folder+"/none"), nil), proto.CodeFileNotFound)
	for path, want := range map[string]string{
		"": `{"entry_type":"directory","exists":true}`, "/script.sh": `{"entry_type":"file","exists":true}`, "/loop": `{"entry_type":"symlink","exists":true}`,
		"/none": `{"exists":false}`, "/none/below": `{"exists":false}`, "/script.sh/below": `{"exists":false}`,
	} {
		if w := ask("GET", "/files/exists", at(folder+path), nil); w.Body.String() != want {
			t.Errorf("%s: %s", path, w.Body)
		}
	}
	refused(t, ask("GET", "/files/exists", at(folder+"/loop/x"), nil), proto.CodeInvalidPath)
}
