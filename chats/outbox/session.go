package outbox

import (
	"context"
	"time"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/tenure"
)

// session is the work under one lease.
//
//	dispatcher  has the heads of the chats posted, the longest-waiting chat first
//	worker      posts one item
//	reporter    calls the WithSettled function
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
