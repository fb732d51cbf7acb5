package wait_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

func TestBackoff_DoublesUpToItsBound(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 6: 32 * time.Second, 7: wait.Max, 1000: wait.Max,
	} {
		assert.Equal(t, want, wait.Backoff(n, wait.Max), n)
	}
}

func TestEarliestAndLater_ZeroIsNever(t *testing.T) {
	t.Parallel()
	none, a := time.Time{}, time.Unix(1, 0)
	b := a.Add(1)
	assert.Equal(t, []time.Time{a, a, a, a, none}, []time.Time{
		wait.Earliest(a, b), wait.Earliest(b, a), wait.Earliest(a, none), wait.Earliest(none, a), wait.Earliest(none, none),
	})
	assert.Equal(t, []time.Time{b, b, a, a}, []time.Time{
		wait.Later(a, b), wait.Later(b, a), wait.Later(a, none), wait.Later(none, a),
	})
}

func TestSleep_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		wait.Sleep(t.Context(), time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wait.Sleep(ctx, time.Hour)
		assert.Equal(t, time.Minute+time.Second, time.Since(began))
	})
}
