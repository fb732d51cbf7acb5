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

const (
	maxProbeDelay = 30 * time.Second // the maximum delay between two probes while a breaker is open
	maxProbe      = time.Minute      // how long the next probe waits for one that hangs
)

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
	probing chats.ChatID   // the chat that is being tried; 0 if there is none
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
		if b.probing == chat {
			b.probing = 0
			b.state.Probes++
			b.state.RetryAt = time.Now().Add(wait.Backoff(b.state.Probes+1, maxProbeDelay))
		}
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

func (b *breaker) succeeded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Failures >= breakAt {
		b.log.Info("inbox: " + b.what + " works again")
	}
	b.state, b.failing, b.probing = BreakerState{}, nil, 0
}

func (b *breaker) isOpen() bool { return b.snapshot().Failures >= breakAt }

// next returns when the next chat may be tried. The zero time means now.
func (b *breaker) next() time.Time { return b.snapshot().RetryAt }

// probe records, if the breaker is open, that a chat is being tried. The next one is tried after
// this one, but does not wait for it for more than maxProbe.
func (b *breaker) probe(chat chats.ChatID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Failures >= breakAt {
		b.probing, b.state.RetryAt = chat, time.Now().Add(maxProbe)
	}
}

// inconclusive ends a probe that has neither failed nor succeeded.
func (b *breaker) inconclusive(chat chats.ChatID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.probing == chat {
		b.probing, b.state.RetryAt = 0, time.Time{}
	}
}

// snapshot returns the state to be stored in the business's row.
func (b *breaker) snapshot() BreakerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state
}
