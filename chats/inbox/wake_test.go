package inbox_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
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

var never = inbox.WithPollInterval(1000 * time.Hour)

func TestWake_MakesAMessageArriveAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(chatstest.WithLatency(100 * time.Millisecond))
		store, seen := inbox.NewMemoryStore(), &recorder{}
		in := newInbox(t, connect(t, market), store, never)
		run := start(t, in, seen.handle)
		elsewhere := newInbox(t, connect(t, market), store) // in another process
		sleep(time.Hour)
		sweeps := market.Calls(chats.OpGetChats)
		said := time.Now()
		market.CustomerSays(id, "known")
		wake(t, in, id)
		sleep(time.Minute)
		fresh := market.AddChat(chats.Chat{})
		began := time.Now()
		market.CustomerSays(fresh, "unknown")
		wake(t, in, fresh)
		sleep(time.Minute)
		posted := time.Now()
		market.CustomerSays(id, "elsewhere")
		wake(t, elsewhere, id)
		sleep(time.Minute)
		require.NoError(t, run.stop())

		require.Equal(t, []string{"known", "unknown", "elsewhere"}, seen.texts())
		assert.Less(t, seen.all()[0].at.Sub(said), time.Second)
		assert.Less(t, seen.all()[1].at.Sub(began), time.Second)
		assert.Less(t, seen.all()[2].at.Sub(posted), 1200*time.Millisecond)
		assert.Equal(t, market.Chat(fresh), seen.all()[1].Chat)
		assert.Equal(t, sweeps, market.Calls(chats.OpGetChats), "without a sweep")
		assert.Equal(t, 1, market.Calls(chats.OpGetChat), "once, for the chat that was unknown")
	})
}

// A reply to the chat of a delivery must not reach another customer.
func TestWake_AnotherChatsResponseIsNoAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), never)
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		fresh := market.AddChat(chats.Chat{})
		market.CustomerSays(fresh, "unknown")
		market.Fail(chats.OpGetChat, chatstest.Rewrite(func(r *chatstest.Response) {
			r.Body = bytes.ReplaceAll(r.Body, fmt.Append(nil, fresh), fmt.Append(nil, id))
		}))
		wake(t, in, fresh)
		sleep(10 * time.Minute)
		require.NoError(t, run.stop())
		require.Equal(t, []string{"unknown"}, seen.texts(), "with the next poll")
		assert.Equal(t, market.Chat(fresh), seen.all()[0].Chat)
		assert.Equal(t, 2, market.Calls(chats.OpGetChat))
	})
}

func TestWake_BeforeAndBetweenRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store, seen := inbox.NewMemoryStore(), &recorder{}
		in := newInbox(t, connect(t, market), store, never)
		wake(t, in, id) // before the first start: what the chat holds is old all the same
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		assert.Empty(t, seen.texts())
		require.NoError(t, run.stop())
		for range 3 {
			wake(t, in, id)
		}
		market.CustomerSays(id, "new")
		run = start(t, newInbox(t, connect(t, market), store, never), seen.handle)
		synctest.Wait()
		assert.Equal(t, []string{"new"}, seen.texts(), "it is in the store")
		require.NoError(t, run.stop())
	})
}

// A push may be faster than the history shows its message, whether or not messages have a time.
func TestWake_MayComeEarly(t *testing.T) {
	t.Parallel()
	for _, edit := range []func(map[string]any){
		func(map[string]any) {},
		func(message map[string]any) { delete(message, "createdAt") },
	} {
		synctest.Test(t, func(t *testing.T) { earlyPushes(t, edit) })
	}
}

