package integration

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// What every Store promises, on every Store.
func TestStores(t *testing.T) {
	t.Parallel()
	promises := []struct {
		name string
		test func(t *testing.T, one, other inbox.Store)
	}{
		{"compares and sets", testCompareAndSet},
		{"has one winner", testOneWinner},
		{"compares times by the instant and the microsecond", testTimes},
		{"takes the zero mark for none", testZeroMark},
		{"keeps businesses apart", testBusinesses},
		{"keeps every number", testNumbers},
		{"keeps thousands of chats", testThousands},
		{"ends with the context", testContext},
		{"leases in turn", testLease},
	}
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			t.Parallel()
			one, other := store.make(t)
			for _, promise := range promises {
				t.Run(promise.name, func(t *testing.T) { promise.test(t, one, other) }) // on one database, each with a business of its own
			}
		})
	}
}

var noon = time.Date(2026, 7, 17, 12, 0, 0, 123456000, time.UTC)

func testCompareAndSet(t *testing.T, one, other inbox.Store) {
	const business, chat = 1, 10
	first, second := inbox.Mark{Message: 100, UpdatedAt: noon}, inbox.Mark{Message: 101, UpdatedAt: noon}
	marks, err := one.Marks(t.Context(), business)
	require.NoError(t, err)
	assert.Empty(t, marks)

	require.ErrorIs(t, one.Commit(t.Context(), business, chat, first, second), inbox.ErrConflict, "there is none yet")
	require.NoError(t, one.Commit(t.Context(), business, chat, inbox.Mark{}, first))
	require.ErrorIs(t, other.Commit(t.Context(), business, chat, inbox.Mark{}, second), inbox.ErrConflict, "there is one already")
	require.NoError(t, other.Commit(t.Context(), business, chat, first, second))
	require.ErrorIs(t, one.Commit(t.Context(), business, chat, first, inbox.Mark{Message: 102}), inbox.ErrConflict)
	require.ErrorIs(t, one.Commit(t.Context(), business, chat, inbox.Mark{Message: 101}, inbox.Mark{Message: 102}), inbox.ErrConflict,
		"the message is right, the time is not")
	require.NoError(t, one.Commit(t.Context(), business, chat, second, second), "to where it stands")

	marks, err = other.Marks(t.Context(), business)
	require.NoError(t, err)
	assert.Equal(t, map[chats.ChatID]inbox.Mark{chat: second}, marks)
}

// Eight workers at once move one mark, twenty times. Each time one of them has done
// it, and the others know that they have not.
func testOneWinner(t *testing.T, one, other inbox.Store) {
	const business, chat = 2, 10
	for round := range 20 {
		from := inbox.Mark{Message: chats.MessageID(round * 100)}
		var winner atomic.Int64
		var wins atomic.Int32
		var workers sync.WaitGroup
		for worker := range 8 {
			workers.Go(func() {
				to := inbox.Mark{Message: chats.MessageID((round + 1) * 100), UpdatedAt: noon.Add(time.Duration(worker) * time.Second)}
				err := []inbox.Store{one, other}[worker%2].Commit(t.Context(), business, chat, from, to)
				if err == nil {
					wins.Add(1)
					winner.Store(int64(worker))
				} else {
					assert.ErrorIs(t, err, inbox.ErrConflict)
				}
			})
		}
		workers.Wait()
		require.Equal(t, int32(1), wins.Load())
		marks, err := one.Marks(t.Context(), business)
		require.NoError(t, err)
		require.Equal(t, noon.Add(time.Duration(winner.Load())*time.Second), marks[chat].UpdatedAt)
		next := inbox.Mark{Message: chats.MessageID((round + 1) * 100)}
		require.NoError(t, other.Commit(t.Context(), business, chat, marks[chat], next))
	}
}

func testTimes(t *testing.T, one, _ inbox.Store) {
	const business = 3
	for chat, at := range []time.Time{
		noon, noon.Add(999), noon.In(time.FixedZone("MSK", 3*3600)), noon.Local(), time.Now(),
		time.Unix(0, 0), time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC), time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		chat := chats.ChatID(chat + 1)
		require.NoError(t, one.Commit(t.Context(), business, chat, inbox.Mark{}, inbox.Mark{UpdatedAt: at}), at)
		marks, err := one.Marks(t.Context(), business)
		require.NoError(t, err)
		require.Equal(t, at.UTC().Truncate(time.Microsecond), marks[chat].UpdatedAt, at)

		for _, other := range []time.Time{at.Add(time.Microsecond), at.Add(-time.Microsecond), {}} {
			require.ErrorIs(t, one.Commit(t.Context(), business, chat, inbox.Mark{UpdatedAt: other}, inbox.Mark{Message: 1}), inbox.ErrConflict, at)
		}
		same := at.Truncate(time.Microsecond).In(time.FixedZone("", -7*3600))
		require.NoError(t, one.Commit(t.Context(), business, chat, inbox.Mark{UpdatedAt: same}, inbox.Mark{Message: 1}), at)
	}
}

