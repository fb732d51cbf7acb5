package chats

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// backoff doubles the delay before a retry, from base up to limit.
type backoff struct{ base, limit time.Duration }

// delayCap returns the upper bound of the delay after failure n, counted from 0.
func (b backoff) delayCap(n int) time.Duration {
	d := b.base
	for range n {
		if d >= b.limit/2 {
			return b.limit
		}
		d *= 2
	}
	return min(d, b.limit)
}

// jitter returns the delay after failure n: a random part of its upper bound (full
// jitter).
func (b backoff) jitter(n int) time.Duration {
	return rand.N(max(b.delayCap(n), 1))
}

// wait sleeps for d. It returns early if ctx ends, and at once if the deadline of ctx
// comes before d is over.
func wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return &tooLateError{d}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tooLateError is returned instead of waiting for a deadline only to fail then.
type tooLateError struct{ wait time.Duration }

func (e *tooLateError) Error() string {
	return fmt.Sprintf("the next attempt is due in %s, after the context's deadline", e.wait.Round(time.Millisecond))
}

func (*tooLateError) Unwrap() error { return context.DeadlineExceeded }
