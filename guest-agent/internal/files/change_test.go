package files

import (
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico.dev/agent/internal/proto"
)

func systemOf(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	var status syscall.Stat_t
	must(t, syscall.Lstat(path, &status))
	return &status
}

func TestRemove(t *testing.T) {
	folder := t.TempDir()
	remove := func(path string, more ...string) *httptest.ResponseRecorder {
		return ask("DELETE", "/files", at(folder+path, more...), nil)
	}
	save(t, folder+"/tree/a/b/c", "")
	save(t, folder+"/kept/file", "")
	must(t, os.Symlink("../kept", folder+"/tree/link"), os.Symlink("kept", folder+"/link"), os.Mkdir(folder+"/empty", 0o755), os.Mkdir(folder+"/tree/a/shut", 0))
	refused(t, remove("/tree"), proto.CodeConflict)
	did(t, remove("/empty"))
	did(t, remove("/tree", "recursive", "true"))
	did(t, remove("/link/", "recursive", "true"))
	if isThere(folder+"/tree") || isThere(folder+"/link") || !isThere(folder+"/kept/file") {
		t.Errorf("left: %v", namesIn(t, folder))
	}
	refused(t, remove("/kept/file/"), proto.CodeNotDirectory)
	did(t, remove("/kept/file"))
	refused(t, remove("/none", "recursive", "true"), proto.CodeFileNotFound)
	refused(t, remove("/kept/.", "recursive", "true"), proto.CodeInvalidPath)
	refused(t, remove("/kept", "recursive", "yes"), proto.CodeInvalidRequest)
	refused(t, ask("DELETE", "/files", at("/", "recursive", "true"), nil), proto.CodeInvalidPath)
}

func TestWhatIsMountedIsNotRemoved(t *testing.T) {
	folder := t.TempDir()
	save(t, folder+"/tree/mounted/x", "")
	must(t, syscall.Mount("tmpfs", folder+"/tree/mounted", "tmpfs", 0, ""))
	defer func() { _ = syscall.Unmount(folder+"/tree/mounted", syscall.MNT_DETACH) }()
	save(t, folder+"/tree/mounted/kept", "")
	for _, path := range []string{"/tree", "/tree/mounted"} {
		refused(t, ask("DELETE", "/files", at(folder+path, "recursive", "true"), nil), proto.CodeConflict)
	}
	if !isThere(folder + "/tree/mounted/kept") {
		t.Error("it is gone")
	}
}

func TestMkdir(t *testing.T) {
	folder := t.TempDir()
	save(t, folder+"/file", "")
	refused(t, post("/files/mkdir", "path", folder+"/a/b"), proto.CodeFileNotFound)
	did(t, post("/files/mkdir", "path", folder+"/a/b", "parents", true, "mode", "1770"))
	if mode := systemOf(t, folder+"/a/b").Mode & 0o7777; mode != 0o1770 {
		t.Errorf("%o", mode)
	}
	if mode := systemOf(t, folder+"/a").Mode & 0o7777; mode != 0o755 {
		t.Errorf("%o", mode)
	}
	did(t, post("/files/mkdir", "path", folder+"/a/b/", "parents", true, "mode", "700"))
	if mode := systemOf(t, folder+"/a/b").Mode & 0o7777; mode != 0o1770 {
		t.Errorf("one that was there has changed: %o", mode)
	}
	refused(t, post("/files/mkdir", "path", folder+"/a/b"), proto.CodeConflict)
	refused(t, post("/files/mkdir", "path", folder+"/file", "parents", true), proto.CodeConflict)
	refused(t, post("/files/mkdir", "path", folder+"/file/x", "parents", true), proto.CodeNotDirectory)
	refused(t, post("/files/mkdir", "path", folder+"/x", "mode", "9"), proto.CodeInvalidRequest)
	did(t, post("/files/mkdir", "path_base64", coded(folder+"/\xff")))
}