func testZeroMark(t *testing.T, one, other inbox.Store) {
	const business, chat = 4, 0 // the chat of the inbox's own mark
	mark := inbox.Mark{UpdatedAt: noon}
	require.NoError(t, one.Commit(t.Context(), business, chat, inbox.Mark{}, inbox.Mark{}))
	require.NoError(t, one.Commit(t.Context(), business, chat, inbox.Mark{}, mark))
	require.NoError(t, one.Commit(t.Context(), business, chat, mark, inbox.Mark{}))
	marks, err := other.Marks(t.Context(), business)
	require.NoError(t, err)
	assert.Empty(t, marks)
	zeroElsewhere := inbox.Mark{UpdatedAt: time.Time{}.In(time.FixedZone("MSK", 3*3600))}
	require.NoError(t, other.Commit(t.Context(), business, chat, zeroElsewhere, mark))
	marks, err = one.Marks(t.Context(), business)
	require.NoError(t, err)
	assert.Equal(t, map[chats.ChatID]inbox.Mark{chat: mark}, marks)
	require.NoError(t, one.Commit(t.Context(), business, chat, mark, inbox.Mark{Message: 5}))
	marks, err = one.Marks(t.Context(), business)
	require.NoError(t, err)
	assert.True(t, marks[chat].UpdatedAt.IsZero(), "a zero time beside a message")
}

func testBusinesses(t *testing.T, one, _ inbox.Store) {
	const chat = 10
	for business := chats.BusinessID(50); business < 53; business++ {
		require.NoError(t, one.Commit(t.Context(), business, chat, inbox.Mark{}, inbox.Mark{Message: chats.MessageID(business)}))
	}
	require.NoError(t, one.Commit(t.Context(), 51, chat, inbox.Mark{Message: 51}, inbox.Mark{Message: 1000}))
	for business, message := range map[chats.BusinessID]chats.MessageID{50: 50, 51: 1000, 52: 52} {
		marks, err := one.Marks(t.Context(), business)
		require.NoError(t, err)
		assert.Equal(t, map[chats.ChatID]inbox.Mark{chat: {Message: message}}, marks)
	}
}

func testNumbers(t *testing.T, one, _ inbox.Store) {
	const business = chats.BusinessID(math.MaxInt64)
	mark := inbox.Mark{Message: math.MaxInt64, UpdatedAt: noon}
	require.NoError(t, one.Commit(t.Context(), business, math.MaxInt64, inbox.Mark{}, mark))
	marks, err := one.Marks(t.Context(), business)
	require.NoError(t, err)
	assert.Equal(t, map[chats.ChatID]inbox.Mark{math.MaxInt64: mark}, marks)
}

func testThousands(t *testing.T, one, other inbox.Store) {
	const business, many = 7, 2000
	want := make(map[chats.ChatID]inbox.Mark, many)
	for n := range many {
		want[chats.ChatID(n)] = inbox.Mark{Message: chats.MessageID(n + 1), UpdatedAt: noon.Add(time.Duration(n) * time.Second)}
	}
	for chat, mark := range want {
		require.NoError(t, one.Commit(t.Context(), business, chat, inbox.Mark{}, mark))
	}
	marks, err := other.Marks(t.Context(), business)
	require.NoError(t, err)
	assert.Equal(t, want, marks)
}

func testContext(t *testing.T, one, _ inbox.Store) {
	const business, chat = 8, 10
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := one.Marks(ctx, business)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, one.Commit(ctx, business, chat, inbox.Mark{}, inbox.Mark{Message: 1}), context.Canceled)
	_, _, err = one.(inbox.Leaser).Lease(ctx, business)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, one.Commit(t.Context(), business, chat, inbox.Mark{}, inbox.Mark{Message: 1}), "nothing had been done")
}

func testLease(t *testing.T, one, _ inbox.Store) {
	leaser := one.(inbox.Leaser)
	held, release, err := leaser.Lease(t.Context(), 9)
	require.NoError(t, err)
	_, releaseOther, err := leaser.Lease(t.Context(), 90)
	require.NoError(t, err, "another business")
	defer releaseOther()

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, _, err = leaser.Lease(ctx, 9)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, held.Err())

	next := make(chan error, 1)
	go func() {
		_, release, err := leaser.Lease(t.Context(), 9)
		if err == nil {
			release()
			release()
		}
		next <- errors.Join(err, held.Err())
	}()
	release()
	release()
	require.ErrorIs(t, <-next, context.Canceled, "had, and after held had ended")
}
