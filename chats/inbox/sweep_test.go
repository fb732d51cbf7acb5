package inbox_test

import (
	"bytes"
	"io"
	"net/http"
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

// bigShop has a newest message, and idle chats of a status.
func bigShop(n int, status chats.Status, options ...chatstest.Option) *chatstest.Market {
	market := chatstest.NewMarket(options...)
	for range n {
		chat := longAgo()
		chat.Status = status
		market.AddChat(chat)
	}
	market.CustomerSays(market.AddChat(longAgo()), "old")
	pass(time.Hour)
	return market
}

// perHour runs an inbox and gives the requests of an hour, on the average of four
// after the first.
func perHour(t *testing.T, market *chatstest.Market, options ...inbox.Option) (lists, histories float64) {
	t.Helper()
	run := start(t, newInbox(t, market.Client(), inbox.NewMemoryStore(), options...), 2, (&notebook{}).handle)
	pass(time.Hour + 30*time.Second)
	list, history := market.Calls(chats.OpGetChats), market.Calls(chats.OpGetChatHistory)
	pass(4 * time.Hour)
	lists = float64(market.Calls(chats.OpGetChats)-list) / 4
	histories = float64(market.Calls(chats.OpGetChatHistory)-history) / 4
	require.NoError(t, run.stop())
	return lists, histories
}

// The shop has 100 chats, five pages, and Market's allowance is a twentieth of the
// real one, so that it is as tight as for 2,000.
func TestIdleChatsCostTheListAlone(t *testing.T) {
	t.Parallel()
	finished := chats.Filter{Statuses: []chats.Status{chats.StatusFinished, chats.StatusWaitingForPartner}}
	for _, c := range []struct {
		name        string
		status      chats.Status
		hourly      int
		options     []inbox.Option
		least, most float64
	}{
		{"a sweep a minute", chats.StatusNew, 5000, nil, 300, 300},
		{"a sweep every ten minutes", chats.StatusNew, 5000, []inbox.Option{inbox.WithPollInterval(10 * time.Minute)}, 27, 33},
		{"half of the hour's requests", chats.StatusNew, 250, nil, 110, 125},
		{"a tenth of the hour's requests", chats.StatusNew, 250, []inbox.Option{inbox.WithQuotaReserve(0.9)}, 20, 25},
		{"finished chats are listed less often", chats.StatusFinished, 250, nil, 70, 100},
		{"finished chats that are asked for", chats.StatusFinished, 250, []inbox.Option{inbox.WithFilter(finished)}, 110, 125},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := bigShop(99, c.status, chatstest.WithHourlyLimit(chats.OpGetChats, c.hourly))
				lists, histories := perHour(t, market, c.options...)
				assert.GreaterOrEqual(t, lists, c.least)
				assert.LessOrEqual(t, lists, c.most)
				assert.Zero(t, histories)
				assert.Zero(t, market.Calls(chats.OpGetChat))
			})
		})
	}
}

// Other programs use the list too: what they leave is shared, and the reserve is
// not touched.
func TestSweepsGiveWayToOtherPrograms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := bigShop(99, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChats, 250))
		others := market.Client()
		refused, done := 0, make(chan struct{})
		go func() {
			defer close(done)
			for range 5 * 150 {
				pass(24 * time.Second)
				if _, err := others.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{}); err != nil {
					refused++
				}
			}
		}()
		lists, _ := perHour(t, market)
		assert.GreaterOrEqual(t, lists, 150+30.0, "the others' 150, and some sweeps")
		<-done
		assert.Zero(t, refused)
	})
}

func TestAFinishedChatIsFoundToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := bigShop(499, chats.StatusFinished, chatstest.WithHourlyLimit(chats.OpGetChats, 1000))
		open := market.AddChat(longAgo())
		done := market.Chats()[300].ID
		seen := &notebook{}
		run := start(t, newInbox(t, market.Client(), inbox.NewMemoryStore()), 2, seen.handle)
		pass(5*time.Minute + 30*time.Second)
		market.AddMessage(open, chats.SenderMarket, "the last word")
		market.FinishChat(open)
		pass(90 * time.Second)
		assert.Equal(t, []string{"the last word"}, seen.texts(), "a chat that leaves the quick list is looked at")

		market.AddMessage(done, chats.SenderMarket, "in a finished chat")
		strange := market.AddChat(longAgo())
		market.AddMessage(strange, chats.SenderMarket, "in a chat of a new status")
		market.SetStatus(strange, "WAITING_FOR_GODOT")
		pass(20 * time.Minute)
		require.NoError(t, run.stop())
		assert.ElementsMatch(t, []string{"the last word", "in a finished chat", "in a chat of a new status"}, seen.texts())
	})
}

