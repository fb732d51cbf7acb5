package inbox_test

import (
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/race"
)

// What the process keeps of an idle business of 10,000 chats between two steps: the client and the
// Inbox, with a sweep that stands somewhere. The rows are in a store that is there before.
func TestStep_AnIdleBusinessNeedsLittleMemory(t *testing.T) { // not parallel: it measures
	if race.Enabled {
		return // the race detector needs memory of its own
	}
	synctest.Test(t, func(t *testing.T) {
		const businesses = 50
		d := newDirectory(10_000)
		client := d.market.Client(chats.WithHTTPClient(&http.Client{Transport: d}))
		seen, store := &recorder{}, inbox.NewMemoryStore()
		run := start(t, newInbox(t, client, store), seen.handle)
		sleep(70 * time.Minute) // a full sweep
		require.NoError(t, run.stop())

		idle := make([]*inbox.Inbox, businesses)
		bytes, goroutines := used()
		for i := range idle {
			client := d.market.Client(chats.WithHTTPClient(&http.Client{Transport: d}))
			idle[i] = newInbox(t, client, store)
			for range 3 {
				_, err := idle[i].Step(t.Context(), seen.handle)
				require.NoError(t, err)
				sleep(17 * time.Second)
			}
		}
		bytesAfter, goroutinesAfter := used()
		each := (bytesAfter - bytes) / businesses
		t.Logf("%d bytes and %d goroutines for each", each, goroutinesAfter-goroutines)
		assert.Less(t, each, 50_000)
		assert.Equal(t, goroutines, goroutinesAfter)
		status, err := idle[0].Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 10_000, status.Chats)
	})
}

// used returns the heap and the stacks in use, and the number of goroutines.
func used() (bytes, goroutines int) {
	synctest.Wait()
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc + stats.StackInuse), runtime.NumGoroutine()
}
