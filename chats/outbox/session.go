package outbox

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
)

// session is the work under one lease.
//
//	dispatcher  starts a worker for each head that is due, the longest-waiting chat first
//	worker      posts one item
//	reporter    calls the WithSettled function
//	term        renews the lease
//
// A later session continues from the store: a session keeps no other state that matters.
type session struct {
	*Outbox

	term    *leasing.Term[inbox.Lease]
	once    bool
	until   time.Time       // when a step begins no more work
	posting context.Context //nolint:containedctx // ends graceTime after the run's
	ending  context.Context //nolint:containedctx // the run's
	cancel  context.CancelCauseFunc

	pendingOutcomes sync.Map // keys of settled items whose outcomes the dispatcher has not received yet
}

// endError is the reason for which a session has ended itself.
type endError struct{ error }

func (e *endError) Unwrap() error { return e.error }

// end ends the session.
func (s *session) end(err error) { s.cancel(&endError{err}) }

func (s *session) isStopping() bool { return s.ending.Err() != nil }

// warnItem logs a warning about an item. err may be nil.
func (s *session) warnItem(text string, r *Record, err error, more ...slog.Attr) {
	attrs := append([]slog.Attr{slog.String("key", r.Item.Key), slog.Int64("chat", int64(r.Item.Chat))}, more...)
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	s.log.LogAttrs(s.term.Ctx, slog.LevelWarn, text, attrs...)
}