func earlyPushes(t *testing.T, edit func(message map[string]any)) {
	t.Helper()
	market, id := shop()
	client := connectVia(t, market, edited(market, "/chats/history", func(result map[string]any) {
		for _, message := range items(result, "messages") {
			edit(message)
		}
	}))
	seen := &recorder{}
	in := newInbox(t, client, inbox.NewMemoryStore(), never)
	run := start(t, in, seen.handle)
	sleep(time.Hour)
	for _, lag := range []time.Duration{900 * time.Millisecond, 4 * time.Second, 9 * time.Minute} {
		wake(t, in, id)
		sleep(lag)
		market.CustomerSays(id, lag.String())
		said := time.Now()
		sleep(lag + 2*time.Second)
		require.NotEmpty(t, seen.all())
		last := seen.all()[len(seen.all())-1]
		assert.Equal(t, lag.String(), last.Message.Text)
		assert.LessOrEqual(t, last.at.Sub(said), max(1200*time.Millisecond, lag/4))
		sleep(time.Hour)
	}
	require.NoError(t, run.stop())
	run = startSteps(t, in, seen.handle)
	sleep(24 * time.Hour)
	require.NoError(t, run.stop())
	calls := market.Calls(chats.OpGetChatHistory)
	wake(t, in, id)
	run = startSteps(t, in, seen.handle)
	sleep(26 * time.Hour)
	assert.Equal(t, calls+11, market.Calls(chats.OpGetChatHistory), "what a push for nothing costs")
	require.NoError(t, run.stop())
}

// A push that comes again, or after its message was found, costs one poll.
func TestWake_TwiceCostsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), never)
		run := start(t, in, (&recorder{}).handle)
		sleep(time.Hour)
		market.CustomerSays(id, "message")
		wake(t, in, id)
		sleep(500 * time.Millisecond)
		wake(t, in, id)
		sleep(5 * time.Minute)
		assert.Equal(t, 3, market.Calls(chats.OpGetChatHistory))
		require.NoError(t, run.stop())
	})
}

func TestWake_PushesInPlentyDoNotHammer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(chatstest.WithLatency(100*time.Millisecond), chatstest.WithHourlyLimit(chats.OpGetChat, 100))
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), never)
		run := start(t, in, seen.handle)
		sleep(time.Hour)
		calls := market.Calls(chats.OpGetChatHistory)
		var pushes sync.WaitGroup
		for range 10 {
			pushes.Go(func() {
				for i := range 100 {
					_ = in.Wake(t.Context(), id)
					_ = in.Wake(t.Context(), chats.ChatID(1_000_000_000+i)) // no such chat
				}
			})
		}
		pushes.Wait()
		sleep(50 * time.Minute)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory)-calls, 9)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChat), 50, "half of an hour's getChat are left to others")
		sleep(7 * time.Hour)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChat), 300, "what is not there is asked for three times")
		fresh := market.AddChat(chats.Chat{})
		market.CustomerSays(fresh, "later")
		wake(t, in, fresh)
		sleep(time.Second)
		assert.Equal(t, []string{"later"}, seen.texts())
		require.NoError(t, run.stop())
	})
}

func TestWake_OfAChatThatDoesNotMatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		order := market.AddChat(chats.Chat{Subject: chats.AboutOrder(1)})
		direct := market.AddChat(chats.Chat{Subject: chats.Subject{Kind: chats.SubjectDirect}})
		returned := market.AddChat(chats.Chat{Subject: chats.AboutReturn(2)})
		sleep(48 * time.Hour)
		for _, c := range []struct {
			filter chats.Filter
			want   []string
		}{
			{chats.Filter{SubjectKinds: []chats.SubjectKind{chats.SubjectOrder}}, []string{"order"}},
			{chats.Filter{Subjects: []chats.Subject{chats.AboutOrder(1)}}, []string{"order"}},
			{chats.Filter{Subjects: []chats.Subject{chats.AboutReturn(2)}}, []string{"return"}},
			{chats.Filter{Types: []chats.ChatType{chats.ChatTypeArbitrage}}, []string{}},
			{chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}, []string{"order", "direct", "return"}},
			{chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForCustomer}}, []string{}},
		} {
			seen := &recorder{}
			in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithFilter(c.filter), never)
			run := start(t, in, seen.handle)
			sleep(time.Minute)
			for id, text := range map[chats.ChatID]string{order: "order", direct: "direct", returned: "return"} {
				market.CustomerSays(id, text)
				wake(t, in, id)
			}
			sleep(10 * time.Minute)
			wake(t, in, direct) // it is known by now
			sleep(time.Minute)
			require.NoError(t, run.stop())
			assert.ElementsMatch(t, c.want, seen.texts(), "%+v", c.filter)
		}
	})
}

