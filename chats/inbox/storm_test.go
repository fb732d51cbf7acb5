package inbox_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/race"
)

// bubble is a parallel subtest in synctest's time.
func bubble(t *testing.T, name string, test func(*testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, test)
	})
}

// toFullHour lets time pass until a minute after a full hour, so that one quota window follows.
func toFullHour() {
	sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour + time.Minute)))
}

// A gateway or Market refuses all histories in one way for 50 minutes, while 400 chats wait.
func TestReads_AStormOfAnyFailureCostsLittle(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"503":      {503, `{"status":"ERROR"}`},
		"400":      {400, `{"status":"ERROR","errors":[{"code":"BAD_REQUEST","message":"x"}]}`},
		"420":      {420, `{"status":"ERROR","errors":[{"code":"LIMIT","message":"Hit rate limit of 4 parallel requests"}]}`},
		"html 403": {403, `<html>ddos guard</html>`},
		"html 404": {404, `<html>nginx</html>`},
		"html 200": {200, `<html>nginx</html>`},
	} {
		bubble(t, name, func(t *testing.T) {
			t.Helper()
			market := chatstest.NewMarket(chatstest.WithLatency(50 * time.Millisecond))
			ids := make([]chats.ChatID, 400)
			for i := range ids {
				ids[i] = market.AddChat(longAgo())
			}
			toFullHour()
			var down atomic.Bool
			var calls atomic.Int64
			transport := intercepted(market, func(req *http.Request) *http.Response {
				if !asksFor(req, "/chats/history", 0) {
					return nil
				}
				if calls.Add(1); down.Load() {
					return respond(req, c.status, c.body)
				}
				return nil
			})
			seen := &recorder{}
			in := newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore(), inbox.WithPollInterval(20*time.Minute))
			run := start(t, in, seen.handle)
			sleep(time.Minute)
			down.Store(true)
			for _, id := range ids {
				market.CustomerSays(id, "hello")
				wake(t, in, id)
			}
			var status inbox.Status
			var used int64 // until the last sweep, with which what is counted is saved
			for range 50 {
				sleep(time.Minute)
				last := status.LastSweep
				var err error
				status, err = in.Status(t.Context())
				require.NoError(t, err)
				if !last.Equal(status.LastSweep) {
					used = calls.Load()
				}
			}
			quota := status.Quota[chats.OpGetChatHistory]
			assert.LessOrEqual(t, calls.Load(), int64(600))
			assert.InDelta(t, used, quota.Max-quota.Remaining, 30)
			down.Store(false)
			sleep(5 * time.Minute)
			assert.Len(t, seen.all(), 400, "5 min after its end")
			require.NoError(t, run.stop())
		})
	}
}

// Pushes for chats that the filter leaves out cost no request, and none is counted.
func TestQuota_CountsTheRequestsThatAreMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		wanted := market.AddChat(chats.Chat{Subject: chats.AboutOrder(7)})
		others := make([]chats.ChatID, 300)
		for n := range others {
			others[n] = market.AddChat(chats.Chat{Subject: chats.AboutOrder(chats.OrderID(1000 + n))})
		}
		sleep(48 * time.Hour)
		toFullHour()
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), seldom,
			inbox.WithFilter(chats.Filter{Subjects: []chats.Subject{chats.AboutOrder(7)}}))
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		before := market.Calls(chats.OpGetChatHistory)
		for n := range 5000 {
			wake(t, in, others[n%300])
			sleep(400 * time.Millisecond)
		}
		status, err := in.Status(t.Context())
		require.NoError(t, err)
		quota := status.Quota[chats.OpGetChatHistory]
		assert.InDelta(t, market.Calls(chats.OpGetChatHistory)-before, quota.Max-quota.Remaining, 10, "made, and counted")
		said := time.Now()
		market.CustomerSays(wanted, "hello")
		wake(t, in, wanted)
		sleep(3 * time.Hour)
		require.NoError(t, run.stop())
		require.Len(t, seen.all(), 1)
		assert.Less(t, seen.all()[0].at.Sub(said), 2*time.Second)
	})
}

