package notify

import (
	"sync"
	"time"
)

// call is one call of the function.
type call struct {
	done chan struct{} // closed at its end
	err  error         // to be read after done
}

// dedupe knows the calls under way and those that succeeded lately. A nil dedupe
// knows none.
type dedupe struct {
	window time.Duration
	size   int

	mu        sync.Mutex
	calls     map[identity]*call
	succeeded []success // oldest first; each one is in calls
}

type success struct {
	event identity
	until time.Time
}

func newDedupe(window time.Duration, size int) *dedupe {
	return &dedupe{window: window, size: size, calls: map[identity]*call{}}
}

// join finds the call for an event. Where there is none, it is the caller's to
// make.
func (d *dedupe) join(event identity) (c *call, mine bool) {
	c = &call{done: make(chan struct{})}
	if d == nil {
		return c, true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget()
	if other := d.calls[event]; other != nil {
		return other, false
	}
	d.calls[event] = c
	return c, true
}

// settle ends the call of an event. It is remembered before the waiting ones go
// on, so that no copy slips through between.
func (d *dedupe) settle(event identity, c *call, err error) {
	if d != nil {
		d.remember(event, err)
	}
	c.err = err
	close(c.done)
}

func (d *dedupe) remember(event identity, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		delete(d.calls, event)
		return
	}
	d.succeeded = append(d.succeeded, success{event, time.Now().Add(d.window)})
	d.forget()
}

// forget drops what is too old or too much. The window is one for all, so the
// oldest ends first.
func (d *dedupe) forget() {
	now := time.Now()
	for len(d.succeeded) > d.size || len(d.succeeded) > 0 && !now.Before(d.succeeded[0].until) {
		delete(d.calls, d.succeeded[0].event)
		d.succeeded = d.succeeded[1:]
	}
}
