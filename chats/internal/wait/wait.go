// Package wait has helpers with which the inbox, the outbox and their stores schedule work. As a
// due time, the zero time means never.
package wait

import (
	"context"
	"time"
)

// Max is the maximum delay after failures that are expected to end without human attention: those
// of the server, the network and the store.
const Max = time.Minute

// Backoff returns the delay after the n-th consecutive failure, counted from 1. It is 1 s after the
// first failure and doubles up to longest.
func Backoff(n int, longest time.Duration) time.Duration {
	delay := time.Second
	for range n - 1 {
		if delay *= 2; delay >= longest {
			return longest
		}
	}
	return delay
}

// Sleep returns after d, or when the context is done.
func Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Earliest returns the earlier of two times, where the zero time is later than all others.
func Earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Later returns the later of two times, where the zero time is earlier than all others.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
