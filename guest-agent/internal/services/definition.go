package services

// What a service is: the body of PUT /services/one, checked once.

import (
	"math"
	"regexp"
	"strings"
	"time"

	"portico.dev/agent/internal/container"
	"portico.dev/agent/internal/process"
	"portico.dev/agent/internal/proto"
)

// Definition is what was asked for.
type Definition struct {
	Name         string            `json:"name"`
	Cmd          string            `json:"cmd"`
	Args         []string          `json:"args"`
	Env          map[string]string `json:"env"`
	WorkingDir   *string           `json:"working_dir"`
	User         *string           `json:"user"`
	HealthPort   *int              `json:"health_port"`
	Needs        []string          `json:"needs"`
	Container    bool              `json:"container"`
	Image        string            `json:"image"`
	Restart      string            `json:"restart"`
	StartTimeout float64           `json:"start_timeout_secs"`
	StopTimeout  float64           `json:"stop_timeout_secs"`
	// ContainerImage is what the image's name stood for when it was defined.
	ContainerImage *container.Image `json:"container_image,omitempty"`
}

const (
	restartNever     = "no"
	restartOnFailure = "on-failure"
	restartAlways    = "always"

	maxNeeds   = 64
	maxTimeout = 3600.0
)

var nameShape = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

// usual is a definition that says nothing.
func usual() Definition {
	return Definition{Restart: restartNever, StartTimeout: 60, StopTimeout: 10}
}

func (d *Definition) program() *process.Program {
	p := &process.Program{Argv: append([]string{d.Cmd}, d.Args...), Env: d.Env}
	if d.WorkingDir != nil {
		p.Cwd = *d.WorkingDir
	}
	if d.User != nil {
		p.User = *d.User
	}
	return p
}

func (d *Definition) check() *proto.Failure {
	if d.Args == nil {
		d.Args = []string{}
	}
	if d.Needs == nil {
		d.Needs = []string{}
	}
	if d.Env == nil {
		d.Env = map[string]string{}
	}
	switch {
	case !nameShape.MatchString(d.Name):
		return refuse(d.Name, "its name must be letters, digits, dot, dash, underscore, 63 at most")
	case d.Cmd == "":
		return refuse(d.Name, "its cmd is empty")
	case d.Restart != restartNever && d.Restart != restartOnFailure && d.Restart != restartAlways:
		return refuse(d.Name, "restart must be no, on-failure or always")
	case d.HealthPort != nil && (*d.HealthPort < 1 || *d.HealthPort > 65_535):
		return refuse(d.Name, "health_port must be 1 to 65535")
	case !(d.StartTimeout > 0 && d.StartTimeout <= maxTimeout) || !(d.StopTimeout >= 0 && d.StopTimeout <= maxTimeout):
		return refuse(d.Name, "its timeouts must be seconds, an hour at most")
	case len(d.Needs) > maxNeeds:
		return refuse(d.Name, "it needs too many others")
	case d.WorkingDir != nil && *d.WorkingDir == "":
		return refuse(d.Name, "its working_dir is empty")
	case d.Container && d.ContainerImage == nil:
		return refuse(d.Name, "a container needs an image")
	}
	for _, need := range d.Needs {
		if !nameShape.MatchString(need) {
			return refuse(d.Name, "it needs what is no service's name")
		}
	}
	if failure := d.program().Check(); failure != nil {
		return refuse(d.Name, strings.TrimPrefix(failure.Message, "cannot run the command: "))
	}
	if d.Container {
		_, failure := container.HexOf(d.ContainerImage.Digest)
		return failure
	}
	return nil
}

func refuse(name, why string) *proto.Failure {
	return proto.Fail(proto.CodeInvalidRequest, "cannot define the service %.63q: %s", name, why)
}

func seconds(n float64) time.Duration {
	return time.Duration(math.Min(n, maxTimeout) * float64(time.Second))
}