func TestChmodAndChown(t *testing.T) {
	folder := t.TempDir()
	save(t, folder+"/tree/a/file", "")
	save(t, folder+"/outside", "")
	must(t, os.Symlink("../outside", folder+"/tree/link"), os.Symlink("tree/a/file", folder+"/to"))
	did(t, post("/files/chmod", "path", folder+"/tree", "mode", "0711", "recursive", true))
	if systemOf(t, folder+"/tree/a/file").Mode&0o7777 != 0o711 || systemOf(t, folder+"/tree").Mode&0o7777 != 0o711 || systemOf(t, folder+"/outside").Mode&0o7777 != 0o644 {
		t.Error("not all, or what is outside")
	}
	did(t, post("/files/chmod", "path", folder+"/to", "mode", "4600"))
	if systemOf(t, folder+"/tree/a/file").Mode&0o7777 != 0o4600 {
		t.Error("the link was not followed")
	}
	refused(t, post("/files/chmod", "path", folder+"/to", "mode", "888"), proto.CodeInvalidRequest)
	refused(t, post("/files/chmod", "path", folder+"/to"), proto.CodeInvalidRequest)
	refused(t, post("/files/chmod", "path", folder+"/none", "mode", "600"), proto.CodeFileNotFound)

	did(t, post("/files/chown", "path", folder+"/tree", "owner", "daemon", "group", "1234", "recursive", true))
	for path, want := range map[string][2]uint32{"/tree": {1, 1234}, "/tree/a/file": {1, 1234}, "/tree/link": {1, 1234}, "/outside": {0, 0}} {
		if got := systemOf(t, folder+path); got.Uid != want[0] || got.Gid != want[1] {
			t.Errorf("%s: %d:%d", path, got.Uid, got.Gid)
		}
	}
	did(t, post("/files/chown", "path", folder+"/tree/link", "group", "daemon"))
	if got := systemOf(t, folder+"/tree/link"); got.Uid != 1 || got.Gid != 1 {
		t.Errorf("%d:%d", got.Uid, got.Gid)
	}
	refused(t, post("/files/chown", "path", folder+"/tree"), proto.CodeInvalidRequest)
	refused(t, post("/files/chown", "path", folder+"/tree", "owner", "nobody-knows"), proto.CodeInvalidRequest)
	refused(t, post("/files/chown", "path", folder+"/tree", "owner", "4294967295"), proto.CodeInvalidRequest)
	if w := put(folder+"/owned", "x", "owner", "daemon", "group", "7", "mode", "4755"); w.Code != 200 {
		t.Fatal(w.Body)
	}
	if got := systemOf(t, folder+"/owned"); got.Uid != 1 || got.Gid != 7 || got.Mode&0o7777 != 0o4755 {
		t.Errorf("%d:%d %o", got.Uid, got.Gid, got.Mode)
	}
}

func TestMove(t *testing.T) {
	folder := t.TempDir()
	move := func(from, to string, more ...any) *httptest.ResponseRecorder {
		return post("/files/move", append([]any{"source", folder + from, "destination", folder + to}, more...)...)
	}
	save(t, folder+"/a", "a")
	save(t, folder+"/b", "b")
	save(t, folder+"/d/e", "e")
	must(t, os.Symlink("nowhere", folder+"/link"), os.Link(folder+"/b", folder+"/b2"), os.Mkdir(folder+"/empty", 0o755))
	did(t, move("/a", "/new/parent/a"))
	refused(t, move("/new/parent/a", "/b", "overwrite", false), proto.CodeConflict)
	refused(t, move("/new/parent/a", "/d"), proto.CodeConflict)
	refused(t, move("/d", "/empty"), proto.CodeConflict)
	refused(t, move("/d", "/d/e/f"), proto.CodeNotDirectory)
	refused(t, move("/d", "/d/f"), proto.CodeInvalidPath)
	refused(t, move("/none", "/x"), proto.CodeFileNotFound)
	refused(t, move("/b", "/x/"), proto.CodeIsDirectory)
	did(t, move("/b", "/./b", "overwrite", false))
	did(t, move("/b", "/b2"))
	if isThere(folder+"/b") || !isThere(folder+"/b2") {
		t.Error("two names of one file")
	}
	did(t, move("/link", "/new/parent/a"))
	if target, _ := os.Readlink(folder + "/new/parent/a"); target != "nowhere" {
		t.Error(target)
	}
	did(t, move("/d", "/b2"))
	if text, _ := written(t, folder+"/b2/e"); text != "e" || isThere(folder+"/d") {
		t.Errorf("a directory in a file's place: %q", text)
	}
	did(t, post("/files/move", "source_base64", coded(folder+"/b2/e"), "destination_base64", coded(folder+"/b2/\xff\n")))
	if text, _ := written(t, folder+"/b2/\xff\n"); text != "e" {
		t.Error(text)
	}
	refused(t, post("/files/move", "source", folder+"/b2"), proto.CodeInvalidPath)
}

func TestMoveAcrossFileSystems(t *testing.T) {
	folder, other := t.TempDir(), t.TempDir()
	must(t, syscall.Mount("tmpfs", other, "tmpfs", 0, "size=1m"))
	defer func() { _ = syscall.Unmount(other, syscall.MNT_DETACH) }()
	save(t, folder+"/tree/sub/file", "text")
	must(t, os.Symlink("file", folder+"/tree/sub/link"), os.Chmod(folder+"/tree/sub", 0o700))
	did(t, post("/files/move", "source", folder+"/tree", "destination", other+"/here/tree"))
	if text, _ := written(t, other+"/here/tree/sub/link"); text != "text" || isThere(folder+"/tree") || systemOf(t, other+"/here/tree/sub").Mode&0o7777 != 0o700 {
		t.Error(text)
	}
	save(t, folder+"/big", strings.Repeat("x", 2<<20))
	save(t, other+"/before", "before")
	refused(t, post("/files/move", "source", folder+"/big", "destination", other+"/before"), proto.CodeNoSpace)
	if text, _ := written(t, other+"/before"); text != "before" || !isThere(folder+"/big") || len(namesIn(t, other)) != 2 {
		t.Errorf("%q, left: %v", text, namesIn(t, other))
	}
}