// With a filter that depends on the state, a chat that was listed may match no more.
func TestWake_OfAChatThatMatchesNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		seen := &recorder{}
		filter := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithFilter(filter))
		run := start(t, in, seen.handle)
		sleep(90 * time.Second)
		market.AddMessage(id, chats.SenderPartner, "answer")
		wake(t, in, id)
		sleep(2 * time.Minute)
		assert.Empty(t, seen.texts())
		market.SetStatus(id, chats.StatusWaitingForPartner) // without a message
		sleep(2 * time.Minute)
		assert.Equal(t, []string{"answer"}, seen.texts(), "it comes when the chat matches again")
		market.CustomerSays(id, "question")
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"answer", "question"}, seen.texts())
	})
}

// A push that comes while its chat is at work is acted on next, before what sweeps have
// found.
func TestWake_DuringTheHandlingIsNotForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(10 * time.Millisecond))
		ids := make([]chats.ChatID, 60)
		for i := range ids {
			ids[i] = market.AddChat(longAgo())
		}
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithWorkers(1))
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			_ = seen.handle(ctx, d)
			sleep(5 * time.Second)
			return nil
		})
		sleep(10 * time.Minute)
		for _, id := range ids[1:] {
			market.CustomerSays(id, "backlog")
		}
		for len(seen.all()) == 0 {
			sleep(time.Second)
		}
		for _, text := range []string{"first", "second"} {
			n := len(seen.all())
			market.CustomerSays(ids[0], text)
			wake(t, in, ids[0])
			for len(seen.all()) < n+2 {
				sleep(100 * time.Millisecond)
			}
			assert.Contains(t, seen.texts()[n:n+2], text, "after the one at work")
		}
		sleep(10 * time.Minute)
		require.NoError(t, run.stop())
		assert.Len(t, seen.all(), 61)
	})
}

// Pushes of days that a standby received cost their polls once, not at its takeover.
func TestWake_OnAStandbyIsTheLeaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		ids := make([]chats.ChatID, 30)
		for i := range ids {
			ids[i] = market.AddChat(longAgo())
		}
		store, seen := inbox.NewMemoryStore(), &recorder{}
		first, second := newInbox(t, connect(t, market), store, never), newInbox(t, connect(t, market), store, never)
		one := start(t, first, seen.handle)
		sleep(10 * time.Minute)
		two := start(t, second, seen.handle)
		for _, id := range ids {
			market.CustomerSays(id, "message")
			wake(t, second, id)
		}
		sleep(5 * time.Second)
		require.Len(t, seen.all(), 30)
		sleep(time.Minute)
		history := market.Calls(chats.OpGetChatHistory)
		require.NoError(t, one.stop())
		market.CustomerSays(ids[7], "a real one")
		wake(t, second, ids[7])
		sleep(time.Minute)
		assert.Len(t, seen.all(), 31)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory)-history, 3)
		require.NoError(t, two.stop())
	})
}

// One operation's quota is no other's.
func TestWake_AUsedUpQuotaOfGetChatStopsNoHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(chatstest.WithHourlyLimit(chats.OpGetChat, 10))
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithPollInterval(time.Hour))
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		other := connect(t, market)
		for range 10 {
			_, err := other.Chat(t.Context(), id)
			require.NoError(t, err)
		}
		wake(t, in, 999_999_999)
		sleep(100 * time.Millisecond)
		market.CustomerSays(id, "message")
		wake(t, in, id)
		sleep(time.Second)
		assert.Equal(t, []string{"message"}, seen.texts())
		require.NoError(t, run.stop())
	})
}

