// Package urgent lets the caller of a step learn when something is due that cannot wait for
// the next sweep: a chat that a push has named or that is failing. When anything at all is
// due is what the step returns.
package urgent

import (
	"context"
	"sync"
	"time"
)

type key struct{}

// Time is the earliest of the times that were noted.
type Time struct {
	mu sync.Mutex
	at time.Time
}

// WithTime returns a context under which Note notes times in t.
func WithTime(ctx context.Context, t *Time) context.Context { return context.WithValue(ctx, key{}, t) }

// Note notes that something is due at a time. It may be called concurrently.
func Note(ctx context.Context, at time.Time) {
	t, _ := ctx.Value(key{}).(*Time)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at.IsZero() || at.Before(t.at) {
		t.at = at
	}
}

// Get returns the time, zero if none was noted.
func (t *Time) Get() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at
}
