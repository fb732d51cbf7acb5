package outbox

import (
	"context"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/tenure"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// session is the work under one lease.
//
//	dispatcher  has the heads of the chats posted, the longest-waiting chat first
//	worker      posts one item
//	reporter    calls WithSettled
//	tenure      renews the lease
//
// Everything continues from the store: the session holds no state of its own that matters.
type session struct {
	*Outbox

	tenure  *tenure.Tenure[inbox.Lease]
	once    bool
	until   time.Time       // of a step
	posting context.Context //nolint:containedctx // lasts for a grace time after the run's
	ending  context.Context //nolint:containedctx // the run's
	cancel  context.CancelCauseFunc
}

// endError is why a session ended itself.
type endError struct{ error }

func (e *endError) Unwrap() error { return e.error }

// end ends the session.
func (s *session) end(err error) { s.cancel(&endError{err}) }

func (s *session) isStopping() bool { return s.ending.Err() != nil }

// blocks are the operations whose hourly quota is exhausted. They outlive the lease, as every
// step has another one.
type blocks struct {
	mu     sync.Mutex
	at     map[chats.Operation]time.Time
	paused time.Time // all of them
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

// until returns when sends of an operation may begin. They need the history, too.
func (b *blocks) until(op chats.Operation) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return wait.Later(wait.Later(b.at[op], b.at[chats.OpGetChatHistory]), b.paused)
}
