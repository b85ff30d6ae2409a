package main

import (
	"net/http"
	"sync"
	"sync/atomic"

	"portico.dev/agent/internal/boot"
	"portico.dev/agent/internal/link"
	"portico.dev/agent/internal/proto"
	"portico.dev/agent/internal/tunnel"
)

// waiting is the agent of a machine whose disks are not looked at yet: the host may put others behind them as long as it waits. It knows two
// routes, and gives its channel to the whole agent once that is there:
//
//	waiting ──POST /disk/mount──▶ told ──handOver──▶ (the whole agent; the mount is answered)
type waiting struct {
	port    *link.Port
	server  *tunnel.Server
	current atomic.Pointer[agent]
	once    sync.Once
	told    chan struct{}
	done    chan struct{}
}

// awaitWord serves the channel until the host says that the disks are the right ones.
func awaitWord(machine *boot.Machine) (*waiting, error) {
	port, err := link.Open(machine.Channel)
	if err != nil {
		return nil, err
	}
	w := &waiting{port: port, server: tunnel.NewServer(proto.DefaultWindow), told: make(chan struct{}), done: make(chan struct{})}
	first := &agent{tunnel: w.server}
	first.routes = map[string]map[string]http.HandlerFunc{
		"/health":     {"GET": first.health},
		"/disk/mount": {"POST": w.mount},
	}
	first.booted(boot.Uptime(), machine.Phases)
	w.current.Store(first)
	go serveStreams(w.server.Listener, func(rw http.ResponseWriter, r *http.Request) { w.current.Load().dispatch(rw, r) })
	go serveSessions(first, port)
	<-w.told
	return w, nil
}

// mount answers when the whole agent serves the channel. Asking again changes nothing.
func (w *waiting) mount(rw http.ResponseWriter, _ *http.Request) {
	w.once.Do(func() { close(w.told) })
	<-w.done
	proto.Answer(rw, struct{}{})
}

// handOver gives the channel to the whole agent.
func (w *waiting) handOver(whole *agent) {
	whole.tunnel = w.server
	w.current.Store(whole)
	close(w.done)
}
