package process

// What the image has for commands whose callers say nothing: where they begin and whose they are; and its entrypoint, for commands that ask
// for it. It comes with the identity.

import (
	"fmt"
	"os"
	"syscall"

	"portico.dev/agent/internal/proto"
)

// Defaults are those of an image. Empty fields are none: /, the agent's user, no entrypoint.
type Defaults struct {
	Workdir    string
	User       string
	Entrypoint []string
	Cmd        []string
}

// SetDefaults replaces them, and makes the folder if it is missing, as an image need not hold it. A note tells what of them has no effect.
func (e *Environment) SetDefaults(defaults Defaults) (note string) {
	if defaults.Workdir != "" && !isFolder(defaults.Workdir) {
		if err := os.MkdirAll(defaults.Workdir, 0o755); err != nil {
			note = fmt.Sprintf("cannot make the image's folder %.80q: commands begin in /", defaults.Workdir)
		}
	}
	if defaults.User != "" {
		if _, failure := findAccount(defaults.User); failure != nil {
			note = fmt.Sprintf("cannot use the image's user %.80q: the image does not have it; commands are root's", defaults.User)
		}
	}
	e.lock.Lock()
	defer e.lock.Unlock()
	e.defaults = defaults
	return note
}

// complete gives a request what it leaves to the image.
func (e *Environment) complete(w *wireRequest) (*account, *proto.Failure) {
	e.lock.Lock()
	defaults := e.defaults
	e.lock.Unlock()
	if failure := w.enter(defaults); failure != nil {
		return nil, failure
	}
	if w.Cwd == nil && defaults.Workdir != "" && isFolder(defaults.Workdir) {
		w.Cwd = &defaults.Workdir
	}
	if w.User != nil || defaults.User == "" {
		return nil, nil
	}
	user, failure := findAccount(defaults.User)
	if failure != nil {
		return nil, nil // said when it was set
	}
	return user, nil
}

// enter makes the words of a command that is the entrypoint.
func (w *wireRequest) enter(defaults Defaults) *proto.Failure {
	switch {
	case !w.Entrypoint && w.Args != nil:
		return invalid("args goes with entrypoint alone")
	case !w.Entrypoint:
		return nil
	case w.Shell != nil || len(w.Argv) > 0:
		return invalid("give either entrypoint, or argv, or shell")
	}
	args := w.Args
	if args == nil {
		args = defaults.Cmd
	}
	w.Argv = append(append([]string{}, defaults.Entrypoint...), args...)
	if len(w.Argv) == 0 {
		return invalid("the image has no entrypoint, and nothing that it runs without one")
	}
	return nil
}

func isFolder(path string) bool {
	if path == "/" {
		return true
	}
	var stat syscall.Stat_t
	return syscall.Stat(path, &stat) == nil && stat.Mode&syscall.S_IFMT == syscall.S_IFDIR
}
