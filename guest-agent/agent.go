package main

// What the agent is made of, whichever way it runs: the tunnel, the HTTP server behind it, and the table of its routes.

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"portico.dev/agent/internal/boot"
	"portico.dev/agent/internal/container"
	"portico.dev/agent/internal/files"
	"portico.dev/agent/internal/http1"
	"portico.dev/agent/internal/identity"
	"portico.dev/agent/internal/ports"
	"portico.dev/agent/internal/process"
	"portico.dev/agent/internal/proto"
	"portico.dev/agent/internal/reaper"
	"portico.dev/agent/internal/services"
	"portico.dev/agent/internal/tunnel"
)

const (
	minHeldOutput   = 32 << 20
	maxRequest      = 64 << 10
	defaultBudgetMs = 2000
	maxBudgetMs     = 60_000
)

type agent struct {
	tunnel   *tunnel.Server
	gate     identity.Gate
	routes   map[string]map[string]http.HandlerFunc
	poweroff chan time.Duration
	bootTime time.Duration
	ready    time.Time
	phases   []boot.Phase
	images   *container.Store
	services *services.Supervisor
}

func newAgent(machine identity.Machine, graves *reaper.Reaper, cgroup int, heldOutput int64) *agent {
	a := &agent{tunnel: tunnel.NewServer(proto.DefaultWindow), poweroff: make(chan time.Duration, 1)}
	environment := process.NewEnvironment()
	runner := process.NewRunner(graves, environment, cgroup, max(heldOutput, minHeldOutput))
	a.routes = map[string]map[string]http.HandlerFunc{
		"/health":   {"GET": a.health},
		"/identity": {"POST": identity.Handler(machine, &a.gate, keepIn(environment))},
		"/exec":     {"POST": runner.Exec(http1.CallerGone)},
		"/poweroff": {"POST": a.powerOff},
		"/ports":    {"GET": ports.List},
		"/tcp":      {"POST": ports.Forward(http1.CallerGone)},
	}
	maps.Copy(a.routes, files.Routes(http1.CallerGone))
	maps.Copy(a.routes, process.NewTable(runner, http1.CallerGone).Routes())
	a.images = &container.Store{}
	a.services = services.New(runner, a.images, cgroup)
	maps.Copy(a.routes, a.images.Routes())
	maps.Copy(a.routes, a.services.Routes(http1.CallerGone))
	return a
}

// keepIn gives an environment what an identity says of commands. A note is said once, and not at every restoration.
func keepIn(environment *process.Environment) identity.Keep {
	said := ""
	return func(env map[string]string, program identity.Program) *proto.Failure {
		if failure := environment.SetSandbox(env); failure != nil {
			return failure
		}
		if note := environment.SetDefaults(process.Defaults(program)); note != said {
			if said = note; note != "" {
				say(note)
			}
		}
		return nil
	}
}

// stopServices gives services their end in their order, for half of a budget at most, and tells what is left of it.
func (a *agent) stopServices(budget time.Duration) time.Duration {
	begun := time.Now()
	a.services.StopAll(budget / 2)
	return max(budget-time.Since(begun), 0)
}

// booted notes that everything is there and how long that took.
func (a *agent) booted(spent time.Duration, phases []boot.Phase) {
	a.bootTime, a.ready, a.phases = spent, time.Now(), phases
}

func (a *agent) bootLine() string {
	var parts []string
	for _, phase := range a.phases {
		parts = append(parts, fmt.Sprintf("%s %d", phase.Name, phase.Spent.Milliseconds()))
	}
	return fmt.Sprintf("ready after %d ms (%s)", a.bootTime.Milliseconds(), strings.Join(parts, ", "))
}

// serveHTTP answers requests on the streams of all sessions, for ever.
func (a *agent) serveHTTP() { serveStreams(a.tunnel.Listener, a.dispatch) }

func serveStreams(listener *tunnel.Listener, dispatch http.HandlerFunc) {
	for {
		stream, err := listener.Accept()
		if err != nil {
			say(fmt.Sprintf("cannot go on serving: %s", err))
			return
		}
		go http1.Serve(stream, dispatch)
	}
}

// open are the routes that need no token.
var open = map[string]bool{"/health": true, "/identity": true}

func (a *agent) dispatch(w http.ResponseWriter, r *http.Request) {
	methods := a.routes[r.URL.Path]
	handler := methods[r.Method]
	switch {
	case handler != nil && !open[r.URL.Path] && !a.gate.Admits(r):
		proto.AnswerFailure(w, proto.Fail(proto.CodeUnauthorized, "cannot use the sandbox: the request is for another machine"))
	case handler != nil:
		handler(w, r)
	case methods != nil:
		proto.AnswerFailure(w, proto.Fail(proto.CodeMethodNotAllowed, "cannot %.20q this route", r.Method))
	default:
		proto.AnswerFailure(w, proto.Fail(proto.CodeNotFound, "cannot find the route"))
	}
}

func (a *agent) health(w http.ResponseWriter, _ *http.Request) {
	phases := map[string]float64{}
	for _, phase := range a.phases {
		phases[phase.Name] = milliseconds(phase.Spent)
	}
	proto.Answer(w, struct {
		Generation int                `json:"generation"`
		Version    string             `json:"version"`
		UptimeMs   float64            `json:"uptime_ms"`
		BootMs     float64            `json:"boot_ms"`
		BootPhases map[string]float64 `json:"boot_phases_ms"`
	}{proto.Generation, version, milliseconds(a.bootTime + time.Since(a.ready)), milliseconds(a.bootTime), phases})
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// powerOff answers and then lets the machine end. Asking again changes nothing.
func (a *agent) powerOff(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		BudgetMs *float64 `json:"budget_ms"`
	}
	if r.ContentLength != 0 {
		if failure := proto.ReadJSON(r, maxRequest, &wanted); failure != nil {
			proto.AnswerFailure(w, failure)
			return
		}
	}
	budget := float64(defaultBudgetMs)
	if wanted.BudgetMs != nil {
		budget = min(max(*wanted.BudgetMs, 0), maxBudgetMs)
	}
	proto.Answer(w, struct{}{})
	_ = http.NewResponseController(w).Flush()
	select {
	case a.poweroff <- time.Duration(budget * float64(time.Millisecond)):
	default:
	}
}
