package outbox

import (
	"context"
	"time"
)

const (
	maxBackoff       = time.Minute
	maxReportBackoff = 5 * time.Minute // the callback may need a person
)

// backoff returns the delay after the n-th failure in a row, n from 1: 1 s, doubling.
func backoff(n int, longest time.Duration) time.Duration {
	delay := time.Second
	for range n - 1 {
		if delay *= 2; delay >= longest {
			return longest
		}
	}
	return delay
}

// sleep returns after d, or when the context ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// earliest returns the earlier of two times; a zero time means none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
