package inbox

import (
	"context"
	"time"
)

// The longest pauses. A chat whose handler fails may need a person; what else
// fails is Market, the network or the store, which come back by themselves.
const (
	longestHandlerPause = 5 * time.Minute
	longestPause        = time.Minute
)

// backoff is the pause after the n-th failure in a row, n from 1: 1 s, doubling.
func backoff(n int, longest time.Duration) time.Duration {
	pause := time.Second
	for range n - 1 {
		if pause *= 2; pause >= longest {
			return longest
		}
	}
	return pause
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
