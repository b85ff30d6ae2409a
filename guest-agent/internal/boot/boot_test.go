package boot

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestPlanReadsInOrder(t *testing.T) {
	var plan []string
	for _, steps := range [][]step{kernelTrees, rootTrees("/dev/vda", "/dev/vdb"), userTrees, courtesies} {
		for _, one := range steps {
			plan = append(plan, one.String())
		}
	}
	t.Log(strings.Join(plan, "\n"))
	for _, pair := range [][2]string{
		{"mount erofs on /image", "mount overlay on /root.new"},
		{"make /scratch/upper", "mount overlay on /root.new"},
		{"mount overlay on /root.new", "move /dev to /root.new/dev"},
		{"move /sys to /root.new/sys", "mount cgroup2 on /sys/fs/cgroup"},
		{"mount tmpfs on /run", "make /run/lock"},
	} {
		first, second := slices.Index(plan, pair[0]), slices.Index(plan, pair[1])
		if first < 0 || second < 0 || first > second {
			t.Errorf("%q is not before %q", pair[0], pair[1])
		}
	}
}

func TestChannelIsTakenFromTheCommandLine(t *testing.T) {
	for line, want := range map[string]string{
		"":                            "portico.agent",
		"quiet reboot=t pci=off\n":    "portico.agent",
		"a portico.channel=other b\n": "other",
		"portico.channel=":            "portico.agent",
		"xportico.channel=x":          "portico.agent",
	} {
		if got := channelOf(line); got != want {
			t.Errorf("%q: %q", line, got)
		}
	}
}

func TestOnlyTheHostsWordLetsTheMachineWait(t *testing.T) {
	for line, want := range map[string]bool{"": false, "quiet portico.root=wait a\n": true, "portico.root=waits": false, "xportico.root=wait": false} {
		if got := waitsFor(line); got != want {
			t.Errorf("%q: %t", line, got)
		}
	}
}

func TestDisksAreFoundBySerial(t *testing.T) {
	class := t.TempDir()
	for name, serial := range map[string]string{"vda": "image", "vdb": "scratch\n", "loop0": ""} {
		if err := errors.Join(os.Mkdir(class+"/"+name, 0o755), os.WriteFile(class+"/"+name+"/serial", []byte(serial), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(disksBySerial(class)); got != "map[image:/dev/vda scratch:/dev/vdb]" {
		t.Error(got)
	}
}

func TestFilesAndLinksAreMadeOnlyWhereNothingIs(t *testing.T) {
	root := t.TempDir()
	if err := errors.Join(os.WriteFile(root+"/there", []byte("kept"), 0o644), os.Symlink("/run/nowhere", root+"/dangling")); err != nil {
		t.Fatal(err)
	}
	steps := []step{
		file{root + "/no/folder/yet", "new"},
		file{root + "/there", "new"}, file{root + "/dangling", "new"}, file{root + "/absent", "new"},
		link{"there", root + "/link"}, link{"absent", root + "/link"}, folder{root + "/a/b", 0o1777},
	}
	if err := doAll(steps); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"there": "kept", "dangling": "new", "absent": "new", "link": "kept"} {
		if text, err := os.ReadFile(root + "/" + name); string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if status, _ := os.Stat(root + "/a/b"); status.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("%v", status.Mode())
	}
}

func TestFailureNamesTheStep(t *testing.T) {
	err := doAll([]step{mount{"no-such-kind", "x", t.TempDir() + "/point", "", 0}})
	if err == nil || !strings.HasPrefix(err.Error(), "cannot mount no-such-kind on ") || !errors.Is(err, syscall.ENODEV) {
		t.Errorf("%v", err)
	}
	if err := loadModules(t.TempDir(), ""); err == nil || !strings.HasPrefix(err.Error(), "cannot read the list of modules") {
		t.Errorf("%v", err)
	}
}

func TestUptimeGrows(t *testing.T) {
	if first := Uptime(); first <= 0 || Uptime() < first {
		t.Errorf("%v", first)
	}
}

func TestSignatureIsCutOffAModule(t *testing.T) {
	signed := "code" + "signature" + "\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x09" + signatureMark
	for before, after := range map[string]string{
		signed: "code", "code": "code", "": "",
		"no signature of this length is there, but " + signatureMark: "no signature of this length is there, but " + signatureMark,
	} {
		path := t.TempDir() + "/module.ko"
		if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := cutSignature(file); err != nil {
			t.Error(err)
		}
		_ = file.Close()
		if text, _ := os.ReadFile(path); string(text) != after {
			t.Errorf("%q of %q", text, before)
		}
	}
}
