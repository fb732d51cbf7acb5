package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// maxAcquireFailures is how often in a row a store that has never given the lease may fail
// to: half a minute. One that has given it is only down.
const maxAcquireFailures = 6

// run works under one lease after the other until ctx ends.
func (in *Inbox) run(ctx context.Context, workers int, handle handleFunc) error {
	if !in.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer in.running.Store(false)
	isFirst := true
	for failures := 1; ; failures++ {
		t, err := in.await(ctx, isFirst)
		if err != nil || t == nil {
			return err
		}
		isFirst = false
		began := time.Now()
		err = in.work(ctx, t, workers, handle)
		var final *finalError
		switch {
		case err == nil, err == errLeft, errors.As(err, &final): //nolint:errorlint // our own, unwrapped
			return err
		case ctx.Err() != nil:
			return nil
		case time.Since(began) > maxBackoff:
			failures = 1
		}
		delay := backoff(failures, maxBackoff)
		if cause := context.Cause(t.ctx); cause == errUnsaved { //nolint:errorlint // our own, unwrapped
			delay, err = max(delay, 2*t.lease.Duration), cause // a standby may have a database that works
		} else if err == errLost { //nolint:errorlint // our own, unwrapped
			err = cause
		}
		in.warn(ctx, "inbox: work interrupted", err, delay)
		sleep(ctx, delay)
	}
}

func (in *Inbox) work(ctx context.Context, t *tenure, workers int, handle handleFunc) error {
	s, err := in.newSession(ctx, t, workers, handle)
	if err != nil {
		t.end(ctx)
		return err
	}
	_, err = s.run(ctx, false)
	return err
}

// await stands by until the lease is acquired; it returns nil if ctx ends first.
func (in *Inbox) await(ctx context.Context, isFirst bool) (*tenure, error) {
	var standingBy string
	for failures := 0; ctx.Err() == nil; {
		t, err := in.acquire(ctx)
		var held *LeaseHeldError
		switch {
		case err == nil:
			if standingBy != "" {
				in.log.LogAttrs(ctx, slog.LevelInfo, "inbox: taking over", slog.String("from", standingBy))
			}
			return t, nil
		case ctx.Err() != nil:
		case errors.As(err, &held):
			if failures = 0; standingBy != held.Holder {
				standingBy = held.Holder
				in.log.LogAttrs(ctx, slog.LevelInfo, "inbox: standing by",
					slog.String("holder", held.Holder), slog.Time("since", held.Since))
			}
			sleep(ctx, min(max(held.ExpiresIn, 0), maxRenewal)+time.Millisecond)
		default:
			if failures++; isFirst && failures >= maxAcquireFailures {
				return nil, fmt.Errorf("inbox: acquire the lease: %w", err)
			}
			delay := backoff(failures, maxBackoff)
			in.warn(ctx, "inbox: acquiring the lease failed", err, delay)
			sleep(ctx, delay)
		}
	}
	return nil, nil //nolint:nilnil // the context has ended, which is no error
}

func (in *Inbox) warn(ctx context.Context, text string, err error, delay time.Duration) {
	in.log.LogAttrs(ctx, slog.LevelWarn, text, slog.Any("error", err), slog.Duration("retry_in", delay))
}

// yieldMessages runs the inbox in a goroutine of its own and hands its deliveries to the
// loop, on the loop's goroutine.
func (in *Inbox) yieldMessages(ctx context.Context, yield func(Delivery, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	type handover struct {
		Delivery

		result chan error
	}
	deliveries, done := make(chan handover), make(chan error, 1)
	go func() {
		done <- in.run(ctx, 1, func(ctx context.Context, d Delivery) error {
			h := handover{d, make(chan error, 1)}
			select {
			case deliveries <- h:
				return <-h.result
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	open := make(chan error, 1) // the result of the delivery that the loop works on
	defer func() {
		open <- errLeft // by a break, or by a panic of the loop's
		cancel()
		<-done
	}()
	for {
		select {
		case h := <-deliveries:
			open = h.result
			if !yield(h.Delivery, nil) {
				return
			}
			h.result <- nil
			open = make(chan error, 1)
		case err := <-done:
			done <- nil
			if err != nil && err != errLeft { //nolint:errorlint // our own, unwrapped
				yield(Delivery{}, err)
			}
			return
		}
	}
}
