package files

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico.dev/agent/internal/proto"
)

// archived makes a tar of heads, of which a file's content is its Linkname's place in body.
func archived(t *testing.T, heads ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, head := range heads {
		text := ""
		if head.Typeflag == tar.TypeReg {
			text, head.Linkname = head.Linkname, ""
			head.Size = int64(len(text))
		}
		if head.Mode == 0 {
			head.Mode = 0o644
		}
		must(t, w.WriteHeader(head))
		_, err := io.WriteString(w, text)
		must(t, err)
	}
	must(t, w.Close())
	return out.Bytes()
}

func TestArchiveGoesDownAndUp(t *testing.T) {
	folder := t.TempDir()
	stamp := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	long := strings.Repeat("d", 200) + "/" + strings.Repeat("f", 200)
	tree := folder + "/tree"
	save(t, tree+"/"+long, "long")
	save(t, tree+"/odd\n\xff", "odd")
	save(t, tree+"/own", "own")
	save(t, tree+"/empty", "")
	must(t, os.Chown(tree+"/own", 1, 4321), os.Chmod(tree+"/own", 0o755|os.ModeSetuid), os.Chtimes(tree+"/own", stamp, stamp),
		os.Symlink("../../etc", tree+"/link"), os.Symlink("bad\xfe", tree+"/link2"), os.Link(tree+"/own", tree+"/same"), syscall.Mkfifo(tree+"/pipe", 0o600),
		os.Truncate(tree+"/empty", 3<<20), syscall.Mknod(tree+"/device", syscall.S_IFCHR|0o600, 0x103), os.Mkdir(tree+"/shut", 0o700), os.Chtimes(tree+"/shut", stamp, stamp))
	down := ask("GET", "/files/archive", at(tree), nil)
	if down.Code != 200 || down.Header().Get("Content-Type") != "application/x-tar" {
		t.Fatalf("%d %v", down.Code, down.Header())
	}
	zipped := bytes.Buffer{}
	z := gzip.NewWriter(&zipped)
	_, err := z.Write(down.Body.Bytes())
	must(t, err, z.Close())
	for name, body := range map[string][]byte{"/plain/new": down.Body.Bytes(), "/gzip": zipped.Bytes()} {
		to := folder + name
		got := fine[struct {
			OK      bool
			Entries int
			Bytes   int64
		}](t, ask("PUT", "/files/archive", at(to), bytes.NewReader(body)))
		if !got.OK || got.Entries != 11 || got.Bytes != 3<<20+4+3+3 {
			t.Errorf("%+v", got)
		}
		own := systemOf(t, to+"/own")
		if own.Uid != 1 || own.Gid != 4321 || own.Mode&0o7777 != 0o4755 || own.Mtim.Sec != stamp.Unix() || own.Ino != systemOf(t, to+"/same").Ino {
			t.Errorf("%+v", own)
		}
		if text, _ := written(t, to+"/"+long); text != "long" {
			t.Errorf("%q", text)
		}
		if text, _ := written(t, to+"/odd\n\xff"); text != "odd" {
			t.Errorf("%q", text)
		}
		link, _ := os.Readlink(to + "/link")
		odd, _ := os.Readlink(to + "/link2")
		if link != "../../etc" || odd != "bad\xfe" || systemOf(t, to+"/pipe").Mode != syscall.S_IFIFO|0o600 || systemOf(t, to+"/device").Rdev != 0x103 {
			t.Errorf("%q %q", link, odd)
		}
		if shut := systemOf(t, to+"/shut"); shut.Mtim.Sec != stamp.Unix() || shut.Mode&0o7777 != 0o700 {
			t.Errorf("%+v", shut)
		}
	}
}

func TestArchiveOfAFile(t *testing.T) {
	folder := t.TempDir()
	save(t, folder+"/f", "text")
	r := tar.NewReader(ask("GET", "/files/archive", at(folder+"/f"), nil).Body)
	head, err := r.Next()
	must(t, err)
	if text, _ := io.ReadAll(r); head.Name != "f" || string(text) != "text" {
		t.Errorf("%+v", head)
	}
	refused(t, ask("GET", "/files/archive", at(folder+"/none"), nil), proto.CodeFileNotFound)
	refused(t, ask("GET", "/files/archive", at("/dev/null"), nil), proto.CodeConflict)
}

func TestArchiveWritesNothingOutside(t *testing.T) {
	for name, row := range map[string]struct {
		heads []*tar.Header
		code  string
	}{
		"absolute": {[]*tar.Header{{Typeflag: tar.TypeReg, Name: "/x"}}, proto.CodeInvalidPath},
		"up":       {[]*tar.Header{{Typeflag: tar.TypeReg, Name: "a/../../x"}}, proto.CodeInvalidPath},
		"its link": {[]*tar.Header{{Typeflag: tar.TypeSymlink, Name: "l", Linkname: ".."}, {Typeflag: tar.TypeReg, Name: "l/x"}}, proto.CodeInvalidPath},
		"absolute link": {[]*tar.Header{{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "/tmp"}, {Typeflag: tar.TypeReg, Name: "l/x"}},
			proto.CodeInvalidPath},
		"link of links": {[]*tar.Header{{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "."}, {Typeflag: tar.TypeSymlink, Name: "b", Linkname: "a/.."},
			{Typeflag: tar.TypeDir, Name: "b/x"}}, proto.CodeInvalidPath},
		"link there":      {[]*tar.Header{{Typeflag: tar.TypeReg, Name: "out/x"}}, proto.CodeInvalidPath},
		"hard link":       {[]*tar.Header{{Typeflag: tar.TypeLink, Name: "h", Linkname: "../secret"}}, proto.CodeInvalidPath},
		"hard link there": {[]*tar.Header{{Typeflag: tar.TypeLink, Name: "h", Linkname: "out/secret"}}, proto.CodeInvalidPath},
		"loop":            {[]*tar.Header{{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "l"}, {Typeflag: tar.TypeReg, Name: "l/x"}}, proto.CodeInvalidPath},
	} {
		folder := t.TempDir()
		save(t, folder+"/secret", "secret")
		must(t, os.Mkdir(folder+"/in", 0o755), os.Symlink("..", folder+"/in/out"))
		refused(t, ask("PUT", "/files/archive", at(folder+"/in"), bytes.NewReader(archived(t, row.heads...))), row.code)
		if names := namesIn(t, folder); len(names) != 2 || isThere(folder+"/in/h") {
			t.Errorf("%s: %v", name, names)
		}
	}
}

