package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats/inbox"
)

const (
	// stepTime is how long a step goes on with what is due.
	stepTime = 60 * time.Second
	// maxAcquireFailures is the number of consecutive failed acquisitions, about half a
	// minute's worth, after which a store that has never granted the lease is considered
	// unusable. A store that has granted it before is only down for now.
	maxAcquireFailures = 6
)

// Run posts what is put until ctx ends. If another process works for the business, Run
// stands by and takes over when that one ends.
//
// Run returns nil when ctx has ended; posts in progress have 5 s to finish; otherwise the
// next run resumes them. It returns an error if the server refuses the credential for a
// minute ([chats.ErrUnauthorized], [chats.ErrForbidden]; nothing is lost), the lease cannot
// be acquired at all, or the outbox is running already ([ErrRunning]). Everything else is
// logged and retried.
func (o *Outbox) Run(ctx context.Context) error {
	if !o.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer o.running.Store(false)
	refusals, isFirst := &refusals{}, true
	for failures := 1; ; failures++ {
		t, err := o.await(ctx, isFirst)
		if err != nil || t == nil {
			return err
		}
		isFirst = false
		began := time.Now()
		_, err = o.newSession(t, refusals).run(ctx, false)
		var final *finalError
		switch {
		case err == nil, errors.As(err, &final):
			return err
		case ctx.Err() != nil:
			return nil
		case time.Since(began) > maxBackoff:
			failures = 1
		}
		delay := backoff(failures, maxBackoff)
		if cause := context.Cause(t.ctx); cause == errUnsaved { //nolint:errorlint // our own, unwrapped
			delay = max(delay, 2*t.lease.Duration) // a standby may have a database that works
		}
		o.warn(ctx, "outbox: work interrupted", context.Cause(t.ctx), delay)
		sleep(ctx, delay)
	}
}

// await stands by until the lease is acquired; it returns nil if ctx ends first.
func (o *Outbox) await(ctx context.Context, isFirst bool) (*tenure, error) {
	var standingBy string
	for failures := 0; ctx.Err() == nil; {
		t, err := o.acquire(ctx)
		var held *inbox.LeaseHeldError
		switch {
		case err == nil:
			if standingBy != "" {
				o.log.LogAttrs(ctx, slog.LevelInfo, "outbox: taking over", slog.String("from", standingBy))
			}
			return t, nil
		case ctx.Err() != nil:
		case errors.As(err, &held):
			if failures = 0; standingBy != held.Holder {
				standingBy = held.Holder
				o.log.LogAttrs(ctx, slog.LevelInfo, "outbox: standing by",
					slog.String("holder", held.Holder), slog.Time("since", held.Since))
			}
			sleep(ctx, min(max(held.ExpiresIn, 0), renewalInterval)+time.Millisecond)
		default:
			if failures++; isFirst && failures >= maxAcquireFailures {
				return nil, fmt.Errorf("outbox: acquire the lease: %w", err)
			}
			delay := backoff(failures, maxBackoff)
			o.warn(ctx, "outbox: acquiring the lease failed", err, delay)
			sleep(ctx, delay)
		}
	}
	return nil, nil //nolint:nilnil // the context has ended, which is no error
}

// acquire acquires the lease and begins its tenure.
func (o *Outbox) acquire(ctx context.Context) (*tenure, error) {
	sent := time.Now()
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	lease, err := o.store.Acquire(ctx, o.client.Business(), Purpose, o.holder)
	if err != nil {
		return nil, err
	}
	return newTenure(ctx, o.store, lease, sent, o.log), nil
}

func (o *Outbox) warn(ctx context.Context, text string, err error, delay time.Duration) {
	o.log.LogAttrs(ctx, slog.LevelWarn, text, slog.Any("error", err), slog.Duration("retry_in", delay))
}

// Step posts what is due, for at most 60 s, and returns the time at which something is due
// next, or the zero time if nothing is queued. It is meant for programs that serve many
// businesses from a job queue; [Outbox.Run] loops by itself. After 60 s Step waits for posts
// in progress.
//
// The error is an [inbox.LeaseHeldError] if another process works for the business, an
// [inbox.ErrLeaseLost] if the lease was lost meanwhile, the server's refusal of the
// credential ([chats.ErrUnauthorized], [chats.ErrForbidden]), the store's error, or
// [ErrRunning]. In each case, next is the time to try again. Failures of a single item are
// not returned: they are stored and retried when due.
func (o *Outbox) Step(ctx context.Context) (next time.Time, err error) {
	if !o.running.CompareAndSwap(false, true) {
		return time.Now().Add(time.Second), ErrRunning
	}
	defer o.running.Store(false)
	t, err := o.acquire(ctx)
	var held *inbox.LeaseHeldError
	switch {
	case errors.As(err, &held):
		return time.Now().Add(max(held.ExpiresIn, time.Second)), err
	case err != nil:
		return time.Now().Add(maxBackoff), fmt.Errorf("outbox: acquire the lease: %w", err)
	}
	next, err = o.newSession(t, &refusals{}).run(ctx, true)
	var final *finalError
	switch {
	case err == nil:
		return next, nil
	case errors.Is(err, errLost):
		return later(next, time.Now().Add(time.Second)), inbox.ErrLeaseLost
	case errors.As(err, &final):
		return later(next, time.Now().Add(maxBackoff)), err
	}
	return later(next, time.Now().Add(time.Second)), err
}

// finalError ends a run.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }
