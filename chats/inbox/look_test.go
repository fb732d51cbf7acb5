package inbox_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// Times are in whole seconds: the second message leaves the chat's UpdatedAt as it
// was when the first one was handled.
func TestAMessageInTheSecondOfTheLastOneIsFound(t *testing.T) {
	t.Parallel()
	for _, killed := range []bool{false, true} {
		for _, after := range []time.Duration{0, 100 * time.Millisecond, 900 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				market, id := shop(t)
				store, seen := inbox.NewMemoryStore(), &notebook{}
				in := newInbox(t, market.Client(), store)
				run := start(t, in, 1, seen.handle)
				pass(time.Minute)
				market.CustomerSays(id, "first")
				_ = in.Wake(context.Background(), id)
				synctest.Wait()
				require.Equal(t, []string{"first"}, seen.texts())
				if killed {
					require.NoError(t, run.stop())
				}
				pass(after)
				market.CustomerSays(id, "second")
				if killed {
					run = start(t, newInbox(t, market.Client(), store), 1, seen.handle)
				}
				pass(5 * time.Second)
				assert.Equal(t, []string{"first", "second"}, seen.texts())

				pass(2 * time.Minute)
				calls := market.Calls(chats.OpGetChatHistory)
				pass(time.Hour)
				assert.Equal(t, calls, market.Calls(chats.OpGetChatHistory), "settled, it costs nothing more")
				require.NoError(t, run.stop())
				run = start(t, newInbox(t, market.Client(), store), 1, seen.handle)
				pass(time.Hour)
				require.NoError(t, run.stop())
				assert.Equal(t, calls, market.Calls(chats.OpGetChatHistory), "nor after a restart")
			})
		}
	}
}

// The list may know of a message before the history shows it.
func TestAHistoryMayLagBehindTheList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		seen := &notebook{}
		run := start(t, newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithPollInterval(time.Minute)), 1, seen.handle)
		pass(90 * time.Second)
		market.CustomerSays(id, "late")
		empty := `{"status":"OK","result":{"context":{"type":"ORDER","orderId":1},"messages":[],"paging":{}}}`
		market.Fail(chats.OpGetChatHistory, chatstest.Malformed(empty), chatstest.Malformed(empty))
		pass(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"late"}, seen.texts())
	})
}

func TestOneChatInOrderAndSeveralAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(50 * time.Millisecond))
		ids := make([]chats.ChatID, 9)
		for i := range ids {
			ids[i] = market.AddChat(longAgo())
		}
		seen := &notebook{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore())
		var busy, most atomic.Int32
		run := start(t, in, 8, func(ctx context.Context, d inbox.Delivery) error {
			most.Store(max(most.Load(), busy.Add(1)))
			defer busy.Add(-1)
			if d.Chat.ID != ids[8] {
				pass(5 * time.Second)
			}
			return seen.handle(ctx, d)
		})
		pass(time.Minute)
		for round := range 3 {
			for _, id := range ids[:8] {
				market.CustomerSays(id, strconv.Itoa(round))
				_ = in.Wake(context.Background(), id)
			}
		}
		pass(2 * time.Second)
		assert.EqualValues(t, 8, busy.Load(), "8 workers for 8 chats with mail")
		pass(30 * time.Second)
		assert.EqualValues(t, 8, most.Load())
		byChat := map[chats.ChatID][]string{}
		for _, d := range seen.all() {
			byChat[d.Chat.ID] = append(byChat[d.Chat.ID], d.Message.Text)
		}
		for _, id := range ids[:8] {
			assert.Equal(t, []string{"0", "1", "2"}, byChat[id])
		}

		for _, id := range ids[:7] {
			market.CustomerSays(id, "slow")
			_ = in.Wake(context.Background(), id)
		}
		pass(time.Second)
		market.CustomerSays(ids[8], "quick")
		_ = in.Wake(context.Background(), ids[8])
		pass(500 * time.Millisecond)
		assert.Equal(t, "quick", seen.texts()[len(seen.texts())-1], "seven slow handlers delay no other chat")
		require.NoError(t, run.stop())
	})
}

func TestAFailedHandlingIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, bad := shop(t)
		good := market.AddChat(longAgo())
		log := &strings.Builder{}
		store, seen := inbox.NewMemoryStore(), &notebook{}
		in := newInbox(t, market.Client(), store, inbox.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
		var tries []time.Time
		handle := func(ctx context.Context, d inbox.Delivery) error {
			if d.Message.Text != "secret bad" {
				return seen.handle(ctx, d)
			}
			tries = append(tries, time.Now())
			if len(tries)%2 == 0 {
				panic("broken")
			}
			return errors.New("no")
		}
		run := start(t, in, 2, handle)
		pass(time.Minute)
		market.CustomerSays(bad, "before")
		market.CustomerSays(bad, "secret bad")
		market.CustomerSays(bad, "after")
		_ = in.Wake(context.Background(), bad)
		for i := range 20 * 60 {
			if i%10 == 0 {
				_ = in.Wake(context.Background(), bad) // a push that comes again does not hasten it
			}
			if i%60 == 0 {
				market.CustomerSays(good, strconv.Itoa(i))
				_ = in.Wake(context.Background(), good)
			}
			pass(time.Second)
		}
		pauses := make([]time.Duration, 0, len(tries))
		for i := range len(tries) - 1 {
			pauses = append(pauses, tries[i+1].Sub(tries[i]).Round(time.Second)/time.Second)
		}
		assert.Equal(t, []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300}, pauses)
		assert.Len(t, seen.texts(), 21, "the other chat goes on")
		assert.Contains(t, seen.texts(), "before")
		assert.NotContains(t, seen.texts(), "after", "its chat waits")
		require.NoError(t, run.stop())
		assert.Contains(t, log.String(), "panic: broken")
		assert.Contains(t, log.String(), "look_test.go", "with its stack")
		assert.NotContains(t, log.String(), "secret")

		n := len(tries)
		run = start(t, newInbox(t, market.Client(), store), 1, handle)
		synctest.Wait()
		assert.Len(t, tries, n+1, "at once after a restart")
		require.NoError(t, run.stop())
	})
}

