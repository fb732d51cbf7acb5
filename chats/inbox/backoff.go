package inbox

import (
	"context"
	"time"
)

// The upper bounds of delays. A chat whose handler fails may need human attention; the
// server, the network and the store recover by themselves.
const (
	maxHandlerBackoff = 5 * time.Minute
	maxRefusedBackoff = time.Hour // of a chat whose history is refused or cannot be understood
	maxBackoff        = time.Minute
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

// backoffSince returns the delay for something that has been failing since a given time. It
// doubles as well, but needs no counter.
func backoffSince(since, now time.Time, longest time.Duration) time.Duration {
	return min(max(now.Sub(since), time.Second), longest)
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
