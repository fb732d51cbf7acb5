package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Step does what is due, for at most 20 s, and returns the time at which something (a page
// of a sweep, a poll, a retry) is due next. It is meant for programs that serve many
// businesses from a job queue; [Inbox.Run] loops by itself. After 20 s Step delivers no
// further messages, but waits for running handlers.
//
// The error is a [LeaseHeldError] if another process works for the business, an [ErrLeaseLost]
// if the lease was lost meanwhile, the server's refusal of the credential
// ([chats.ErrUnauthorized], [chats.ErrForbidden]), the store's error, an argument's, or
// [ErrRunning]. In each case, next is the time to try again. Failures of a single chat or of
// the handler are not returned: they are stored and retried when due.
func (in *Inbox) Step(
	ctx context.Context, handle func(context.Context, Delivery) error,
) (next time.Time, err error) {
	if handle == nil {
		return time.Now().Add(maxBackoff), badArgument("handle", "is nil")
	}
	return in.step(ctx, handle)
}

// step runs once under its own lease.
func (in *Inbox) step(ctx context.Context, handle handleFunc) (next time.Time, err error) {
	if !in.running.CompareAndSwap(false, true) {
		return time.Now().Add(time.Second), ErrRunning
	}
	defer in.running.Store(false)
	t, err := in.acquire(ctx)
	var held *LeaseHeldError
	if errors.As(err, &held) {
		return time.Now().Add(max(held.ExpiresIn, time.Second)), err
	}
	if err != nil {
		return time.Now().Add(maxBackoff), fmt.Errorf("inbox: acquire the lease: %w", err)
	}
	s, err := in.newSession(ctx, t, in.config.workers, handle)
	if err != nil {
		t.end(ctx)
		return time.Now().Add(maxBackoff), fmt.Errorf("inbox: load the state: %w", err)
	}
	next, err = s.run(ctx, true)
	if err == nil && ctx.Err() == nil {
		err = s.sweeper.refused
	}
	switch {
	case err == nil:
		return next, nil
	case errors.Is(err, errLost):
		err = ErrLeaseLost
	}
	return later(next, time.Now().Add(time.Second)), err
}

// acquire acquires the lease and begins its tenure.
func (in *Inbox) acquire(ctx context.Context) (*tenure, error) {
	sent := time.Now()
	lease, err := in.store.Acquire(ctx, in.client.Business(), Purpose, in.holder)
	if err != nil {
		return nil, err
	}
	return newTenure(ctx, in.store, lease, sent, in.log), nil
}
