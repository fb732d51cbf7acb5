package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// mostLeaseFailures is how often in a row a lease may fail before it counts as one
// that cannot be had at all: half a minute. A store that gave it once is only down.
const mostLeaseFailures = 6

// run is one run, of however many leases.
func (in *Inbox) run(ctx context.Context, workers int, handle handleFunc) error {
	if !in.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer in.running.Store(false)

	leaser, _ := in.store.(Leaser)
	for failures, had := 0, false; ctx.Err() == nil; {
		held, release, err := in.lease(ctx, leaser)
		if ctx.Err() != nil {
			release()
			break
		}
		if err != nil {
			failures++
			if !had && failures >= mostLeaseFailures {
				return fmt.Errorf("inbox: the lease cannot be had: %w", err)
			}
			in.wait(ctx, "inbox: the lease is not given", err, backoff(failures, longestPause))
			continue
		}
		failures, had = 0, true
		if err := in.leased(ctx, held, release, workers, handle); err != errLost { //nolint:errorlint // our own, unwrapped
			return err
		}
		in.wait(ctx, "inbox: the lease is lost", context.Cause(held), time.Second)
	}
	return nil
}

func (in *Inbox) leased(ctx, held context.Context, release func(), workers int, handle handleFunc) error {
	defer release()
	return in.newSession(held, handle).run(ctx, workers)
}

// lease waits for the lease of a store that has one. What it gives is held beyond
// the end of ctx, so that what was handled can be committed.
func (in *Inbox) lease(ctx context.Context, leaser Leaser) (held context.Context, release func(), err error) {
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	if leaser == nil {
		return lasting, end, nil
	}
	stop := context.AfterFunc(ctx, end)
	held, free, err := leaser.Lease(lasting, in.client.Business())
	stop()
	if err != nil {
		end()
		return nil, func() {}, err
	}
	return held, sync.OnceFunc(func() { free(); end() }), nil
}

func (in *Inbox) wait(ctx context.Context, text string, err error, pause time.Duration) {
	in.log.LogAttrs(ctx, slog.LevelWarn, text, slog.Any("error", err), slog.Duration("pause", pause))
	sleep(ctx, pause)
}
