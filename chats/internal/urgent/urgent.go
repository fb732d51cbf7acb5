// Package urgent lets the caller of a step learn when urgent work is due: a poll of a chat that a
// push has named, that is failing, or whose latest activity is not explained by its messages yet.
// Such polls cannot wait for the next sweep. The step itself returns the time at which any work, urgent or not, is due.
package urgent

import (
	"context"
	"sync"
	"time"
)

type key struct{}

// Time holds the earliest noted time.
type Time struct {
	mu sync.Mutex
	at time.Time
}

// WithTime returns a context under which Note notes times in t.
func WithTime(ctx context.Context, t *Time) context.Context { return context.WithValue(ctx, key{}, t) }

// Note notes the time at which urgent work is due. A zero time is ignored. It may be called concurrently.
func Note(ctx context.Context, at time.Time) {
	t, _ := ctx.Value(key{}).(*Time)
	if t == nil || at.IsZero() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at.IsZero() || at.Before(t.at) {
		t.at = at
	}
}

// Get returns the earliest noted time, or the zero time if there is none.
func (t *Time) Get() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at
}
