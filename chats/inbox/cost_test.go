package inbox_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

var tableFlag = flag.Bool("table", false, "print the table of requests per hour (minutes)")

// cost is requests per hour.
type cost struct{ list, history, chat float64 }

func (c cost) String() string { return fmt.Sprintf("%.0f", c.list+c.history+c.chat) }

// counted is what a Market was asked per hour while f ran.
func counted(market *chatstest.Market, f func()) cost {
	count := func() [3]int {
		return [3]int{market.Calls(chats.OpGetChats), market.Calls(chats.OpGetChatHistory), market.Calls(chats.OpGetChat)}
	}
	before, began := count(), time.Now()
	f()
	after, passed := count(), time.Since(began).Hours()
	per := func(i int) float64 { return float64(after[i]-before[i]) / passed }
	return cost{per(0), per(1), per(2)}
}

// activeShop has as many chats, one in ten of them not finished.
func activeShop(n int) (*chatstest.Market, []chats.ChatID) {
	market := chatstest.NewMarket(chatstest.WithLatency(80 * time.Millisecond))
	var open []chats.ChatID
	for i := range n {
		chat := longAgo()
		chat.Status = chats.StatusFinished
		if i%10 == 0 {
			chat.Status = chats.StatusWaitingForCustomer
		}
		if id := market.AddChat(chat); i%10 == 0 {
			open = append(open, id)
		}
	}
	market.CustomerSays(open[0], "old")
	pass(time.Hour)
	return market, open
}

// measure runs an inbox while so many messages an hour arrive. With pushes, each
// is announced half a second later.
func measure(t *testing.T, n, activity int, pushes bool) (per cost, late time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		market, open := activeShop(n)
		said := map[chats.MessageID]time.Time{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore())
		seen := &notebook{}
		run := start(t, in, 8, seen.handle)
		pass(90 * time.Minute)
		random := rand.New(rand.NewPCG(1, 1))
		per = counted(market, func() {
			if activity == 0 {
				pass(4 * time.Hour)
			}
			for range 4 * activity {
				pass(time.Hour / time.Duration(activity))
				id := open[random.IntN(len(open))]
				said[market.CustomerSays(id, "text")] = time.Now()
				if pushes {
					time.AfterFunc(500*time.Millisecond, func() { _ = in.Wake(context.Background(), id) })
				}
			}
		})
		pass(time.Hour)
		require.NoError(t, run.stop())
		assert.Len(t, seen.all(), 4*activity)
		for _, d := range seen.all() {
			late += d.at.Sub(said[d.Message.ID])
		}
		late /= time.Duration(max(1, 4*activity))
	})
	return per, late
}

// naive lists all chats every minute, and reads the newest page of each.
func naive(t *testing.T, n int) (per cost) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		market, _ := activeShop(n)
		client := market.Client()
		for chat, err := range client.Chats(t.Context(), chats.Filter{}) {
			require.NoError(t, err)
			_, err = client.HistoryPage(t.Context(), chat.ID, 0, chats.PageRequest{})
			require.NoError(t, err)
		}
		per = cost{list: 60 * float64(market.Calls(chats.OpGetChats)), history: 60 * float64(market.Calls(chats.OpGetChatHistory))}
	})
	return per
}

// The table of the README: go test ./chats/inbox -run TestTable -table -v
func TestTable(t *testing.T) {
	sizes, activities := []int{100}, []int{0, 100}
	if *tableFlag {
		sizes, activities = []int{100, 1000, 10_000}, []int{0, 100, 1000}
	}
	var table strings.Builder
	table.WriteString("| chats | messages an hour | sweeps alone | found after | with pushes | found after | naive loop |\n|---|---|---|---|---|---|---|\n")
	for _, n := range sizes {
		loop := naive(t, n)
		for _, activity := range activities {
			alone, lateAlone := measure(t, n, activity, false)
			pushed, latePushed := measure(t, n, activity, true)
			fmt.Fprintf(&table, "| %d | %d | %s (%.0f + %.0f) | %s | %s (%.0f + %.0f) | %s | %s |\n", n, activity,
				alone, alone.list, alone.history, lateAlone.Round(time.Second/10),
				pushed, pushed.list, pushed.history, latePushed.Round(time.Second/10), loop)
			assert.LessOrEqual(t, alone.list, 2500.0, "half of the hour's allowance")
			assert.LessOrEqual(t, alone.history, 2.1*float64(activity), "two looks for a message")
			assert.LessOrEqual(t, pushed.history, 2.5*float64(activity))
			assert.Zero(t, pushed.chat)
		}
	}
	if *tableFlag {
		t.Log("\n" + table.String())
	}
}

func heap() int {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// Not parallel: it measures the whole process.
func TestMemoryStaysFlat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		market, open := activeShop(300)
		in := newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithPollInterval(10*time.Minute))
		goroutines := runtime.NumGoroutine()
		before := heap()
		run := start(t, in, 8, func(context.Context, inbox.Delivery) error { return nil })
		sizes := make([]int, 0, 24)
		for hour := range 24 {
			for i := range 30 {
				id := open[(hour*30+i*7)%len(open)]
				market.CustomerSays(id, "text")
				_ = in.Wake(context.Background(), id)
				_ = in.Wake(context.Background(), chats.ChatID(1000+hour*30+i)) // no such chat
				pass(2 * time.Minute)
				assert.LessOrEqual(t, runtime.NumGoroutine()-goroutines, 8+4)
			}
			sizes = append(sizes, heap())
		}
		assert.Less(t, sizes[23]-sizes[1], 2<<20, "a day later: %v", sizes)
		assert.Less(t, sizes[1]-before, 4<<20, "300 chats: %v from %d", sizes, before)
		require.NoError(t, run.stop())
	})
}
