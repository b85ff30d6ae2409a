// Package services keeps the long-running processes that a sandbox's user has defined: it starts what they need first, tells when they are ready,
// starts them again if they should be, and ends them with all that they have begun.
//
//	stopped, failed ──start──▶ starting ──ready──▶ running ──ends by itself──▶ stopped (with 0), failed, or waiting
//	       ▲                      │  ▲                │
//	       │  not found, too late │  └──pause over──  │  ── waiting (to be started again)
//	       ├──────────────────────┘                   │          │
//	       └──────────── stopping ◀──stop─────────────┴──────────┘
//
// One lock owns the table and every service's state. From a start until it is stopped or failed a service has a life: one goroutine, which
// starts the process, watches it and ends it (life.go). Others ask the life to stop and wait for what it tells.
package services

import (
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"portico.dev/agent/internal/container"
	"portico.dev/agent/internal/process"
	"portico.dev/agent/internal/proto"
)

type state int

const (
	stopped state = iota
	failed
	starting
	running
	waiting
	stopping
)

const (
	// logSize is how much is kept of what one service prints.
	logSize = 1 << 20

	maxServices = 256
	// maxDefinitions bounds the definitions of all services, as JSON: each checkpoint holds them.
	maxDefinitions = 4 << 20
)

// Supervisor holds the services by name.
type Supervisor struct {
	runner *process.Runner
	images *container.Store
	cgroup int // the folder that services' cgroups are made in, or -1

	starts    atomic.Int32 // calls that wait for one
	restoring sync.Mutex
	lock      sync.Mutex
	moved     sync.Cond // a service's state, or its place in the table
	services  map[string]*service
	closing   bool
}

// service is one of the table. The supervisor's lock guards it.
type service struct {
	definition Definition
	size       int // of the definition, as JSON
	log        *process.Log
	state      state
	reason     string
	exitCode   *int
	startedAt  time.Time
	restarts   int
	life       *life // nil when it is stopped or failed
	deleting   bool
}

// New makes a supervisor without services. Their cgroups are made in the folder that is open as cgroup, unless that is negative.
func New(runner *process.Runner, images *container.Store, cgroup int) *Supervisor {
	v := &Supervisor{runner: runner, images: images, cgroup: cgroup, services: map[string]*service{}}
	v.moved.L = &v.lock
	return v
}

// change runs something under the lock and lets everybody who waits look again.
func (v *Supervisor) change(run func()) {
	v.lock.Lock()
	defer v.lock.Unlock()
	run()
	v.moved.Broadcast()
}

// find is the service of a name. The lock is held.
func (v *Supervisor) find(name string) (*service, *proto.Failure) {
	s := v.services[name]
	if s == nil || s.deleting {
		return nil, proto.Fail(proto.CodeServiceNotFound, "cannot find the service: there is none with the name %.63q", name)
	}
	return s, nil
}

func (v *Supervisor) needsOf(name string) []string {
	if s := v.services[name]; s != nil && !s.deleting {
		return s.definition.Needs
	}
	return nil
}

// upsert defines a service or replaces its definition. One that runs goes on as it was.
func (v *Supervisor) upsert(d Definition) (*record, *proto.Failure) {
	if failure := d.check(); failure != nil {
		return nil, failure
	}
	told, failure := v.define(d)
	if failure == nil && d.Container {
		v.sweepImages() // it may have had another
	}
	return told, failure
}

func (v *Supervisor) define(d Definition) (*record, *proto.Failure) {
	v.lock.Lock()
	defer v.lock.Unlock()
	for v.services[d.Name] != nil && v.services[d.Name].deleting {
		v.moved.Wait()
	}
	cycle := findCycle(d.Name, func(name string) []string {
		if name == d.Name {
			return d.Needs
		}
		return v.needsOf(name)
	})
	if cycle != nil {
		return nil, proto.Fail(proto.CodeInvalidRequest, "cannot define the service %s: it needs itself: %s", d.Name, needed{path: cycle})
	}
	s := v.services[d.Name]
	size := sizeOf(&d)
	if failure := v.checkRoom(s, size); failure != nil {
		return nil, failure
	}
	if s == nil {
		s = &service{log: v.runner.NewLog(d.Name, logSize)}
		v.services[d.Name] = s
	}
	s.definition, s.size = d, size
	return s.record(), nil
}

func sizeOf(d *Definition) int {
	text, _ := json.Marshal(d)
	return len(text)
}

// checkRoom tells whether there is room for a definition of this size in place of a service's own, or beside all others.
func (v *Supervisor) checkRoom(s *service, size int) *proto.Failure {
	if s == nil && len(v.services) >= maxServices {
		return proto.Fail(proto.CodeQuotaExceeded, "cannot define the service: there are %d already", maxServices)
	}
	for _, other := range v.services {
		if other != s {
			size += other.size
		}
	}
	if size > maxDefinitions {
		return proto.Fail(proto.CodeQuotaExceeded, "cannot define the service: with it the definitions of all are over %d bytes", maxDefinitions)
	}
	return nil
}

