package process

// A program as others in the agent ask for it: the supervisor of services, and the first process of a container.

import (
	"maps"
	"strings"
	"syscall"

	"portico.dev/agent/internal/proto"
)

// Program is what is to be run, and as whom.
type Program struct {
	Argv []string
	Env  map[string]string
	// Cwd is / if it is empty.
	Cwd string
	// User is a name or a number, with `:group` if wanted; whoever the agent is if it is empty.
	User string
}

// Check finds what no process can be given; it asks nothing of the machine.
func (p *Program) Check() *proto.Failure {
	_, failure := p.command()
	return failure
}

// command is the program for exec, without its user, who is looked up where it is to run.
func (p *Program) command() (*command, *proto.Failure) {
	wire := wireRequest{Argv: p.Argv, Env: p.Env}
	if p.Cwd != "" {
		wire.Cwd = &p.Cwd
	}
	if strings.ContainsRune(p.User, 0) {
		return nil, invalid("its user holds a zero byte")
	}
	return wire.check()
}

// resolve is the program for exec with its user, as the calling thread's root knows it.
func (p *Program) resolve() (*command, *proto.Failure) {
	c, failure := p.command()
	if failure == nil && p.User != "" {
		c.user, failure = findAccount(p.User)
	}
	return c, failure
}

// StartInside starts the program from within a container, as a session of its own with the caller's standard files. Variables of the image come
// before the user's and its own. The error is fit for a user.
func (p *Program) StartInside(image map[string]string) (pid int, err error) {
	c, failure := p.resolve()
	if failure != nil {
		return 0, failure
	}
	env, path := imageEnvironment(image).with(c.env, c.user)
	file, err := lookup(c.argv[0], path, c.cwd)
	if err != nil {
		return 0, explain(err, c)
	}
	attributes := &syscall.ProcAttr{Dir: c.cwd, Env: env, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true}}
	if c.user != nil {
		attributes.Sys.Credential = &syscall.Credential{Uid: c.user.uid, Gid: c.user.gid, Groups: c.user.groups}
	}
	if pid, err = syscall.ForkExec(file, c.argv, attributes); err != nil {
		return 0, explain(err, c)
	}
	return pid, nil
}

// imageEnvironment is what an image gives its programs.
func imageEnvironment(env map[string]string) *Environment {
	merged := map[string]string{"PATH": baseEnvironment["PATH"], "HOME": baseEnvironment["HOME"]}
	maps.Copy(merged, env)
	return &Environment{sandbox: merged}
}
