// Package wait has what the inbox, the outbox and their stores need to decide when to do something
// again. Times follow one rule: the zero time means never.
package wait

import (
	"context"
	"time"
)

// Max is the upper bound of the delays after failures that end by themselves: those of the
// server, the network and the store.
const Max = time.Minute

// Backoff returns the delay after the n-th failure in a row, n from 1: 1 s, doubling.
func Backoff(n int, longest time.Duration) time.Duration {
	delay := time.Second
	for range n - 1 {
		if delay *= 2; delay >= longest {
			return longest
		}
	}
	return delay
}

// Sleep returns after d, or when the context ends.
func Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Earliest returns the earlier of two times, unless one of them is never.
func Earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Later returns the later of two times, the zero time being the earliest of all.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