func TestCopyKeepsWhatATreeIs(t *testing.T) {
	folder := t.TempDir()
	stamp := time.Date(2020, 1, 2, 3, 4, 5, 678_901_234, time.UTC)
	save(t, folder+"/tree/sub/file", "text")
	must(t, os.Chown(folder+"/tree/sub/file", 5, 6), os.Chmod(folder+"/tree/sub/file", 0o755|os.ModeSetuid),
		os.Chtimes(folder+"/tree/sub/file", stamp, stamp), os.Link(folder+"/tree/sub/file", folder+"/tree/same"),
		os.Symlink("/tree/sub", folder+"/tree/link"), syscall.Mkfifo(folder+"/tree/pipe", 0o640),
		os.Chmod(folder+"/tree/sub", 0o711), os.Chtimes(folder+"/tree/sub", stamp, stamp))
	refused(t, post("/files/copy", "source", folder+"/tree", "destination", folder+"/copy"), proto.CodeIsDirectory)
	did(t, post("/files/copy", "source", folder+"/tree", "destination", folder+"/new/copy", "recursive", true))
	copied := folder + "/new/copy"
	file := systemOf(t, copied+"/sub/file")
	if text, _ := written(t, copied+"/sub/file"); text != "text" || file.Uid != 5 || file.Gid != 6 || file.Mode&0o7777 != 0o4755 || file.Mtim.Nano() != stamp.UnixNano() {
		t.Errorf("%q %+v", text, file)
	}
	if systemOf(t, copied+"/same").Ino != file.Ino || file.Ino == systemOf(t, folder+"/tree/same").Ino {
		t.Error("names of one file")
	}
	if sub := systemOf(t, copied+"/sub"); sub.Mode&0o7777 != 0o711 || sub.Mtim.Nano() != stamp.UnixNano() {
		t.Errorf("%+v", sub)
	}
	if target, _ := os.Readlink(copied + "/link"); target != "/tree/sub" {
		t.Error(target)
	}
	if pipe := systemOf(t, copied+"/pipe"); pipe.Mode != syscall.S_IFIFO|0o640 {
		t.Errorf("%o", pipe.Mode)
	}
	refused(t, post("/files/copy", "source", folder+"/tree", "destination", copied, "recursive", true), proto.CodeConflict)
	refused(t, post("/files/copy", "source", folder+"/tree", "destination", folder+"/tree/sub/in", "recursive", true), proto.CodeInvalidPath)
	refused(t, post("/files/copy", "source", folder+"/tree/same", "destination", folder+"/tree/same"), proto.CodeConflict)
	refused(t, post("/files/copy", "source", folder+"/tree/same", "destination", copied+"/pipe", "overwrite", false), proto.CodeConflict)
	did(t, post("/files/copy", "source", folder+"/tree/same", "destination", copied+"/pipe"))
	if names := namesIn(t, folder+"/new"); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
	did(t, post("/files/copy", "source", "/proc/version", "destination", folder+"/version"))
	if text, _ := written(t, folder+"/version"); !strings.HasPrefix(text, "Linux") {
		t.Error(text)
	}
}

func TestCopyLeavesHolesOut(t *testing.T) {
	folder := t.TempDir()
	file, err := os.Create(folder + "/sparse")
	must(t, err)
	_, err = file.WriteAt([]byte("middle"), 512<<20)
	must(t, err)
	_, err = file.WriteAt([]byte("start"), 0)
	must(t, err, file.Truncate(1<<30), file.Close())
	did(t, post("/files/copy", "source", folder+"/sparse", "destination", folder+"/copy"))
	status := systemOf(t, folder+"/copy")
	if status.Size != 1<<30 || status.Blocks*512 > 1<<20 {
		t.Errorf("%+v", status)
	}
	read, err := os.Open(folder + "/copy")
	must(t, err)
	defer func() { _ = read.Close() }()
	text := make([]byte, 8)
	if _, err := read.ReadAt(text, 0); err != nil || string(text) != "start\x00\x00\x00" {
		t.Errorf("%q", text)
	}
	if _, err := read.ReadAt(text, 512<<20-1); err != nil || string(text) != "\x00middle\x00" {
		t.Errorf("%q", text)
	}
}

func TestRangesGoOnOnlyOfTheSameFile(t *testing.T) {
	path := t.TempDir() + "/f"
	put(path, "0123456789")
	tag := get(path).Header().Get("ETag")
	if w := get(path, "Range", "bytes=5-", "If-Range", tag); tag == "" || w.Code != 206 || w.Body.String() != "56789" {
		t.Errorf("%q: %d %s", tag, w.Code, w.Body)
	}
	put(path, "abcdefghij")
	if w := get(path, "Range", "bytes=5-", "If-Range", tag); w.Code != 200 || w.Body.String() != "abcdefghij" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
