package inbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// sweeperOn is a sweeper of a Market with that many chats.
func sweeperOn(t *testing.T, n int, options ...chatstest.Option) (*sweeper, *chatstest.Market) {
	t.Helper()
	market := chatstest.NewMarket(options...)
	for range n {
		market.AddChat(chats.Chat{})
	}
	in, err := New(market.Client(), NewMemoryStore())
	require.NoError(t, err)
	return in.newSession(t.Context(), nil).sweeper, market
}

func TestWhatAListCosts(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]int{0: 1, 1: 1, 19: 1, 20: 1, 21: 2, 40: 2, 41: 3} {
		w, market := sweeperOn(t, n)
		listed := 0
		cost, err := w.list(t.Context(), chats.Filter{}, func(chats.Chat) { listed++ })
		require.NoError(t, err)
		assert.Equal(t, n, listed)
		assert.Equal(t, want, cost, "%d chats", n)
		assert.Equal(t, want, market.Calls(chats.OpGetChats), "%d chats", n)
	}
	w, market := sweeperOn(t, 41)
	market.Fail(chats.OpGetChats, chatstest.OK(), chatstest.Status(403, ""))
	cost, err := w.list(t.Context(), chats.Filter{}, func(chats.Chat) {})
	require.ErrorIs(t, err, chats.ErrForbidden)
	assert.Equal(t, 2, cost, "the page that failed counts")
}

// Of four requests an hour two are the reserve, so that the third page has to wait.
func TestAListIsReadAtLeisureAtTheReserve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := sweeperOn(t, 45, chatstest.WithHourlyLimit(chats.OpGetChats, 4))
		began := time.Now()
		_, err := w.list(t.Context(), chats.Filter{}, func(chats.Chat) {})
		require.NoError(t, err)
		assert.GreaterOrEqual(t, time.Since(began), shortPause)
		assert.LessOrEqual(t, time.Since(began), 2*shortPause, "after a page, not after a chat")
	})
}

// A 400 is the quick list's fault only where the full one has worked.
func TestAListThatIsRefused(t *testing.T) {
	t.Parallel()
	w, market := sweeperOn(t, 1)
	market.Fail(chats.OpGetChats, chatstest.Status(400, ""), chatstest.OK(), chatstest.Status(400, ""))
	for _, want := range []struct{ failed, tiered bool }{{true, true}, {false, true}, {true, false}} {
		w.s.book = newBook(nil, time.Now())
		cost, err := w.sweep(t.Context(), w.fullCost == 0)
		assert.Equal(t, want.failed, err != nil)
		if err != nil {
			w.failed(t.Context(), err, 1, cost)
		}
		assert.Equal(t, want.tiered, w.tiered)
	}
}
