package keyedmutex

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLock_ExcludesTheSameKeyOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m Mutex[string]
		var order []string
		unlock, err := m.Lock(t.Context(), "a")
		require.NoError(t, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			unlock, err := m.Lock(t.Context(), "a")
			assert.NoError(t, err)
			order = append(order, "second")
			unlock()
		}()
		other, err := m.Lock(t.Context(), "b")
		require.NoError(t, err, "another key is free")
		other()
		synctest.Wait()
		order = append(order, "first")
		unlock()
		<-done
		assert.Equal(t, []string{"first", "second"}, order)
		assert.Empty(t, m.held)
	})
}

func TestLock_WaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var m Mutex[int]
		unlock, err := m.Lock(t.Context(), 1)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = m.Lock(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		unlock()
		unlock, err = m.Lock(t.Context(), 1)
		require.NoError(t, err, "the one that gave up left nothing")
		unlock()
	})
}
