package outbox

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

func TestRecord_BaselineIsBounded(t *testing.T) {
	t.Parallel()
	r := Record{State: Queued}
	shop := make([]chats.MessageID, 0, 100)
	for n := range chats.MessageID(100) {
		r.begin(1, shop, time.Time{})
		assert.Len(t, r.Baseline, min(len(shop), maxBaseline))
		assert.Equal(t, max(n-maxBaseline-1, 0), r.Floor, "all others above are new")
		shop = append(shop, n)
	}
}

func TestRecord_FloorIsWhereTheReadingBegan(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	before := func(d time.Duration) chats.MessageID { return chats.MessageID(now.Add(-d).UnixMicro()) }
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		last chats.MessageID
		shop []chats.MessageID
		want chats.MessageID
	}{
		"no message is known":     {0, []chats.MessageID{before(day)}, 0},
		"it is shown":             {before(3 * day), []chats.MessageID{before(3 * day), before(day)}, before(4 * day)},
		"it is the only one":      {before(day), []chats.MessageID{before(day)}, before(2 * day)},
		"it is gone":              {before(day), nil, before(2 * day)},
		"nothing is above":        {before(day), []chats.MessageID{before(9 * day), before(3 * day)}, 0},
		"it is ahead":             {before(-9 * day), []chats.MessageID{before(0)}, before(day)},
		"IDs are small":           {17, []chats.MessageID{3, 17}, 0},
		"small IDs, it is absurd": {before(0), []chats.MessageID{3, 17}, 0},
	} {
		r := Record{State: Queued, LastMessage: c.last}
		r.begin(1, c.shop, now)
		assert.Equal(t, c.want, r.Floor, name)
		r.begin(1, append(c.shop, before(0)), now)
		assert.Equal(t, c.want, r.Floor, "%s: of the first attempt", name)
	}
}

// A process that only puts, or stands by, puts into any number of chats.
func TestWakes_AreRecordedDuringASessionOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, store := chatstest.NewMarket(), NewMemoryStore()
		o, err := New(market.Client(), store)
		require.NoError(t, err)
		chat := market.AddChat(chats.Chat{})
		putOne := func(key string) { require.NoError(t, o.Put(t.Context(), Item{Key: key, Chat: chat, Text: key})) }
		putOne("before")
		assert.Empty(t, o.woken.chats)
		lease, err := store.Acquire(t.Context(), market.Business(), Purpose, "another process")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- o.Run(ctx) }()
		synctest.Wait()
		putOne("standing by")
		assert.Empty(t, o.woken.chats)
		require.NoError(t, store.Release(t.Context(), lease))
		<-time.After(10 * time.Second)
		putOne("at once")
		<-time.After(time.Millisecond)
		for _, key := range []string{"before", "standing by", "at once"} {
			r, err := o.Get(t.Context(), key)
			require.NoError(t, err)
			assert.Equal(t, Sent, r.State, key)
		}
		cancel()
		require.NoError(t, <-ended)
		putOne("after")
		assert.Empty(t, o.woken.chats)
	})
}

func TestUnsettled_IsFailedOnlyAfterAFailure(t *testing.T) {
	t.Parallel()
	assert.Zero(t, unsettled(&Record{}, true).failures)
	assert.Equal(t, 1, unsettled(&Record{Failures: 1}, true).failures)
}

func TestRecord_AMessageAtTheFloorIsNotAboveIt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	r := Record{LastMessage: chats.MessageID(now.UnixMicro())}
	floor := r.LastMessage - confirmMargin
	assert.Zero(t, r.firstFloor([]chats.MessageID{floor}, now))
	assert.Equal(t, floor, r.firstFloor([]chats.MessageID{floor + 1}, now))
	assert.Equal(t, floor, r.firstFloor(nil, now))
}
