package inbox_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/inbox"
)

// A message that was handled when the run ended is saved if the store works again within 5 s.
func TestRun_SavesAfterItsEnd(t *testing.T) {
	t.Parallel()
	for away, deliveries := range map[time.Duration]int{0: 1, time.Second: 1, 4 * time.Second: 1, 8 * time.Second: 2} {
		bubble(t, away.String(), func(t *testing.T) {
			t.Helper()
			market, id := shop()
			store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
			var run *running
			handling := make(chan struct{}, 10)
			handle := func(ctx context.Context, d inbox.Delivery) error {
				handling <- struct{}{}
				sleep(time.Second)
				return seen.handle(ctx, d)
			}
			in := newInbox(t, connect(t, market), store, never)
			run = start(t, in, handle)
			sleep(time.Minute)
			market.CustomerSays(id, "message")
			wake(t, in, id)
			<-handling
			end := time.Now().Add(time.Second + away) // the handler is waited for
			store.set(func(call string) error {
				if (call == "Save" || call == "Chats") && time.Now().Before(end) {
					return errAway
				}
				return nil
			}, nil)
			began := time.Now()
			require.NoError(t, run.stop())
			assert.Less(t, time.Since(began), 10*time.Second)

			store.set(nil, nil)
			run = start(t, newInbox(t, connect(t, market), store), seen.handle)
			sleep(20 * time.Minute)
			require.NoError(t, run.stop())
			assert.Len(t, seen.texts(), deliveries)
		})
	}
}

// A save is retried after 0.1 s, doubling up to a second.
func TestRun_SavesAreRetriedEverSlower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store := &flakyStore{MemoryStore: inbox.NewMemoryStore()}
		in := newInbox(t, connect(t, market), store, never)
		run := start(t, in, (&recorder{}).handle)
		sleep(time.Minute)
		var saves []time.Time
		store.set(func(call string) error {
			if call != "Save" {
				return nil
			}
			if saves = append(saves, time.Now()); len(saves) < 7 {
				return errAway
			}
			return nil
		}, nil)
		market.CustomerSays(id, "message")
		wake(t, in, id)
		sleep(10 * time.Second)
		require.NoError(t, run.stop())
		require.GreaterOrEqual(t, len(saves), 7)
		for i, pause := range []int64{100, 200, 400, 800, 1000, 1000} {
			assert.Equal(t, pause, saves[i+1].Sub(saves[i]).Milliseconds())
		}
	})
}
