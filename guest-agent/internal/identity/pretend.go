package identity

import (
	"sync"
	"time"
)

// Pretend keeps an identity in memory, for an agent that runs as an ordinary process and must not change the machine it runs on. What it
// confirms holds for itself alone.
type Pretend struct {
	lock   sync.Mutex
	offset time.Duration
	name   string
}

// SetClock notes how far the wall clock is off.
func (p *Pretend) SetClock(at time.Time) error {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.offset = time.Until(at)
	return nil
}

// Now tells the wall clock as it was set.
func (p *Pretend) Now() time.Time {
	p.lock.Lock()
	defer p.lock.Unlock()
	return time.Now().Add(p.offset)
}

// SetHostname notes the name.
func (p *Pretend) SetHostname(name string) error {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.name = name
	return nil
}

// Hostname tells the name that was set.
func (p *Pretend) Hostname() (string, error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.name, nil
}

// GrowDisk leaves the disk as it is.
func (p *Pretend) GrowDisk() {}

// AddEntropy takes the bytes and leaves them.
func (p *Pretend) AddEntropy(random []byte) (int, error) { return len(random), nil }