// The handler has been failing for long when the history is refused once: neither is the
// chat gone, nor are its attempts forgotten, nor does it wait as if it had been refused as long.
func TestReads_OneRefusalAfterALongFailure(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]chatstest.Fault{
		"400":      chatstest.Status(400, `{"status":"ERROR","errors":[{"code":"BAD_REQUEST","message":"x"}]}`),
		"404":      chatstest.Status(404, `{"status":"ERROR","errors":[{"code":"NOT_FOUND","message":"x"}]}`),
		"html 200": chatstest.HTML(200),
	} {
		for _, failing := range []time.Duration{3 * time.Hour, 80 * time.Hour} {
			bubble(t, name+" after "+failing.String(), func(t *testing.T) {
				t.Helper()
				market, id := shop()
				var refused, works atomic.Bool
				var attempt atomic.Int64
				market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
					if op == chats.OpGetChatHistory && refused.Load() {
						return refusal
					}
					return chatstest.OK()
				})
				in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithPollInterval(time.Hour))
				run := startSteps(t, in, func(_ context.Context, d inbox.Delivery) error {
					if attempt.Store(int64(d.Attempt)); works.Load() {
						return nil
					}
					return errors.New("no")
				})
				market.CustomerSays(id, "hello")
				sleep(failing)
				before := attempt.Load()
				refused.Store(true)
				sleep(6 * time.Minute)
				refused.Store(false)
				works.Store(true)
				sleep(7 * time.Minute)
				assert.Equal(t, before+1, attempt.Load())
				require.NoError(t, run.stop())
			})
		}
	}
}

// A few histories are missing or forbidden for five hours, as for a credential that lacks a permission:
// too few for a common cause to be assumed. The list does not change in the meantime.
func TestReads_ARefusalThatEndsAfterHours(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 404} {
		bubble(t, strconv.Itoa(status), func(t *testing.T) {
			t.Helper()
			market, id := shop()
			var refused atomic.Bool
			client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
				if refused.Load() && asksFor(req, "/chats/history", 0) {
					return respond(req, status, `{"status":"ERROR","errors":[{"code":"X","message":"x"}]}`)
				}
				return nil
			}))
			seen := &recorder{}
			run := startSteps(t, newInbox(t, client, inbox.NewMemoryStore(), seldom), seen.handle)
			sleep(15 * time.Minute)
			refused.Store(true)
			market.CustomerSays(id, "hello")
			sleep(5 * time.Hour)
			refused.Store(false)
			sleep(time.Hour + time.Minute)
			require.NoError(t, run.stop())
			assert.Equal(t, []string{"hello"}, seen.texts())
		})
	}
}

// The handler has failed for 100 chats, one after another, when the histories cannot be read any more.
func TestReads_AStormAfterTheHandlerHasFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(50 * time.Millisecond))
		ids := make([]chats.ChatID, 101)
		for i := range ids {
			ids[i] = market.AddChat(longAgo())
		}
		var down, unreadable atomic.Bool
		var calls atomic.Int64
		client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
			if unreadable.Load() && asksFor(req, "/chats/history", 0) {
				calls.Add(1)
				return respond(req, 503, `{"status":"ERROR"}`)
			}
			return nil
		}))
		seen := &recorder{}
		in := newInbox(t, client, inbox.NewMemoryStore(), seldom)
		toFullHour()
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			if down.Load() && d.Chat.ID != ids[0] {
				return errors.New("down")
			}
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		down.Store(true)
		for _, id := range ids[1:] {
			market.CustomerSays(id, "hello")
			wake(t, in, id)
			sleep(5 * time.Second)
			market.CustomerSays(ids[0], "handled") // which shows that the handler works
			wake(t, in, ids[0])
			sleep(5 * time.Second)
		}
		unreadable.Store(true)
		down.Store(false)
		sleep(40 * time.Minute)
		assert.LessOrEqual(t, calls.Load(), int64(1_500))
		unreadable.Store(false)
		sleep(3 * time.Minute)
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), 200)
	})
}

// Chats that only a push has named cannot be read; all others can.
func TestReads_AStormOfGetChatDelaysNoHistory(t *testing.T) {
	t.Parallel()
	for status, most := range map[int]int{400: 15, 404: 15, 500: 2_000} {
		bubble(t, strconv.Itoa(status), func(t *testing.T) {
			t.Helper()
			market, id := shop()
			market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
				if op == chats.OpGetChat {
					return chatstest.Status(status, `{"status":"ERROR","errors":[{"code":"BAD_REQUEST","message":"x"}]}`)
				}
				return chatstest.OK()
			})
			seen := &recorder{}
			in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), never)
			run := start(t, in, seen.handle)
			sleep(10 * time.Minute)
			for n := range 5 {
				wake(t, in, chats.ChatID(900_000+n))
			}
			sleep(30 * time.Second)
			market.CustomerSays(id, "hello")
			wake(t, in, id)
			sleep(2 * time.Second)
			assert.Equal(t, []string{"hello"}, seen.texts())
			sleep(3 * time.Hour)
			require.NoError(t, run.stop())
			assert.LessOrEqual(t, market.Calls(chats.OpGetChat), most)
		})
	}
}

