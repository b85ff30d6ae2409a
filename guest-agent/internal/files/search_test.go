package files

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"portico.dev/agent/internal/proto"
)

type result struct {
	Matches       []match
	Truncated     bool
	FilesSearched int `json:"files_searched"`
}

func (r result) String() string {
	var rows []string
	for _, one := range r.Matches {
		rows = append(rows, fmt.Sprintf("%s:%d:%d:%s", one.Path[strings.LastIndexByte(one.Path, '/')+1:], one.Line, one.Column, one.Text))
	}
	return strings.Join(rows, " | ")
}

func TestSearch(t *testing.T) {
	folder := t.TempDir()
	save(t, folder+"/a.py", "import os\nx = TODO.y\r\n\n# todo later TODO")
	save(t, folder+"/sub/b.txt", "TODO.\nnothing\nTODO\n")
	save(t, folder+"/sub/binary.py", "TODO\x00")
	save(t, folder+"/sub/large", "TODO"+strings.Repeat("-", 5000))
	save(t, folder+"/sub/c\xff.py", "\xffTODO\n")
	must(t, os.Symlink(".", folder+"/loop"), os.Symlink("a.py", folder+"/link.py"), syscall.Mkfifo(folder+"/pipe", 0o644))
	for _, row := range []struct {
		want   string
		fields []any
	}{
		{"a.py:2:5:x = TODO.y | b.txt:1:1:TODO.", []any{"pattern", "TODO.", "literal", true}},
		{"a.py:2:5:x = TODO.y | b.txt:1:1:TODO.", []any{"pattern", `TODO\.`}},
		{"a.py:4:3:# todo later TODO", []any{"pattern", "todo", "literal", true}},
		{"a.py:2:5:x = TODO.y | a.py:4:3:# todo later TODO | c\ufffd.py:1:2:\ufffdTODO", []any{"pattern", "todo", "literal", true, "ignore_case", true, "glob", "*.py"}},
		{"a.py:2:9:x = TODO.y", []any{"pattern", `\.y$`}},
		{"a.py:1:1:import os", []any{"pattern", `^i\w+ os`}},
		{"a.py:3:1:", []any{"pattern", `^$`}},
		{"a.py:4:3:# todo later TODO", []any{"pattern", `t?(odo )+later|none`}},
		{"a.py:4:4:# todo later TODO", []any{"pattern", `[a-z]do (later )TO`}},
		{"c\ufffd.py:1:1:\ufffdTODO", []any{"pattern", "\ufffdTO"}},
		{"b.txt:3:1:TODO", []any{"pattern", `^TODO$`, "glob", "b.*"}},
	} {
		got := fine[result](t, post("/files/search", append(row.fields, "path", folder, "max_file_bytes", 4096)...))
		if got.String() != row.want || got.Truncated {
			t.Errorf("%v: %s", row.fields, got)
		}
	}
	got := fine[result](t, post("/files/search", "path", folder, "pattern", "TODO", "max_results", 2))
	if got.String() != "a.py:2:5:x = TODO.y | a.py:4:14:# todo later TODO" || !got.Truncated {
		t.Errorf("%s %v", got, got.Truncated)
	}
	if got = fine[result](t, post("/files/search", "path", folder+"/link.py", "pattern", "import")); got.String() != "link.py:1:1:import os" || got.FilesSearched != 1 {
		t.Errorf("%s", got)
	}
	got = fine[result](t, post("/files/search", "path", folder+"/sub", "pattern", "TODO", "glob", "c*"))
	if len(got.Matches) != 1 || got.Matches[0].PathBase64 != coded(folder+"/sub/c\xff.py") {
		t.Errorf("%+v", got)
	}
	for _, bad := range [][]any{{"pattern", "("}, {"pattern", ""}, {"pattern", "x", "glob", "["}, {"pattern", "x", "max_results", 0}} {
		refused(t, post("/files/search", append(bad, "path", folder)...), proto.CodeInvalidRequest)
	}
	refused(t, post("/files/search", "path", folder+"/none", "pattern", "x"), proto.CodeFileNotFound)
	refused(t, post("/files/search", "path", folder+"/pipe", "pattern", "x"), proto.CodeConflict)
}

func TestSearchOfLongLinesAndManyBlocks(t *testing.T) {
	path := t.TempDir() + "/f"
	long := strings.Repeat("é", maxLine) + "NEEDLE\n"
	block := strings.Repeat("hay hay hay\n", 50_000)
	save(t, path, block+strings.Repeat("x", 5000)+" NEEDLE "+strings.Repeat("y", 5000)+"\n"+long+block+"NEEDLE end")
	got := fine[result](t, post("/files/search", "path", path, "pattern", "NEEDLE", "literal", true))
	if len(got.Matches) != 2 {
		t.Fatalf("%s", got)
	}
	if one := got.Matches[0]; one.Line != 50_001 || one.Column != 5002 || !strings.Contains(one.Text, "NEEDLE") || len(one.Text) != maxText {
		t.Errorf("%+v", one)
	}
	if one := got.Matches[1]; one.Line != 100_003 || one.Column != 1 || one.Text != "NEEDLE end" {
		t.Errorf("%+v", one)
	}
	if got = fine[result](t, post("/files/search", "path", path, "pattern", "[N]EEDLE (end)")); len(got.Matches) != 1 || got.Matches[0].Line != 100_003 {
		t.Errorf("%s", got)
	}
}

func TestSearchKeepsOutOfTheKernelsTrees(t *testing.T) {
	folder := t.TempDir()
	save(t, folder+"/file", "here")
	must(t, os.Mkdir(folder+"/proc", 0o755), syscall.Mount("proc", folder+"/proc", "proc", 0, ""))
	defer func() { _ = syscall.Unmount(folder+"/proc", syscall.MNT_DETACH) }()
	if got := fine[result](t, post("/files/search", "path", folder, "pattern", ".")); got.FilesSearched != 1 {
		t.Errorf("%d files", got.FilesSearched)
	}
}
