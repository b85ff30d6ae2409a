// Package disk holds the scratch disk still for a moment, so that what lies on it is all of what was written until then: POST /disk/freeze and
// POST /disk/thaw of docs/protocol.md.
//
//	writable ──freeze──▶ frozen ──thaw, or its limit──▶ writable
//
// While it is frozen whoever writes waits in the kernel. Nothing in here touches the disk but by the calls of FileSystem, and the thaw needs
// nothing that such a writer could hold: so it always gets through, and without one the limit lets the disk go.
package disk

import (
	"net/http"
	"sync"
	"time"

	"portico.dev/agent/internal/proto"
)

// FileSystem is what can be frozen.
type FileSystem interface {
	// Flush writes out what was written to it, while writers go on.
	Flush() error
	// Freeze writes out the rest and holds all writers until Thaw.
	Freeze() error
	Thaw() error
}

const (
	maxRequest = 4 << 10
	// maxFrozen is the longest that a disk is ever frozen: programs stand still meanwhile.
	maxFrozen = 5 * time.Second
)

// Freezer freezes one file system.
type Freezer struct {
	system FileSystem

	lock   sync.Mutex
	frozen bool
	since  time.Time
	limit  *time.Timer
	// round tells one freeze from the next, for a limit that runs out late.
	round int
	// lasted and expired are of the last freeze.
	lasted  time.Duration
	expired bool
}

// New makes a freezer of a file system that is not frozen.
func New(system FileSystem) *Freezer { return &Freezer{system: system} }

// Routes are the two routes.
func (f *Freezer) Routes() map[string]map[string]http.HandlerFunc {
	return map[string]map[string]http.HandlerFunc{
		"/disk/freeze": {"POST": f.freeze},
		"/disk/thaw":   {"POST": f.thaw},
	}
}

func (f *Freezer) freeze(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		LimitMs float64 `json:"limit_ms"`
	}
	if failure := proto.ReadJSON(r, maxRequest, &wanted); failure != nil {
		proto.AnswerFailure(w, failure)
		return
	}
	limit := time.Duration(wanted.LimitMs * float64(time.Millisecond))
	if limit <= 0 || limit > maxFrozen {
		proto.AnswerFailure(w, proto.Fail(proto.CodeInvalidRequest, "cannot freeze the disk: limit_ms must be more than 0 and at most %d", maxFrozen.Milliseconds()))
		return
	}
	begun := time.Now()
	// Without the lock: it may take long, and nothing stands still yet.
	if err := f.system.Flush(); err != nil {
		proto.AnswerFailure(w, proto.FailureOf(err, "cannot flush the disk"))
		return
	}
	flushed := time.Since(begun)
	if failure := f.begin(limit); failure != nil {
		proto.AnswerFailure(w, failure)
		return
	}
	proto.Answer(w, struct {
		FlushedMs float64 `json:"flushed_ms"`
	}{milliseconds(flushed)})
}

func (f *Freezer) begin(limit time.Duration) *proto.Failure {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.frozen {
		return proto.Fail(proto.CodeConflict, "cannot freeze the disk: it is frozen")
	}
	since := time.Now()
	if err := f.system.Freeze(); err != nil {
		return proto.FailureOf(err, "cannot freeze the disk")
	}
	f.frozen, f.since, f.expired = true, since, false
	f.round++
	round := f.round
	f.limit = time.AfterFunc(limit-time.Since(since), func() { f.expire(round) })
	return nil
}

func (f *Freezer) expire(round int) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.frozen && f.round == round {
		_ = f.end()
		f.expired = true
	}
}

// end lets writers go on. The lock is held.
func (f *Freezer) end() error {
	f.limit.Stop()
	err := f.system.Thaw()
	f.frozen, f.lasted = false, time.Since(f.since)
	return err
}

func (f *Freezer) thaw(w http.ResponseWriter, _ *http.Request) {
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.round == 0 {
		proto.AnswerFailure(w, proto.Fail(proto.CodeConflict, "cannot thaw the disk: it was never frozen"))
		return
	}
	if f.frozen {
		if err := f.end(); err != nil {
			proto.AnswerFailure(w, proto.FailureOf(err, "cannot thaw the disk"))
			return
		}
	}
	proto.Answer(w, struct {
		FrozenMs float64 `json:"frozen_ms"`
		Expired  bool    `json:"expired"`
	}{milliseconds(f.lasted), f.expired})
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Pretend is a file system that nobody holds still: of an agent that is an ordinary process.
type Pretend struct{}

func (Pretend) Flush() error  { return nil }
func (Pretend) Freeze() error { return nil }
func (Pretend) Thaw() error   { return nil }