// The histories of several chats can never be read, and pushes name them again and again.
func TestReads_ChatsThatCannotBeReadDelayNoOther(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 404, 500} {
		bubble(t, strconv.Itoa(status), func(t *testing.T) {
			t.Helper()
			market, ids := bigShop(20, chats.StatusNew)
			bad := ids[:12]
			client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
				if slices.ContainsFunc(bad, func(id chats.ChatID) bool { return asksFor(req, "/chats/history", id) }) {
					return respond(req, status, `{"status":"ERROR","errors":[{"code":"X","message":"x"}]}`)
				}
				return nil
			}))
			seen := &recorder{}
			in := newInbox(t, client, inbox.NewMemoryStore())
			run := start(t, in, seen.handle)
			sleep(5 * time.Minute)
			for n := range 10 * 60 {
				if n%20 == 0 {
					wake(t, in, bad[n/20%len(bad)])
				}
				if n == 5*60 {
					market.CustomerSays(ids[15], "hello")
				}
				sleep(time.Second)
			}
			require.NoError(t, run.stop())
			require.Len(t, seen.all(), 1)
			assert.Less(t, time.Since(seen.all()[0].at), 5*time.Minute)
			assert.Less(t, seen.all()[0].at.Sub(seen.all()[0].Message.CreatedAt), 2*time.Minute, "a sweep, and the next turn")
		})
	}
}

// A hundred chats are deleted, and tried one at a time. A push for another chat does not wait for all of them.
func TestReads_APushComesFirstWhileChatsAreTriedOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(160, chats.StatusNew)
		var isGone atomic.Bool
		client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
			if isGone.Load() && asksFor(req, "/chats/history", 0) && !asksFor(req, "/chats/history", ids[150]) {
				return respond(req, 404, `{"status":"ERROR","errors":[{"code":"NOT_FOUND","message":"x"}]}`)
			}
			return nil
		}))
		seen := &recorder{}
		in := newInbox(t, client, inbox.NewMemoryStore())
		run := start(t, in, seen.handle)
		sleep(5 * time.Minute)
		isGone.Store(true)
		for _, id := range ids[:100] {
			market.SetStatus(id, chats.StatusFinished)
		}
		sleep(5 * time.Minute)
		market.CustomerSays(ids[150], "hello")
		wake(t, in, ids[150])
		sleep(time.Minute)
		assert.Equal(t, []string{"hello"}, seen.texts())
		require.NoError(t, run.stop())
	})
}

// While the handler was failing for a chat, its history could not be read for a day.
func TestReads_AFailingMessageDoesNotWaitLonger(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for _, status := range []int{400, 403, 404} {
		bubble(t, strconv.Itoa(status), func(t *testing.T) {
			t.Helper()
			market, id := shop()
			var absent, works atomic.Bool
			client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
				if absent.Load() && asksFor(req, "/chats/history", id) {
					return respond(req, status, `{"status":"ERROR","errors":[{"code":"X","message":"x"}]}`)
				}
				return nil
			}))
			seen := &recorder{}
			in := newInbox(t, client, inbox.NewMemoryStore(), seldom)
			run := startSteps(t, in, func(ctx context.Context, d inbox.Delivery) error {
				if !works.Load() {
					return errors.New("no")
				}
				return seen.handle(ctx, d)
			})
			sleep(time.Minute)
			market.CustomerSays(id, "hello")
			sleep(20 * time.Minute)
			works.Store(true)
			absent.Store(true)
			sleep(20 * time.Hour)
			absent.Store(false)
			sleep(6 * time.Minute)
			require.NoError(t, run.stop())
			assert.Equal(t, []string{"hello"}, seen.texts())
		})
	}
}

// Something refuses the histories of more chats than there are workers, again and again, as if
// there were too many requests.
func TestReads_ChatsThatAreRateLimitedDelayNoOther(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"420, HTML": {420, `<html>ddos guard</html>`},
		"429":       {429, `{"status":"ERROR","errors":[{"code":"TOO_MANY_REQUESTS"}]}`},
		"parallel":  {420, `{"status":"ERROR","errors":[{"code":"LIMIT","message":"Hit rate limit of 4 parallel requests"}]}`},
	} {
		for _, pushed := range []bool{false, true} {
			bubble(t, name+", pushed "+strconv.FormatBool(pushed), func(t *testing.T) {
				t.Helper()
				market, ids := bigShop(60, chats.StatusNew)
				client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
					for _, id := range ids[:10] {
						if asksFor(req, "/chats/history", id) {
							return respond(req, c.status, c.body)
						}
					}
					return nil
				}))
				seen := &recorder{}
				in := newInbox(t, client, inbox.NewMemoryStore())
				run := start(t, in, seen.handle)
				sleep(time.Hour)
				for _, id := range ids {
					market.CustomerSays(id, "new")
					if pushed {
						wake(t, in, id)
					}
				}
				sleep(10 * time.Minute)
				assert.Len(t, seen.texts(), 50)
				require.NoError(t, run.stop())
			})
		}
	}
}