// With a filter by type, a push costs a getChat request. Those that the quota does not allow leave the
// message to the next sweep, not to the next window.
func TestWake_WithoutQuotaForGetChatTheListSuffices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(20, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChat, 10))
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(),
			inbox.WithFilter(chats.Filter{Types: []chats.ChatType{chats.ChatTypeChat}}))
		run := start(t, in, seen.handle)
		sleep(5 * time.Minute)
		for n, id := range ids {
			market.CustomerSays(id, "message")
			wake(t, in, id)
			if n == 0 {
				sleep(time.Second) // the quota is known from the first response
			}
		}
		sleep(time.Second)
		assert.Len(t, seen.all(), 5, "half of the quota")
		sleep(time.Minute)
		assert.Len(t, seen.all(), len(ids))
		require.NoError(t, run.stop())
	})
}

// A row that is loaded while its poll ends is not taken for one that is due.
func TestWake_RowsLoadedWhileTheirPollEndsAreStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(2, chats.StatusNew)
		store, seen, log := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}, &logBuffer{}
		in := newInbox(t, connect(t, market), store, never, log.option())
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			sleep(time.Second)
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		market.CustomerSays(ids[0], "slow")
		wake(t, in, ids[0])
		sleep(500 * time.Millisecond)
		store.set(nil, func(call string) error {
			if call == "Due" {
				sleep(time.Second) // the poll ends meanwhile
			}
			return nil
		})
		market.CustomerSays(ids[1], "other")
		wake(t, in, ids[1])
		sleep(10 * time.Second)
		require.NoError(t, run.stop())
		assert.ElementsMatch(t, []string{"slow", "other"}, seen.texts())
		assert.Empty(t, log.text())
	})
}

// A push for every message of a dialogue, and a history 3 s behind. Sweeps are seldom, as
// in a large shop.
func TestWake_EveryMessageOfADialogueWithAHistoryBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(chatstest.WithHistoryLag(3 * time.Second))
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), seldom)
		run := start(t, in, seen.handle)
		sleep(20 * time.Minute)
		said := map[string]time.Time{}
		for _, text := range numbers(4) {
			said[text] = time.Now()
			market.CustomerSays(id, text)
			wake(t, in, id)
			sleep(20 * time.Second)
		}
		sleep(3 * time.Hour)
		require.NoError(t, run.stop())
		for _, d := range seen.all() {
			assert.Less(t, d.at.Sub(said[d.Message.Text]), 10*time.Second, d.Message.Text)
		}
	})
}

// A chat could not be read for half an hour; then a message comes, with a push.
func TestWake_HastensAChatThatCouldNotBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		var down atomic.Bool
		transport := intercepted(market, func(req *http.Request) *http.Response {
			if down.Load() && asksFor(req, "/chats/history", 0) {
				return respond(req, 404, "<html>not found</html>")
			}
			return nil
		})
		seen := &recorder{}
		in := newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore(), inbox.WithPollInterval(time.Hour))
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		down.Store(true)
		market.CustomerSays(id, "one")
		wake(t, in, id)
		sleep(30 * time.Minute)
		down.Store(false)
		market.CustomerSays(id, "two")
		said := time.Now()
		wake(t, in, id)
		sleep(5 * time.Hour)
		require.NoError(t, run.stop())
		require.Len(t, seen.all(), 2)
		// Not at once if the push meets a retry, whose call may be waiting between two attempts.
		assert.Less(t, seen.all()[1].at.Sub(said), 20*time.Second)
	})
}