// Nobody knows whether Market takes several filters at once.
func TestStatusesMayNotGoWithAnotherFilter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := bigShop(199, chats.StatusFinished, chatstest.WithHourlyLimit(chats.OpGetChats, 2000))
		seen := &notebook{}
		filter := chats.Filter{SubjectKinds: []chats.SubjectKind{chats.SubjectOrder}}
		run := start(t, newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithFilter(filter)), 2, seen.handle)
		pass(30 * time.Second)
		market.Fail(chats.OpGetChats, chatstest.Status(400, `{"status":"ERROR","errors":[{"code":"BAD_REQUEST"}]}`))
		pass(time.Minute)
		market.CustomerSays(market.Chats()[100].ID, "new")
		calls := market.Calls(chats.OpGetChats)
		pass(10 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, 10*10, market.Calls(chats.OpGetChats)-calls, "every sweep is a full one then")
		assert.Equal(t, []string{"new"}, seen.texts())
	})
}

// A listing that breaks off half way has listed something all the same.
func TestWhatWasListedBeforeAFailureCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := bigShop(199, chats.StatusNew)
		seen := &notebook{}
		client := market.Client(chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1}))
		run := start(t, newInbox(t, client, inbox.NewMemoryStore()), 2, seen.handle)
		pass(time.Hour)
		for i, chat := range market.Chats() {
			if i%50 == 0 {
				market.CustomerSays(chat.ID, strconv.Itoa(i))
			}
		}
		began := market.Calls(chats.OpGetChats)
		market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
			if op == chats.OpGetChats && (n-began)%2 == 0 {
				return chatstest.Status(500, "")
			}
			return chatstest.OK()
		})
		pass(3 * time.Minute)
		assert.Len(t, seen.texts(), 4, "they are on the first page")
		assert.Less(t, market.Calls(chats.OpGetChats)-began, 50)
		require.NoError(t, run.stop())
	})
}

func TestTheWindowOfAHugeShop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := bigShop(599, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChats, 20))
		seen := &notebook{}
		run := start(t, newInbox(t, market.Client(), inbox.NewMemoryStore()), 2, seen.handle)
		pass(6 * time.Hour)
		market.CustomerSays(market.Chats()[100].ID, "new")
		pass(8 * time.Hour)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"new"}, seen.texts(), "a list longer than the hour's allowance is read over several hours")
	})
}

// A page of the long list that fails again and again hides no chat that is open, nor
// does the short list that fails hide any.
func TestOneListThatFailsLeavesTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		var full, quick atomic.Bool // are broken
		client := through(market, func(req *http.Request) *http.Response {
			if !strings.HasSuffix(req.URL.Path, "/chats") {
				return nil
			}
			body, err := io.ReadAll(req.Body)
			assert.NoError(t, err)
			req.Body = io.NopCloser(bytes.NewReader(body))
			broken := &full
			if bytes.Contains(body, []byte("statuses")) {
				broken = &quick
			}
			if broken.Load() {
				return reply(req, 500, `{"status":"ERROR"}`)
			}
			return nil
		})
		seen := &notebook{}
		run := start(t, newInbox(t, client, inbox.NewMemoryStore()), 2, seen.handle)
		pass(10 * time.Minute)
		full.Store(true)
		for i := range 3 {
			pass(time.Hour)
			market.CustomerSays(id, strconv.Itoa(i))
		}
		pass(10 * time.Minute)
		assert.Equal(t, []string{"0", "1", "2"}, seen.texts())
		quick.Store(true)
		pass(10 * time.Minute)
		full.Store(false)
		market.CustomerSays(id, "3")
		pass(10 * time.Minute)
		assert.Equal(t, []string{"0", "1", "2", "3"}, seen.texts())
		require.NoError(t, run.stop())
	})
}