func TestFrom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		store, seen := inbox.NewMemoryStore(), &notebook{}
		run := start(t, newInbox(t, market.Client(), store, inbox.WithSenders(chats.SenderCustomer, chats.SenderSupport)), 1, seen.handle)
		pass(time.Second)
		for _, sender := range []chats.Sender{chats.SenderPartner, chats.SenderCustomer, chats.SenderMarket, chats.SenderSupport, chats.SenderPartner} {
			market.AddMessage(id, sender, string(sender))
		}
		pass(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"CUSTOMER", "SUPPORT"}, seen.texts())
		marks, err := store.Marks(t.Context(), market.Business())
		require.NoError(t, err)
		all := market.Messages(id)
		assert.Equal(t, all[len(all)-1].ID, marks[id].Message, "the rest is marked all the same")
		run = start(t, newInbox(t, market.Client(), store), 1, seen.handle)
		pass(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), 2)
	})
}

func TestAnHourThatIsUsedUpIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t, chatstest.WithHourlyLimit(chats.OpGetChatHistory, 20))
		for range 40 {
			market.AddChat(longAgo())
		}
		log, seen := &journal{}, &notebook{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithQuotaReserve(0),
			inbox.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
		run := start(t, in, 2, seen.handle)
		for i := range 60 {
			pass(20 * time.Second)
			market.CustomerSays(id, strconv.Itoa(i))
			_ = in.Wake(context.Background(), id)
		}
		for _, chat := range market.Chats() {
			market.CustomerSays(chat.ID, "and all the others")
		}
		pass(35 * time.Minute)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory), 22)
		assert.Less(t, strings.Count(log.text(), "\n"), 150, "nor does it try and try")
		pass(5 * time.Hour)
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), 60+41)
	})
}

// When only the reserve remains, histories are read more slowly: the other programs
// find something, and the messages arrive all the same.
func TestHistoriesAreReadMoreSlowlyAtTheReserve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t, chatstest.WithHourlyLimit(chats.OpGetChatHistory, 400))
		seen := &notebook{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithPollInterval(24*time.Hour))
		run := start(t, in, 2, seen.handle)
		for i := range 500 {
			pass(6 * time.Second)
			market.CustomerSays(id, strconv.Itoa(i))
			_ = in.Wake(context.Background(), id)
		}
		assert.Less(t, market.Calls(chats.OpGetChatHistory), 330)
		assert.Greater(t, market.Calls(chats.OpGetChatHistory), 220)
		assert.Greater(t, len(seen.texts()), 480)
		require.NoError(t, run.stop())
	})
}

// Market may refuse without a word of until when.
func TestAMarketThatRefusesIsNotHammered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := shop(t)
		for range 40 {
			market.AddChat(longAgo())
		}
		seen := &notebook{}
		run := start(t, newInbox(t, market.Client(), inbox.NewMemoryStore()), 2, seen.handle)
		pass(90 * time.Second)
		market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
			if op == chats.OpGetChatHistory {
				return chatstest.HTML(420)
			}
			return chatstest.OK()
		})
		for _, chat := range market.Chats() {
			market.CustomerSays(chat.ID, "new")
		}
		calls := market.Calls(chats.OpGetChatHistory)
		pass(time.Hour)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory)-calls, 60*3*6, "two at work and one in line, six attempts, once a minute")
		market.FailFunc(nil)
		pass(3 * time.Minute)
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), 41)
	})
}

func TestAMessageCostsTwoLooksAndThreeCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		store := &shaky{MemoryStore: inbox.NewMemoryStore()}
		in := newInbox(t, market.Client(), store)
		run := start(t, in, 2, (&notebook{}).handle)
		pass(90 * time.Second)
		looks, commits := market.Calls(chats.OpGetChatHistory), store.commits.Load()
		market.CustomerSays(id, "new")
		_ = in.Wake(context.Background(), id)
		pass(time.Hour)
		require.NoError(t, run.stop())
		assert.Equal(t, 2, market.Calls(chats.OpGetChatHistory)-looks)
		assert.EqualValues(t, 3, store.commits.Load()-commits)
	})
}

// A message that was handled ends the row of failures: the next one's first pause is a
// second again.
func TestEveryMessageFailsForItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		tries := map[string][]time.Time{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore())
		run := start(t, in, 1, func(_ context.Context, d inbox.Delivery) error {
			tries[d.Message.Text] = append(tries[d.Message.Text], time.Now())
			if len(tries[d.Message.Text]) <= 4 {
				return errors.New("not yet")
			}
			return nil
		})
		pass(time.Minute)
		market.CustomerSays(id, "1")
		market.CustomerSays(id, "2")
		_ = in.Wake(context.Background(), id)
		pass(10 * time.Minute)
		require.NoError(t, run.stop())
		for text, at := range tries {
			require.Len(t, at, 5, text)
			for n := range 4 {
				assert.Equal(t, time.Second<<n, at[n+1].Sub(at[n]).Round(time.Second), "%s, pause %d", text, n)
			}
		}
	})
}
