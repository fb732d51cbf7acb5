package urgent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats/internal/urgent"
)

func TestNote_KeepsTheEarliest(t *testing.T) {
	t.Parallel()
	var at urgent.Time
	ctx := urgent.WithTime(t.Context(), &at)
	assert.Zero(t, at.Get())
	now := time.Now()
	urgent.Note(t.Context(), now.Add(-time.Hour)) // under no one's context
	urgent.Note(ctx, now)
	urgent.Note(ctx, now.Add(-time.Second))
	urgent.Note(ctx, now.Add(time.Second))
	urgent.Note(ctx, time.Time{}) // never
	assert.Equal(t, now.Add(-time.Second), at.Get())
}
