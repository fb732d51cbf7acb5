package inbox

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// breakAt is the number of chats that have to fail in a row before a common cause is
// assumed.
const breakAt = 3

// maxProbeDelay bounds the time between two attempts while a breaker is open.
const maxProbeDelay = 30 * time.Second

// breaker is a circuit breaker. While it is open only one chat at a time is tried, with a
// growing delay; the others stay due and cost nothing. The first success closes it.
//
// Only chats that fail for the first time open it: repeated failures of the same chat say
// nothing about the others.
type breaker struct {
	what string
	log  *slog.Logger

	mu      sync.Mutex
	state   BreakerState
	failing []chats.ChatID // the last ones, breakAt at most
	probing bool
	turn    int // counts the chats that were tried while it was open
}

func newBreaker(what string, state BreakerState, log *slog.Logger) *breaker {
	if latest := time.Now().Add(maxProbeDelay); state.RetryAt.After(latest) {
		state.RetryAt = latest // another machine's clock was ahead
	}
	return &breaker{what: what, state: state, log: log}
}

// failed counts a failure of a chat; first is set if the chat has not failed before.
func (b *breaker) failed(chat chats.ChatID, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Failures >= breakAt {
		if b.probing {
			b.state.Probes++
		}
		b.probing = false
		b.state.RetryAt = time.Now().Add(wait.Backoff(b.state.Probes+1, maxProbeDelay))
		b.remember(chat)
		return
	}
	if !first || !b.remember(chat) {
		return
	}
	if b.state.Failures++; b.state.Failures >= breakAt {
		b.state.RetryAt = time.Now().Add(time.Second)
		b.log.Warn("inbox: "+b.what+" failing for several chats; trying one at a time",
			slog.Duration("retry_in", time.Second))
	}
}

// remember reports whether the chat is a new one among those that fail.
func (b *breaker) remember(chat chats.ChatID) bool {
	if slices.Contains(b.failing, chat) {
		return false
	}
	b.failing = append(b.failing, chat)
	b.failing = b.failing[max(0, len(b.failing)-2*breakAt):]
	return true
}

// succeeded closes the breaker.
func (b *breaker) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Failures >= breakAt {
		b.log.Info("inbox: " + b.what + " works again")
	}
	b.state, b.failing, b.probing = BreakerState{}, nil, false
}

// isOpen reports whether only one chat at a time is to be tried.
func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.Failures >= breakAt
}

// next returns when the next chat may be tried, the zero time if at once.
func (b *breaker) next() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Failures < breakAt {
		return time.Time{}
	}
	return b.state.RetryAt
}

// probe records that a chat is tried, if the breaker is open. An inconclusive probe delays
// the next one like a failure, but does not increase the delay.
func (b *breaker) probe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Failures >= breakAt {
		b.probing = true
		b.turn++
		b.state.RetryAt = time.Now().Add(wait.Backoff(b.state.Probes+1, maxProbeDelay))
	}
}

// suspects returns chats that are known to fail, every other time: a chat that has not
// failed yet is tried in between.
func (b *breaker) suspects() []chats.ChatID {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Failures < breakAt || b.turn%2 == 0 {
		return nil
	}
	return append([]chats.ChatID(nil), b.failing...)
}

// snapshot returns the state as the business's row keeps it.
func (b *breaker) snapshot() BreakerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}
