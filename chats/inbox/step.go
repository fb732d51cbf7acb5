package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/tenure"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// Step does what is due, for at most 20 s, and returns the time at which something (a page
// of a sweep, a poll, a retry) is due next. It is meant for programs that serve many
// businesses from a job queue; [Inbox.Run] loops by itself. After 20 s, Step begins no more
// polls; from each chat that it is already reading, it delivers messages until 20 s after the
// first of them was read. It waits for running handlers.
//
// The error is a [LeaseHeldError] if another process serves the business, [ErrLeaseLost] if
// the lease was lost meanwhile, the server's refusal of the credential
// ([chats.ErrUnauthorized], [chats.ErrForbidden]), an error of the store, a
// [chats.ArgumentError], or [ErrRunning]. In each case, next is the time to try again.
// Failures of a single chat or of the handler are not returned: they are stored and retried
// when due.
func (in *Inbox) Step(
	ctx context.Context, handle func(context.Context, Delivery) error,
) (next time.Time, err error) {
	if handle == nil {
		return time.Now().Add(wait.Max), badArgument("handle", "is nil")
	}
	return in.step(ctx, handle)
}

// step runs once under its own lease.
func (in *Inbox) step(ctx context.Context, handle handleFunc) (next time.Time, err error) {
	if !in.running.CompareAndSwap(false, true) {
		return time.Now().Add(time.Second), ErrRunning
	}
	defer in.running.Store(false)
	return in.keeper.Once(ctx, func(ctx context.Context, t *tenure.Tenure[Lease]) (time.Time, error) {
		s, err := in.newSession(ctx, t, in.config.workers, handle)
		if err != nil {
			t.End(ctx)
			return time.Now().Add(wait.Max), fmt.Errorf("inbox: load the state: %w", err)
		}
		next, err := s.run(ctx, true)
		if err == nil && ctx.Err() == nil {
			err = s.sweeper.refused
		}
		return next, err
	})
}
