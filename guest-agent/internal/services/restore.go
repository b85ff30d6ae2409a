package services

// What a checkpoint keeps of the services, and how they come back from it.

import (
	"slices"
	"sync"

	"portico.dev/agent/internal/proto"
)

// kept is a service as a checkpoint keeps it.
type kept struct {
	Definition
	Running bool `json:"running"`
}

func (v *Supervisor) state() []kept {
	v.lock.Lock()
	defer v.lock.Unlock()
	all := []kept{}
	for _, name := range v.names() {
		if s := v.services[name]; !s.deleting {
			all = append(all, kept{s.definition, s.life != nil && !s.life.stopping})
		}
	}
	return all
}

// restore replaces all services, and starts those that ran. It returns when each of these is ready, or is not going to be.
func (v *Supervisor) restore(all []kept) (started, unstarted []string, failure *proto.Failure) {
	v.restoring.Lock()
	defer v.restoring.Unlock()
	started, unstarted = []string{}, []string{}
	needs, among, containers := map[string][]string{}, map[string]bool{}, []string{}
	for i := range all {
		d := &all[i].Definition
		if failure := d.check(); failure != nil {
			return nil, nil, failure
		}
		needs[d.Name], among[d.Name] = d.Needs, all[i].Running
		if d.Container {
			containers = append(containers, d.Name)
		}
	}
	for name := range needs {
		if cycle := findCycle(name, func(name string) []string { return needs[name] }); cycle != nil {
			return nil, nil, proto.Fail(proto.CodeInvalidRequest, "cannot restore the services: %s", needed{path: cycle})
		}
	}
	if err := v.replace(all, containers); err != nil {
		return nil, nil, proto.FailureOf(err, "cannot remove the services' files")
	}
	var together sync.WaitGroup
	var results sync.Mutex
	for name, ran := range among {
		if !ran {
			continue
		}
		together.Add(1)
		go func() {
			defer together.Done()
			_, failure := v.start(name, among)
			results.Lock()
			defer results.Unlock()
			if failure == nil {
				started = append(started, name)
			} else {
				unstarted = append(unstarted, name)
			}
		}()
	}
	together.Wait()
	slices.Sort(started)
	slices.Sort(unstarted)
	return started, unstarted, nil
}

func (v *Supervisor) replace(all []kept, containers []string) error {
	v.lock.Lock()
	defer v.lock.Unlock()
	for _, s := range v.services {
		v.askToStop(s)
	}
	for len(v.services) > 0 {
		if s := v.services[v.names()[0]]; s.deleting {
			v.moved.Wait()
		} else {
			v.forget(s, func() {})
		}
	}
	for i := range all {
		d := all[i].Definition
		v.services[d.Name] = &service{definition: d, size: sizeOf(&d), log: v.runner.NewLog(d.Name, logSize)}
	}
	return v.images.Keep(containers)
}
