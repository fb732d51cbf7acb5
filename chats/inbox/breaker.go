package inbox

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// breakAt is the number of chats that must fail in a row before a common cause is assumed.
const breakAt = 3

// maxProbeDelay is the maximum delay between two probes while a breaker is open.
const maxProbeDelay = 30 * time.Second

// breaker is a circuit breaker. While it is open, only one chat at a time is tried, with a
// growing delay; the others stay due and cost nothing. The first success closes it.
//
// Only chats that fail for the first time open it, because repeated failures of the same chat
// say nothing about the others.
type breaker struct {
	what string
	log  *slog.Logger

	mu      sync.Mutex
	state   BreakerState
	failing []chats.ChatID // the chats counted in Failures
	probing bool
}

func newBreaker(what string, state BreakerState, log *slog.Logger) *breaker {
	if latest := time.Now().Add(maxProbeDelay); state.RetryAt.After(latest) {
		state.RetryAt = latest // another machine's clock was ahead
	}
	return &breaker{what: what, state: state, log: log}
}

// failed counts a failure of a chat. first is set if the chat had not failed before.
func (b *breaker) failed(chat chats.ChatID, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Failures >= breakAt {
		if b.probing {
			b.state.Probes++
		}
		b.probing = false
		b.state.RetryAt = time.Now().Add(wait.Backoff(b.state.Probes+1, maxProbeDelay))
		return
	}
	if !first || slices.Contains(b.failing, chat) {
		return
	}
	b.failing = append(b.failing, chat)
	if b.state.Failures++; b.state.Failures >= breakAt {
		b.state.RetryAt = time.Now().Add(time.Second)
		b.log.Warn("inbox: "+b.what+" failing for several chats; trying one at a time",
			slog.Duration("retry_in", time.Second))
	}
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

// isOpen reports whether the breaker is open.
func (b *breaker) isOpen() bool { return b.snapshot().Failures >= breakAt }

// next returns when the next chat may be tried. The zero time means now.
func (b *breaker) next() time.Time { return b.snapshot().RetryAt }

// probe records, if the breaker is open, that a chat is being tried. The next one may be tried
// after a delay, or as soon as this probe turns out to be inconclusive.
func (b *breaker) probe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Failures >= breakAt {
		b.probing = true
		b.state.RetryAt = time.Now().Add(wait.Backoff(b.state.Probes+1, maxProbeDelay))
	}
}

// inconclusive ends a probe that has neither failed nor succeeded.
func (b *breaker) inconclusive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.probing {
		b.probing, b.state.RetryAt = false, time.Time{}
	}
}

// snapshot returns the state to be stored in the business's row.
func (b *breaker) snapshot() BreakerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}