// The history fails when the push arrives, and shows the message only a minute after it can be read again.
func TestWake_MayComeEarlyDuringAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		var down atomic.Bool
		client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
			if down.Load() && asksFor(req, "/chats/history", 0) {
				return respond(req, 503, "")
			}
			return nil
		}))
		seen := &recorder{}
		in := newInbox(t, client, inbox.NewMemoryStore(), never)
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		market.CustomerSays(id, "first")
		wake(t, in, id)
		require.NoError(t, run.stop())
		run = startSteps(t, in, seen.handle)
		sleep(25 * time.Hour) // the rechecks are over
		down.Store(true)
		wake(t, in, id)
		require.NoError(t, run.stop())
		run = start(t, in, seen.handle)
		sleep(time.Minute)
		down.Store(false)
		sleep(2 * time.Minute)
		market.CustomerSays(id, "second")
		sleep(10 * time.Minute)
		assert.Equal(t, []string{"first", "second"}, seen.texts())
		require.NoError(t, run.stop())
	})
}

// A push for a chat that is about to appear meets a failing server first: the chat is asked for
// again once the server responds, and a chat that never appears does not fail for ever.
func TestWake_OfAChatThatIsNotThereYetAfterAFailure(t *testing.T) {
	t.Parallel()
	for name, appears := range map[string]bool{"it appears": true, "it never does": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, _ := shop()
				fresh := market.AddChat(chats.Chat{})
				var status, missing atomic.Int64
				client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
					switch code := int(status.Load()); {
					case code != 0 && asksFor(req, "/chat", fresh):
						if code == http.StatusNotFound {
							missing.Add(1)
						}
						return respond(req, code, `{"status":"ERROR","errors":[{"code":"NOT_FOUND"}]}`)
					case asksFor(req, "/chats", 0):
						return respond(req, 200, `{"status":"OK","result":{"chats":[]}}`)
					default:
						return nil
					}
				}))
				seen := &recorder{}
				in := newInbox(t, client, inbox.NewMemoryStore())
				run := start(t, in, seen.handle)
				sleep(10 * time.Second)
				market.CustomerSays(fresh, "first")
				status.Store(500)
				wake(t, in, fresh)
				sleep(time.Minute)
				status.Store(404)
				for missing.Load() == 0 {
					sleep(time.Second)
				}
				if appears {
					status.Store(0)
				}
				sleep(2 * time.Minute)
				require.NoError(t, run.stop())
				if appears {
					assert.Equal(t, []string{"first"}, seen.texts())
				}
				now, err := in.Status(t.Context())
				require.NoError(t, err)
				assert.Empty(t, now.Failing)
			})
		})
	}
}

// Nor does it wait for the next renewal of the lease.
func TestWake_DuringTheHandlingIsNextAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			sleep(1500 * time.Millisecond)
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		market.CustomerSays(id, "first")
		wake(t, in, id)
		sleep(time.Second)
		market.CustomerSays(id, "second")
		wake(t, in, id)
		sleep(time.Minute)
		require.NoError(t, run.stop())
		require.Len(t, seen.all(), 2)
		assert.Equal(t, 1500*time.Millisecond, seen.all()[1].at.Sub(seen.all()[0].at))
	})
}

// While the last quarter of the quota is spread over the window, a push for a chat that does not
// exist takes no turn from the others: its poll makes no getChatHistory request.
func TestWake_ForUnknownChatsTakesNoTurnFromOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithHourlyLimit(chats.OpGetChatHistory, 200))
		var ids []chats.ChatID
		for range 45 {
			ids = append(ids, market.AddChat(longAgo()))
		}
		sleep(time.Hour)
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		for _, id := range ids[:40] { // 80 of 100 requests
			market.CustomerSays(id, "before")
			wake(t, in, id)
		}
		sleep(time.Minute)
		require.Len(t, seen.texts(), 40)
		for n := range 50 {
			wake(t, in, chats.ChatID(1_000_000+n))
		}
		for _, id := range ids[40:] {
			market.CustomerSays(id, "after")
			wake(t, in, id)
		}
		sleep(30 * time.Minute)
		assert.Len(t, seen.texts(), 45)
		require.NoError(t, run.stop())
	})
}
