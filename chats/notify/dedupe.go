package notify

import (
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// identity is equal for two copies of one event; identityOf decides which fields count.
// Log lines describe the event by it.
type identity struct {
	kind     string
	business chats.BusinessID // set for an Other as well
	chat     chats.ChatID
	message  chats.MessageID
	at       time.Time         // in UTC, so that == compares instants; zero for a message
	body     [sha256.Size]byte // set if the other fields are not unique
}

// isUnique reports whether the fields of the chat identify the event uniquely.
func (id identity) isUnique() bool { return id.message != 0 || !id.at.IsZero() }

// invocation is one call to the handle function.
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
	// Both are oldest first, and each event is in invocations:
	succeeded      []success // with a unique identity
	unacknowledged []success // without one; remembered until a 200 has been sent
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
	list := &d.succeeded
	if !event.isUnique() {
		list = &d.unacknowledged
	}
	*list = append(*list, success{event, time.Now().Add(d.window)})
	d.expire()
}

// acknowledge is called before a success is reported to Market, which then does not
// send the event again. An event identified only by its body is forgotten: a later one
// with the same body may be a different event.
func (d *dedupe) acknowledge(event identity, inv *invocation) {
	if d == nil || event.isUnique() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.invocations[event] != inv {
		return // already forgotten
	}
	delete(d.invocations, event)
	d.unacknowledged = slices.DeleteFunc(d.unacknowledged, func(s success) bool { return s.event == event })
}

func (d *dedupe) expire() {
	d.succeeded = d.trim(d.succeeded)
	d.unacknowledged = d.trim(d.unacknowledged)
}

// trim removes expired successes, and the oldest ones if there are too many. All have the
// same window, so the oldest expires first.
func (d *dedupe) trim(list []success) []success {
	now := time.Now()
	for len(list) > d.size || len(list) > 0 && !now.Before(list[0].until) {
		delete(d.invocations, list[0].event)
		list = list[1:]
	}
	return list
}
