package inbox_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// loads counts the statements that load the rows of a page.
func loads(store *flakyStore) (count func() int) {
	var n atomic.Int64
	store.set(nil, func(call string) error {
		if call == "Chats" {
			n.Add(1)
		}
		return nil
	})
	return func() int { return int(n.Swap(0)) }
}

func TestSweep_LoadsTheRowsOfPagesThatHaveChanged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(50, chats.StatusNew)
		store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
		client := connect(t, market)
		stepper(t, client, store, 5*time.Minute, seen.handle)
		loaded := loads(store)
		market.CustomerSays(ids[25], "message")
		stepper(t, client, store, time.Minute, seen.handle)
		assert.Equal(t, []string{"message"}, seen.texts())
		assert.Positive(t, loaded())
		stepper(t, client, store, 5*time.Minute, seen.handle)
		loaded()
		stepper(t, client, store, 5*time.Minute, seen.handle)
		assert.Zero(t, loaded())
		stepper(t, client, store, time.Hour, seen.handle)
		assert.Equal(t, 3, loaded(), "each page once an hour")
	})
}

// A chat that did not match the filter when it was read is considered again when it is listed.
func TestSweep_LoadsTheRowsOfChatsThatMayHaveStoppedMatching(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := shop()
		store := &flakyStore{MemoryStore: inbox.NewMemoryStore()}
		filter := inbox.WithFilter(chats.Filter{Types: []chats.ChatType{chats.ChatTypeChat, chats.ChatTypeArbitrage}})
		run := startSteps(t, newInbox(t, connect(t, market), store, filter), (&recorder{}).handle)
		sleep(5 * time.Minute)
		loaded := loads(store)
		sleep(5 * time.Minute)
		assert.Positive(t, loaded())
		require.NoError(t, run.stop())
	})
}

// A chat without a time may have changed although it is listed as before.
func TestSweep_LoadsTheRowsOfChatsWithoutATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
		client := connectVia(t, market, edited(market, "/chats", func(result map[string]any) {
			for _, chat := range items(result, "chats") {
				delete(chat, "updatedAt")
			}
		}))
		stepper(t, client, store, 5*time.Minute, seen.handle)
		loaded := loads(store)
		market.CustomerSays(id, "message")
		stepper(t, client, store, 12*time.Minute, seen.handle)
		assert.Positive(t, loaded())
		assert.Equal(t, []string{"message"}, seen.texts())
	})
}

// The rows of a page are not saved, and what the list shows does not change afterwards.
func TestSweep_APageThatWasNotSavedIsAppliedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
		client := connect(t, market)
		stepper(t, client, store, 5*time.Minute, seen.handle)
		market.CustomerSays(id, "message")
		failed := false
		store.set(func(call string) error {
			if call == "Save" && !failed {
				failed = true
				return inbox.ErrConflict
			}
			return nil
		}, nil)
		sleep(time.Minute)
		_, err := newInbox(t, client, store).Step(t.Context(), seen.handle)
		require.ErrorIs(t, err, inbox.ErrConflict)
		stepper(t, client, store, 5*time.Minute, seen.handle)
		assert.Equal(t, []string{"message"}, seen.texts())
	})
}

// What the list shows of a chat is saved when its poll ends, and the process is killed before.
func TestSweep_AChatListedWhileItsPollIsLostIsAppliedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
		client := connect(t, market)
		stepper(t, client, store, 5*time.Minute, seen.handle)
		other := market.AddChat(longAgo())
		market.CustomerSays(id, "first")
		run := start(t, newInbox(t, client, store), func(ctx context.Context, d inbox.Delivery) error {
			if d.Chat.ID == other {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		sleep(90 * time.Second)
		market.CustomerSays(id, "second")
		market.CustomerSays(other, "message") // so that the page is saved
		sleep(90 * time.Second)
		store.fails("all") // until the lease is lost
		sleep(time.Minute)
		store.fails()
		require.NoError(t, run.stop())
		stepper(t, client, store, 5*time.Minute, seen.handle)
		assert.Equal(t, []string{"first", "second"}, seen.texts())
		listed, err := client.Chat(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, listed, row(t, store, market, id).Snapshot)
	})
}

// A chat that is gone is polled when it is listed, even if it is listed as before.
func TestSweep_AChatThatIsGoneIsPolledWhenItIsListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		var absent atomic.Bool
		client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
			if !absent.Load() || !asksFor(req, "/chats/history", 0) {
				return nil
			}
			return respond(req, 404, `{"status":"ERROR","errors":[{"code":"NOT_FOUND","message":"Can't find chat by id"}]}`)
		}))
		store, seen := inbox.NewMemoryStore(), &recorder{}
		stepper(t, client, store, 5*time.Minute, seen.handle)
		absent.Store(true)
		market.CustomerSays(id, "message")
		stepper(t, client, store, 2*time.Hour, seen.handle)
		require.Len(t, failBefore(t, store, market, 3*24*time.Hour), 1)
		isGone := func() bool {
			since := row(t, store, market, id).FailingSince
			return since.IsZero() || time.Since(since) < time.Hour
		}
		for n := 0; n < 25*60 && !isGone(); n++ {
			stepper(t, client, store, time.Minute, seen.handle)
		}
		require.True(t, isGone())
		absent.Store(false)
		stepper(t, client, store, 2*time.Minute, seen.handle)
		assert.Equal(t, []string{"message"}, seen.texts())
	})
}
