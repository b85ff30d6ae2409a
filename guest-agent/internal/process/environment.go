package process

import (
	"maps"
	"sync"

	"portico.dev/agent/internal/proto"
)

// baseEnvironment is what every process gets, unless the sandbox or the request says otherwise.
var baseEnvironment = map[string]string{
	"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME": "/root",
	"LANG": "C.UTF-8",
	"TERM": "xterm",
}

// Environment holds the layers: base, then the sandbox's, then the request's.
type Environment struct {
	lock     sync.Mutex
	sandbox  map[string]string // base and sandbox together; never changed in place
	defaults Defaults
}

// place is where a program runs that does not run in the sandbox itself, or not in the cgroup of all.
type place struct {
	environment *Environment
	cgroup      int
}

// NewEnvironment begins with the base alone.
func NewEnvironment() *Environment { return &Environment{sandbox: baseEnvironment} }

// SetSandbox replaces the sandbox's layer.
func (e *Environment) SetSandbox(env map[string]string) *proto.Failure {
	if failure := checkEnv(env); failure != nil {
		return proto.Fail(failure.Code, "cannot take the environment: a name or a value is malformed")
	}
	merged := maps.Clone(baseEnvironment)
	maps.Copy(merged, env)
	e.lock.Lock()
	defer e.lock.Unlock()
	e.sandbox = merged
	return nil
}

// with lays a user's own variables, and then a request's, over it; the list is for exec, and the PATH stands apart for the search.
func (e *Environment) with(request map[string]string, user *account) (list []string, path string) {
	e.lock.Lock()
	sandbox := e.sandbox
	e.lock.Unlock()
	if user != nil {
		own := maps.Clone(user.variables())
		maps.Copy(own, request)
		request = own
	}
	list = make([]string, 0, len(sandbox)+len(request))
	for name, value := range sandbox {
		if _, over := request[name]; !over {
			list = append(list, name+"="+value)
		}
	}
	for name, value := range request {
		list = append(list, name+"="+value)
	}
	path, set := request["PATH"]
	if !set {
		path = sandbox["PATH"]
	}
	return list, path
}