// start starts a service, and first what it needs. It returns when the service is ready. With among, others than those are left as they are.
func (v *Supervisor) start(name string, among map[string]bool) (*record, *proto.Failure) {
	v.lock.Lock()
	defer v.lock.Unlock()
	s, failure := v.find(name)
	if failure != nil {
		return nil, failure
	}
	if s.state == running {
		return s.record(), nil
	}
	for _, one := range startOrder(name, v.needsOf) {
		if one.name != name && among != nil && !among[one.name] {
			continue
		}
		if why := v.bringUp(one.name); why != "" {
			return nil, v.cannotStart(s, one, why)
		}
	}
	return s.record(), nil
}

// cannotStart notes why a service was not started, unless the service itself says so already.
func (v *Supervisor) cannotStart(s *service, at needed, why string) *proto.Failure {
	if at.name != s.definition.Name {
		why = "it needs " + at.String() + ", and " + at.name + " " + why
		if s.life == nil {
			s.state, s.reason = failed, why
			v.moved.Broadcast()
		}
	} else {
		why = "it " + why
	}
	return proto.Fail(proto.CodeServiceFailed, "cannot start the service %s: %s", s.definition.Name, why)
}

// bringUp lets a service run and waits until it is ready; the answer is why it is not, or nothing. The lock is held, but for the waiting.
func (v *Supervisor) bringUp(name string) string {
	var mine *life
	attempt := 0
	for {
		s := v.services[name]
		switch {
		case mine != nil && mine.readied >= attempt:
			return ""
		case mine != nil && mine.stopping:
			return "was stopped before it was ready"
		case mine != nil && mine.failed >= attempt:
			return mine.fault
		case s == nil || s.deleting:
			return "does not exist"
		case mine != nil || s.state == stopping:
		case v.closing:
			return "cannot be started: the sandbox is stopping"
		case s.state == running:
			return ""
		case s.life == nil:
			s.restarts = 0
			mine, attempt = v.begin(s), 1
		case s.state == waiting:
			s.restarts = 0
			mine, attempt = s.life, s.life.attempt+1
			mine.proven = false
			close(mine.hurry)
			mine.hurry = make(chan struct{})
		default:
			mine, attempt = s.life, max(s.life.attempt, 1)
		}
		v.moved.Wait()
	}
}

// stop ends a service and waits for that. What needs it runs on.
func (v *Supervisor) stop(name string) (*record, *proto.Failure) {
	v.lock.Lock()
	defer v.lock.Unlock()
	s, failure := v.find(name)
	if failure != nil {
		return nil, failure
	}
	v.end(s)
	return s.record(), nil
}

// end asks a service's life to end and waits until it has. The lock is held, but for the waiting.
func (v *Supervisor) end(s *service) {
	l := s.life
	if l == nil {
		return
	}
	v.askToStop(s)
	for s.life == l {
		v.moved.Wait()
	}
}

func (v *Supervisor) askToStop(s *service) {
	if l := s.life; l != nil && !l.stopping {
		l.stopping = true
		s.state = stopping
		close(l.stop)
		v.moved.Broadcast()
	}
}

// remove stops a service and forgets it, with what its containers have written.
func (v *Supervisor) remove(name string) *proto.Failure {
	v.lock.Lock()
	s, failure := v.find(name)
	var err error
	if failure == nil {
		v.forget(s, func() { err = v.images.Forget(name) })
	}
	v.lock.Unlock()
	if failure != nil {
		return failure
	}
	v.sweepImages()
	if err != nil {
		return proto.FailureOf(err, "cannot remove the service's files")
	}
	return nil
}

// sweepImages lets images go that no service has. The lock is not held.
func (v *Supervisor) sweepImages() {
	used := map[string]bool{}
	v.lock.Lock()
	for _, s := range v.services {
		if image := s.definition.ContainerImage; image != nil {
			used[image.Digest] = true
		}
		if s.life != nil && s.life.definition.ContainerImage != nil {
			used[s.life.definition.ContainerImage.Digest] = true
		}
	}
	v.lock.Unlock()
	v.images.Sweep(used)
}

// forget takes a service out of the table once it has ended and clear has run. The lock is held, but for the waiting and for clear: that works on
// the disk, which may take long or be frozen.
func (v *Supervisor) forget(s *service, clear func()) {
	s.deleting = true
	v.end(s)
	v.lock.Unlock()
	clear()
	v.lock.Lock()
	delete(v.services, s.definition.Name)
	s.log.Close()
	v.moved.Broadcast()
}

// names are those of all services, in order. The lock is held.
func (v *Supervisor) names() []string {
	names := make([]string, 0, len(v.services))
	for name := range v.services {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// StopAll ends all services, those that need others first, and starts none any more. It returns when all have ended, or after the limit.
func (v *Supervisor) StopAll(limit time.Duration) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		v.lock.Lock()
		defer v.lock.Unlock()
		v.closing = true
		var order []string
		for _, name := range v.names() {
			for _, one := range startOrder(name, v.needsOf) {
				if !slices.Contains(order, one.name) {
					order = append(order, one.name)
				}
			}
		}
		for _, name := range slices.Backward(order) {
			if s := v.services[name]; s != nil {
				v.end(s)
			}
		}
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-over:
	case <-late.C:
	}
}
