package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// stepTime is how long a step goes on with what is due.
const stepTime = 20 * time.Second

// step is one turn under a lease of its own.
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
