package container

// A container from outside: its folders, and its first process, which is this very program (init.go):
//
//	Start: folders ─▶ clone into new namespaces, in the scratch disk's folder ─▶ mounts, new root ─▶ program started ─▶ told
//
// All its mounts are in its own namespace and end with it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"unsafe"

	"portico.dev/agent/internal/process"
	"portico.dev/agent/internal/proto"
)

// Argument makes this program the first process of a container.
const Argument = "-container"

// Image is what a container starts from.
type Image struct {
	Digest  string            `json:"digest"`
	Env     map[string]string `json:"env"`
	Workdir string            `json:"workdir"`
}

// plan is what the first process is told.
type plan struct {
	Name    string            `json:"name"`
	Image   string            `json:"image"` // hex
	Env     map[string]string `json:"env"`   // the image's
	Program process.Program   `json:"program"`
}

// told is what it tells once, or nothing if it dies before.
type told struct {
	Failure string `json:"failure"`
}

const namespaces = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// Begun is a container whose first process runs.
type Begun struct {
	*process.Task
	report *os.File
}

// Begin starts the first process of a service's container. The program is not there before Await. Changes to another image than this one are
// dropped: they mean nothing on it.
func (s *Store) Begin(runner *process.Runner, name string, image Image, program process.Program, cgroup int, log *process.Log) (*Begun, error) {
	hex, failure := HexOf(image.Digest)
	if failure != nil {
		return nil, failure
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.folder == nil {
		return nil, errNoDisk
	}
	if !s.has(hex) {
		return nil, proto.Fail(proto.CodeImageUnknown, "its image is not in the sandbox: create the service again")
	}
	if err := s.makeFolders(name, hex); err != nil {
		return nil, proto.FailureOf(err, "cannot make the container's folders")
	}
	if program.Cwd == "" {
		program.Cwd = image.Workdir
	}
	orders, err := memoryFile(plan{name, hex, image.Env, program})
	if err != nil {
		return nil, proto.FailureOf(err, "cannot start the container")
	}
	defer func() { _ = orders.Close() }()
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		return nil, proto.FailureOf(err, "cannot start the container")
	}
	defer func() { _ = syscall.Close(ends[1]) }()
	_ = syscall.SetNonblock(ends[0], true)
	report := os.NewFile(uintptr(ends[0]), "report")
	entry := &process.Entry{Flags: namespaces, Folder: int(s.folder.Fd()), Files: []uintptr{orders.Fd(), uintptr(ends[1])}}
	first := &process.Program{Argv: []string{"/proc/self/exe", Argument, name}, Env: map[string]string{"GOMAXPROCS": "1"}}
	task, err := runner.StartTask(first, entry, cgroup, log)
	if err != nil {
		_ = report.Close()
		return nil, err
	}
	return &Begun{task, report}, nil
}

// Await returns once the program runs in the container, or with why it cannot. A first process that is killed ends it, and so does the context.
func (b *Begun) Await(over context.Context) error {
	defer func() { _ = b.report.Close() }()
	if deadline, limited := over.Deadline(); limited {
		_ = b.report.SetReadDeadline(deadline)
	}
	var said told
	if err := json.NewDecoder(b.report).Decode(&said); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return context.DeadlineExceeded
		}
		return proto.Fail(proto.CodeInternal, "its container ended before its program began")
	}
	if said.Failure != "" {
		return proto.Fail(proto.CodeServiceFailed, "%s", said.Failure)
	}
	return nil
}

func (s *Store) makeFolders(name, hex string) error {
	if entries, err := os.ReadDir(s.path("containers", name)); err == nil {
		for _, entry := range entries {
			if entry.Name() != hex && entry.Name() != "image" {
				if err := os.RemoveAll(s.path("containers", name, entry.Name())); err != nil {
					return err
				}
			}
		}
	}
	for _, folder := range []string{"image", hex + "/upper", hex + "/work"} {
		if err := os.MkdirAll(s.path("containers", name, folder), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Forget removes what a service's containers have written. None of them runs.
func (s *Store) Forget(name string) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.folder == nil {
		return nil
	}
	return os.RemoveAll(s.path("containers", name))
}

// Keep removes what others than these services' containers have written.
func (s *Store) Keep(names []string) error {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.folder == nil {
		return nil
	}
	entries, _ := os.ReadDir(s.path("containers"))
	for _, entry := range entries {
		if !slices.Contains(names, entry.Name()) {
			if err := os.RemoveAll(s.path("containers", entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// memoryFile holds a value as JSON, to be read from its beginning.
func memoryFile(value any) (*os.File, error) {
	const memfdCreate, closeOnExec = 319, 1
	name := [...]byte{'p', 'l', 'a', 'n', 0}
	fd, _, number := syscall.Syscall(memfdCreate, uintptr(unsafe.Pointer(&name)), closeOnExec, 0)
	if number != 0 {
		return nil, number
	}
	file := os.NewFile(fd, "plan")
	text, err := json.Marshal(value)
	if err == nil {
		_, err = file.Write(text)
	}
	if err == nil {
		_, err = file.Seek(0, 0)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("cannot write the container's plan: %w", err)
	}
	return file, nil
}
