package notify

import (
	"sync"
	"time"
)

// invocation is one call of the handle function.
type invocation struct {
	done chan struct{} // closed when the function has returned
	err  error         // valid once done is closed
}

// dedupe holds the invocations that are running and those that succeeded recently.
// A nil dedupe holds none.
type dedupe struct {
	window time.Duration
	size   int

	mu          sync.Mutex
	invocations map[identity]*invocation
	succeeded   []success // oldest first; each is in invocations
}

type success struct {
	event identity
	until time.Time
}

func newDedupe(window time.Duration, size int) *dedupe {
	return &dedupe{window: window, size: size, invocations: map[identity]*invocation{}}
}

// acquire returns the invocation for an event. If created is true, the caller must
// run it and call complete.
func (d *dedupe) acquire(event identity) (inv *invocation, created bool) {
	inv = &invocation{done: make(chan struct{})}
	if d == nil {
		return inv, true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire()
	if current := d.invocations[event]; current != nil {
		return current, false
	}
	d.invocations[event] = inv
	return inv, true
}

// complete ends an invocation. A success is remembered before the waiting requests
// proceed, so that no copy slips through in between.
func (d *dedupe) complete(event identity, inv *invocation, err error) {
	if d != nil {
		d.remember(event, err)
	}
	inv.err = err
	close(inv.done)
}

func (d *dedupe) remember(event identity, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		delete(d.invocations, event)
		return
	}
	d.succeeded = append(d.succeeded, success{event, time.Now().Add(d.window)})
	d.expire()
}

// expire removes successes that are too old or too many. All have the same window,
// so the oldest expires first.
func (d *dedupe) expire() {
	now := time.Now()
	for len(d.succeeded) > d.size || len(d.succeeded) > 0 && !now.Before(d.succeeded[0].until) {
		delete(d.invocations, d.succeeded[0].event)
		d.succeeded = d.succeeded[1:]
	}
}
