package inbox

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
)

// What every Store promises is tested in sqlstore/integration, on this one too.

func TestMemoryStoreComparesAndSets(t *testing.T) {
	t.Parallel()
	store := NewMemoryStore()
	at := time.Date(2026, 7, 17, 12, 0, 0, 123456789, time.FixedZone("MSK", 3*3600))
	first := Mark{Message: 1, UpdatedAt: at}
	require.NoError(t, store.Commit(t.Context(), 7, 1, Mark{}, first))
	require.ErrorIs(t, store.Commit(t.Context(), 7, 1, Mark{}, first), ErrConflict)

	sameInstant := Mark{Message: 1, UpdatedAt: at.UTC().Truncate(time.Microsecond)}
	require.NoError(t, store.Commit(t.Context(), 7, 1, sameInstant, first), "another zone, fewer digits, one instant")
	require.NoError(t, store.Commit(t.Context(), 7, 1, first, Mark{Message: 2}))
	require.ErrorIs(t, store.Commit(t.Context(), 7, 1, first, Mark{Message: 3}), ErrConflict)

	marks, err := store.Marks(t.Context(), 7)
	require.NoError(t, err)
	assert.Equal(t, map[chats.ChatID]Mark{1: {Message: 2}}, marks)

	require.NoError(t, store.Commit(t.Context(), 7, 1, Mark{Message: 2}, Mark{}))
	marks, err = store.Marks(t.Context(), 7)
	require.NoError(t, err)
	assert.Empty(t, marks, "the zero mark is none")
}

func TestMemoryStoreGivesCopies(t *testing.T) {
	t.Parallel()
	store := NewMemoryStore()
	require.NoError(t, store.Commit(t.Context(), 7, 1, Mark{}, Mark{Message: 1}))
	marks, err := store.Marks(t.Context(), 7)
	require.NoError(t, err)
	marks[1] = Mark{Message: 99}
	again, err := store.Marks(t.Context(), 7)
	require.NoError(t, err)
	assert.Equal(t, chats.MessageID(1), again[1].Message)
}

func TestMemoryStoreEndsWithTheContext(t *testing.T) {
	t.Parallel()
	store := NewMemoryStore()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := store.Marks(ctx, 7)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, store.Commit(ctx, 7, 1, Mark{}, Mark{Message: 1}), context.Canceled)
	_, _, err = store.Lease(ctx, 7)
	require.ErrorIs(t, err, context.Canceled)
}

// Three workers of one process want one business; they get it in their order, one
// at a time, and another business is nobody's hindrance.
func TestMemoryStoreLeasesInTurn(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryStore()
		held, release, err := store.Lease(t.Context(), 7)
		require.NoError(t, err)
		_, other, err := store.Lease(t.Context(), 8)
		require.NoError(t, err)
		defer other()

		order := make(chan int, 2)
		var workers sync.WaitGroup
		defer workers.Wait()
		for worker := range 2 {
			workers.Go(func() {
				_, release, err := store.Lease(t.Context(), 7)
				if !assert.NoError(t, err) {
					return
				}
				order <- worker
				time.Sleep(time.Minute) //nolint:forbidigo // the bubble's time: work under the lease
				release()
			})
			synctest.Wait()
		}
		require.Empty(t, order, "the business is taken")
		require.NoError(t, held.Err())

		release()
		require.ErrorIs(t, held.Err(), context.Canceled)
		release()
		synctest.Wait()
		require.Len(t, order, 1, "a second release frees nothing of another worker's")
		assert.Equal(t, []int{0, 1}, []int{<-order, <-order})
	})
}

func TestMemoryStoreWaitsNoLongerThanTheContext(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	synctest.Test(t, func(t *testing.T) {
		store := NewMemoryStore()
		ctx, cancel := context.WithCancel(t.Context())
		held, release, err := store.Lease(ctx, 7)
		require.NoError(t, err)
		short, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		_, _, err = store.Lease(short, 7)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		cancel()
		require.ErrorIs(t, held.Err(), context.Canceled, "held ends with the context it was asked for with")
		release()
		_, release, err = store.Lease(t.Context(), 7)
		require.NoError(t, err, "who gave up waiting holds nothing")
		release()
	})
}
