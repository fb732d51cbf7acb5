package outbox

import (
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// blocks holds the operations whose hourly quota is exhausted. They outlive the lease, because
// every step has a new one.
type blocks struct {
	mu     sync.Mutex
	at     map[chats.Operation]time.Time
	paused time.Time // until when all operations are paused
	limits int       // consecutive pauses because of a limit
	failed bool      // the last attempt failed for a reason that may affect all chats
}

func (b *blocks) block(op chats.Operation, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at == nil {
		b.at = map[chats.Operation]time.Time{}
	}
	b.at[op] = until
}

func (b *blocks) pause(until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.paused = until
}

// limited pauses all operations after a limit that does not say when it ends, unless another worker
// has done so.
func (b *blocks) limited(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !now.Before(b.paused) {
		b.limits++
		b.paused = now.Add(wait.Backoff(b.limits, wait.Max))
	}
}

// setFailed records whether the last attempt failed.
func (b *blocks) setFailed(failed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed = failed; !failed {
		b.limits = 0
	}
}

func (b *blocks) isFailing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.failed
}

// until returns when sends of an operation may begin. Sends also need the history.
func (b *blocks) until(op chats.Operation) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return wait.Later(wait.Later(b.at[op], b.at[chats.OpGetChatHistory]), b.paused)
}