func TestArchiveReplacesFilesAndLinksAndNotWhatTheyLeadTo(t *testing.T) {
	folder := t.TempDir()
	save(t, folder+"/secret", "secret")
	must(t, os.Mkdir(folder+"/in", 0o755), os.Symlink("../secret", folder+"/in/f"), os.Mkdir(folder+"/in/real", 0o755), os.Symlink("real", folder+"/in/inner"))
	did(t, ask("PUT", "/files/archive", at(folder+"/in"), bytes.NewReader(archived(t,
		&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o700},
		&tar.Header{Typeflag: tar.TypeReg, Name: "./f", Linkname: "new"}, &tar.Header{Typeflag: tar.TypeReg, Name: "inner/x", Linkname: "x"}))))
	if text, _ := written(t, folder+"/secret"); text != "secret" {
		t.Errorf("%q", text)
	}
	if text, _ := written(t, folder+"/in/f"); text != "new" {
		t.Errorf("%q", text)
	}
	if text, _ := written(t, folder+"/in/real/x"); text != "x" || systemOf(t, folder+"/in").Mode&0o777 != 0o755 {
		t.Errorf("%q", text)
	}
	refused(t, ask("PUT", "/files/archive", at(folder+"/in"), bytes.NewReader(archived(t, &tar.Header{Typeflag: tar.TypeReg, Name: "real"}))), proto.CodeIsDirectory)
	refused(t, ask("PUT", "/files/archive", at(folder+"/secret"), bytes.NewReader(archived(t))), proto.CodeNotDirectory)
}

func TestArchivesThatAreNone(t *testing.T) {
	whole := archived(t, &tar.Header{Typeflag: tar.TypeReg, Name: "f", Linkname: strings.Repeat("x", 5000)})
	for name, body := range map[string]string{
		"empty": "", "text": strings.Repeat("no tar ", 200), "cut": string(whole[:3000]), "gzip": "\x1f\x8bnothing",
	} {
		w := ask("PUT", "/files/archive", at(t.TempDir()), strings.NewReader(body))
		if got := code(t, w); got != proto.CodeInvalidRequest {
			t.Errorf("%s: %s", name, w.Body)
		}
	}
	w := ask("PUT", "/files/archive", at(t.TempDir()), io.MultiReader(bytes.NewReader(whole[:3000]), &breakingOff{0}))
	refused(t, w, proto.CodeCancelled)
	full := t.TempDir()
	must(t, syscall.Mount("tmpfs", full, "tmpfs", 0, "size=64k"))
	defer func() { _ = syscall.Unmount(full, syscall.MNT_DETACH) }()
	big := archived(t, &tar.Header{Typeflag: tar.TypeReg, Name: "f", Linkname: strings.Repeat("x", 1<<20)})
	refused(t, ask("PUT", "/files/archive", at(full), bytes.NewReader(big)), proto.CodeNoSpace)
}

func TestArchiveIsLeftWhenItsCallerGoes(t *testing.T) {
	folder := t.TempDir()
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write(archived(t, &tar.Header{Typeflag: tar.TypeReg, Name: "f", Linkname: strings.Repeat("x", 32<<20)}))
	must(t, err, z.Close())
	over, leave := context.WithCancel(context.Background())
	r := httptest.NewRequest("PUT", "/files/archive?"+at(folder).Encode(), &leaving{&zipped, leave}).WithContext(over)
	w := httptest.NewRecorder()
	routes["/files/archive"]["PUT"](w, r)
	refused(t, w, proto.CodeCancelled)
	if status, err := os.Stat(folder + "/f"); err == nil && status.Size() == 32<<20 {
		t.Error("it was unpacked to its end")
	}
}

// leaving is a body whose sender leaves when it is read.
type leaving struct {
	io.Reader
	leave func()
}

func (l *leaving) Read(b []byte) (int, error) {
	l.leave()
	return l.Reader.Read(b)
}

func TestWhatAnArchiveNamesIsRememberedInBounds(t *testing.T) {
	names := map[string]int{}
	id := known(names, strings.Repeat("n", maxAccount+1), 4321, func() (string, error) { t.Error("looked up"); return "0", nil })
	if id != 4321 || len(names) > 0 {
		t.Errorf("%d, %d names", id, len(names))
	}
	folder, err := os.Open(t.TempDir())
	must(t, err)
	defer func() { _ = folder.Close() }()
	u := &unpacker{root: int(folder.Fd()), users: names, groups: names, spent: maxFolderTimes - folderTimeCost - 1}
	for _, name := range []string{"a", "b"} {
		head := &tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o700, Uid: unchanged, Gid: unchanged}
		must(t, u.makeFolder(head, name, u.root, name, false, false))
	}
	if len(u.folders) != 1 || !isThere(folder.Name()+"/b") {
		t.Errorf("%+v", u.folders)
	}
}
