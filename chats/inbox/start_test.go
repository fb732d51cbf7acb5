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

func TestFirstStart_DeliversWhatComesFromThenOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		busy := market.AddChat(chats.Chat{})
		market.CustomerSays(busy, "a moment before")
		sleep(5 * time.Second)
		in, seen := newInbox(t, connect(t, market), inbox.NewMemoryStore()), &recorder{}
		run := start(t, in, seen.handle)
		synctest.Wait()
		market.CustomerSays(busy, "at once")
		market.CustomerSays(id, "new")
		late := market.AddChat(chats.Chat{})
		market.CustomerSays(late, "first of a new chat")
		market.CustomerSays(late, "second of a new chat")
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.ElementsMatch(t, []string{"at once", "new", "first of a new chat", "second of a new chat"}, seen.texts())
	})
}

// Listing 100 chats at a second a page takes five seconds: what comes meanwhile is not old.
func TestFirstStart_LosesNothingWhileItLists(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(100, chats.StatusNew, chatstest.WithLatency(time.Second))
		market.CustomerSays(ids[50], "old")
		sleep(48 * time.Hour)
		seen := &recorder{}
		run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore()), seen.handle)
		for i, text := range numbers(12) {
			market.CustomerSays(ids[(i*37)%100], text)
			sleep(500 * time.Millisecond)
		}
		sleep(3 * time.Minute)
		require.NoError(t, run.stop())
		assert.ElementsMatch(t, numbers(12), seen.texts())
	})
}

// skewed is a Market whose clock differs from ours by a duration.
func skewed(market *chatstest.Market, by time.Duration) http.RoundTripper {
	shift := func(item map[string]any, field string) {
		text, _ := item[field].(string)
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			item[field] = at.Add(by).Format(time.RFC3339)
		}
	}
	histories := edited(market, "/chats/history", func(result map[string]any) {
		for _, message := range items(result, "messages") {
			shift(message, "createdAt")
		}
	})
	lists := edited(market, "/chats", func(result map[string]any) {
		for _, chat := range items(result, "chats") {
			shift(chat, "createdAt")
			shift(chat, "updatedAt")
		}
	})
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		next := lists
		if asksFor(req, "/chats/history", 0) {
			next = histories
		}
		resp, err := next.RoundTrip(req)
		if err == nil {
			for _, name := range []string{"Date", "X-Ratelimit-Resource-Until"} {
				if at, err := http.ParseTime(resp.Header.Get(name)); err == nil {
					resp.Header.Set(name, at.Add(by).UTC().Format(http.TimeFormat))
				}
			}
		}
		return resp, err
	})
}

// Clocks that differ lose nothing. The earlier one counts, so that messages of the time
// between them are delivered, too, if it is ours.
func TestFirstStart_ClocksMayDiffer(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{-26 * time.Hour, -10 * time.Minute, -time.Second, 10 * time.Minute, 26 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			market, id := shop()
			other := market.AddChat(longAgo())
			market.CustomerSays(id, "old too")
			sleep(10 * time.Second)
			client, store, seen := connectVia(t, market, skewed(market, by)), inbox.NewMemoryStore(), &recorder{}
			run := start(t, newInbox(t, client, store), seen.handle)
			sleep(time.Second)
			market.CustomerSays(id, "1")
			sleep(time.Minute)
			market.CustomerSays(other, "2")
			sleep(2 * time.Minute)
			require.NoError(t, run.stop())
			want := []string{"1", "2"}
			if by > time.Minute {
				want = []string{"old too", "1", "2"}
			}
			assert.Equal(t, want, seen.texts(), "skew %s", by)
			market.CustomerSays(market.AddChat(chats.Chat{}), "3")
			sleep(time.Minute)
			run = start(t, newInbox(t, client, store), seen.handle)
			sleep(time.Minute)
			require.NoError(t, run.stop())
			assert.Equal(t, append(want, "3"), seen.texts(), "skew %s", by)
		})
	}
}

// Times may be cut to the second, and the server's Date is.
func TestFirstStart_BeginsASecondEarlier(t *testing.T) {
	t.Parallel()
	for _, dated := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			market, _ := shop()
			next := market.Transport()
			client := connectVia(t, market, roundTrip(func(req *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(req)
				if err == nil && !dated {
					resp.Header.Del("Date")
				}
				return resp, err
			}))
			store := inbox.NewMemoryStore()
			_, err := newInbox(t, client, store).Step(t.Context(), (&recorder{}).handle)
			require.NoError(t, err)
			state, err := store.Business(t.Context(), market.Business())
			require.NoError(t, err)
			assert.Equal(t, time.Now().Add(-time.Second).Unix(), state.StartTime.Unix())
		})
	}
}

func TestWithStartTime_CountsOnTheFirstStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		id, other := market.AddChat(chats.Chat{}), market.AddChat(chats.Chat{})
		market.CustomerSays(id, "1")
		market.CustomerSays(other, "a")
		sleep(time.Hour)
		since := time.Now()
		market.CustomerSays(id, "2")
		sleep(time.Hour)
		market.CustomerSays(id, "3")
		for _, c := range []struct {
			since time.Time
			want  []string
		}{
			{since, []string{"2", "3"}},
			{time.Time{}, []string{"1", "2", "3", "a"}},
		} {
			store, seen := inbox.NewMemoryStore(), &recorder{}
			for _, at := range []time.Time{c.since, {}} {
				run := start(t, newInbox(t, connect(t, market), store, inbox.WithStartTime(at)), seen.handle)
				sleep(2 * time.Minute)
				require.NoError(t, run.stop())
				assert.ElementsMatch(t, c.want, seen.texts(), "on a later start it has no effect")
			}
		}
	})
}

func TestRestart_GoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		quiet := market.AddChat(longAgo())
		store, seen := inbox.NewMemoryStore(), &recorder{}
		in := newInbox(t, connect(t, market), store)
		run := start(t, in, seen.handle)
		sleep(4 * time.Second)
		market.CustomerSays(id, "1")
		sleep(5 * time.Minute)
		require.NoError(t, run.stop())
		market.CustomerSays(id, "2")
		market.CustomerSays(quiet, "3")
		market.CustomerSays(market.AddChat(chats.Chat{}), "4")
		sleep(10 * time.Hour)
		run = start(t, in, seen.handle)
		sleep(5 * time.Second)
		require.NoError(t, run.stop())
		assert.Equal(t, "1", seen.texts()[0])
		assert.ElementsMatch(t, []string{"1", "2", "3", "4"}, seen.texts())
		run = start(t, newInbox(t, connect(t, market), store), seen.handle)
		sleep(time.Hour)
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), 4, "what is saved never comes again")
	})
}

// Quiet chats cost their rows, and those that were active on the day before some polls.
func TestFirstStart_QuietChatsCostNoHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := bigShop(200, chats.StatusFinished)
		recent := market.AddChat(chats.Chat{})
		market.CustomerSays(recent, "old")
		sleep(time.Hour)
		store, seen := inbox.NewMemoryStore(), &recorder{}
		run := start(t, newInbox(t, connect(t, market), store, seldom), seen.handle)
		sleep(30 * time.Minute)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory), 3)
		assert.True(t, row(t, store, market, recent).Read)
		assert.Empty(t, seen.texts())
		require.NoError(t, run.stop())
	})
}

func TestQuota_AHistoryQuotaThatIsUsedUpIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(40, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChatHistory, 40))
		log, seen := &logBuffer{}, &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithQuotaReserve(0), log.option(), seldom)
		run := start(t, in, seen.handle)
		sleep(time.Until(time.Now().Truncate(time.Hour).Add(61 * time.Minute)))
		for i, text := range numbers(20) {
			market.CustomerSays(ids[i%3], text)
			wake(t, in, ids[i%3])
			sleep(20 * time.Second)
		}
		for _, id := range ids {
			market.CustomerSays(id, "and all the others")
		}
		sleep(50 * time.Minute)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory), 42)
		assert.Less(t, len(log.lines("")), 60, "nor does it try and try")
		sleep(5 * time.Hour)
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), 60)
	})
}

// The server may refuse without saying when the window ends.
func TestQuota_AServerThatRefusesIsNotHammered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(40, chats.StatusNew)
		seen := &recorder{}
		run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithWorkers(2)), seen.handle)
		sleep(90 * time.Second)
		var refusing atomic.Bool
		refusing.Store(true)
		market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
			if refusing.Load() && op == chats.OpGetChatHistory {
				return chatstest.HTML(420)
			}
			return chatstest.OK()
		})
		for _, id := range ids {
			market.CustomerSays(id, "new")
		}
		sleep(time.Hour)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory), 60*2*6, "two workers, six attempts, once a minute")
		refusing.Store(false)
		sleep(3 * time.Minute)
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), 40)
	})
}

// Headers that lack the end of the window may describe another limit.
func TestQuota_HeadersWithoutATimeAreNoQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		seen := &recorder{}
		for _, op := range []chats.Operation{chats.OpGetChats, chats.OpGetChatHistory} {
			market.Fail(op, slices.Repeat([]chatstest.Fault{chatstest.Rewrite(func(r *chatstest.Response) {
				r.Header.Set("X-RateLimit-Resource-Limit", "4")
				r.Header.Set("X-RateLimit-Resource-Remaining", "0")
				r.Header.Del("X-RateLimit-Resource-Until")
			})}, 3)...)
		}
		run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore()), seen.handle)
		for _, text := range numbers(4) {
			sleep(2 * time.Minute)
			market.CustomerSays(id, text)
		}
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, numbers(4), seen.texts())
	})
}

func TestQuota_AServerThatRefusesListsIsNotHammered(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for name, begin := range map[string]func(*testing.T, *inbox.Inbox, handler) *running{"Run": start, "Step": startSteps} {
		bubble(t, name, func(t *testing.T) {
			t.Helper()
			market, _ := bigShop(40, chats.StatusNew)
			run := begin(t, newInbox(t, connect(t, market), inbox.NewMemoryStore()), (&recorder{}).handle)
			sleep(90 * time.Second)
			market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
				if op == chats.OpGetChats {
					return chatstest.RateLimitedParallel()
				}
				return chatstest.OK()
			})
			before := market.Calls(chats.OpGetChats)
			sleep(time.Hour)
			require.NoError(t, run.stop())
			assert.LessOrEqual(t, market.Calls(chats.OpGetChats)-before, 1_100, "two kinds of sweeps, eight attempts, once a minute")
		})
	}
}

// Market, or the quota, is not available when the business is served for the first time.
func TestFirstStart_CountsFromTheFirstAttempt(t *testing.T) {
	t.Parallel()
	for name, push := range map[string]bool{"no push": false, "with a push": true} {
		bubble(t, "exhausted quota, "+name, func(t *testing.T) {
			t.Helper()
			market := chatstest.NewMarket(chatstest.WithHourlyLimit(chats.OpGetChats, 20))
			id := market.AddChat(longAgo())
			toFullHour()
			for range 20 { // another program
				_, err := market.Client().ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{})
				require.NoError(t, err)
			}
			seen := &recorder{}
			in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
			run := startSteps(t, in, seen.handle)
			sleep(10 * time.Minute)
			market.CustomerSays(id, "hello")
			if push {
				wake(t, in, id)
			}
			sleep(5 * time.Hour)
			require.NoError(t, run.stop())
			assert.Equal(t, []string{"hello"}, seen.texts())
		})
		bubble(t, "Market is down, "+name, func(t *testing.T) {
			t.Helper()
			market := chatstest.NewMarket()
			id := market.AddChat(longAgo())
			market.FailFunc(func(chats.Operation, int) chatstest.Fault { return chatstest.Status(503, "") })
			seen := &recorder{}
			store := inbox.NewMemoryStore()
			in := newInbox(t, connect(t, market), store)
			run := startSteps(t, in, seen.handle)
			sleep(10 * time.Minute)
			market.CustomerSays(id, "hello")
			if push {
				wake(t, in, id)
			}
			sleep(10 * time.Minute)
			require.NoError(t, run.stop())
			run = startSteps(t, newInbox(t, connect(t, market), store), seen.handle) // in another process
			sleep(time.Minute)
			market.FailFunc(nil)
			sleep(5 * time.Hour)
			require.NoError(t, run.stop())
			assert.Equal(t, []string{"hello"}, seen.texts())
		})
	}
}

// The Date of the first two responses is wrong; the clocks of both sides are right.
func TestFirstStart_AWrongDateLosesNothing(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{20 * time.Minute, 26 * time.Hour, 40 * 24 * time.Hour} {
		bubble(t, off.String(), func(t *testing.T) {
			t.Helper()
			market, id := shop()
			next, n := market.Transport(), atomic.Int64{}
			transport := roundTrip(func(req *http.Request) (*http.Response, error) {
				resp, err := next.RoundTrip(req)
				if err == nil && n.Add(1) <= 2 {
					resp.Header.Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
				}
				return resp, err
			})
			seen := &recorder{}
			run := startSteps(t, newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore()), seen.handle)
			sleep(10 * time.Minute)
			market.CustomerSays(id, "one")
			market.CustomerSays(market.AddChat(chats.Chat{}), "in a new chat")
			sleep(3 * time.Hour)
			require.NoError(t, run.stop())
			assert.ElementsMatch(t, []string{"one", "in a new chat"}, seen.texts())
		})
	}
}

// holding returns a Market on which messages with the text "held" become visible after d.
func holding(d time.Duration) *chatstest.Market {
	return chatstest.NewMarket(chatstest.WithVisibility(func(m chats.Message) time.Duration {
		if m.Text == "held" {
			return d
		}
		return 0
	}))
}

// A message that was held since before the first start becomes visible hours after it.
func TestFirstStart_DeliversWhatWasHeldBeforeIt(t *testing.T) {
	t.Parallel()
	for _, quiet := range []time.Duration{20 * time.Hour, 30 * time.Hour} {
		bubble(t, quiet.String(), func(t *testing.T) {
			t.Helper()
			market := holding(3 * time.Hour)
			id := market.AddChat(chats.Chat{})
			market.CustomerSays(id, "old")
			sleep(quiet)
			market.CustomerSays(id, "held")
			sleep(time.Hour)
			seen := &recorder{}
			run := startSteps(t, newInbox(t, connect(t, market), inbox.NewMemoryStore(), seldom), seen.handle)
			sleep(48 * time.Hour)
			require.NoError(t, run.stop())
			assert.Equal(t, []string{"held"}, seen.texts())
		})
	}
}

// A push reports that it has become visible, and then it cannot be read or handled at once.
func TestFirstStart_DeliversWhatWasHeldBeforeItAfterAFailure(t *testing.T) {
	t.Parallel()
	for _, failing := range []string{"reading", "handler"} {
		bubble(t, failing, func(t *testing.T) {
			t.Helper()
			market := holding(time.Hour)
			id := market.AddChat(chats.Chat{})
			market.CustomerSays(id, "old")
			sleep(30 * time.Hour)
			market.CustomerSays(id, "held")
			sleep(time.Minute)
			seen := &recorder{}
			var down atomic.Bool
			client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
				if failing == "reading" && down.Load() && asksFor(req, "/chats/history", 0) {
					return respond(req, 503, "")
				}
				return nil
			}))
			in := newInbox(t, client, inbox.NewMemoryStore(), never)
			run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
				if down.Load() {
					return errors.New("down")
				}
				return seen.handle(ctx, d)
			})
			sleep(time.Hour)
			down.Store(true)
			wake(t, in, id)
			sleep(time.Minute)
			down.Store(false)
			sleep(5 * time.Minute)
			require.NoError(t, run.stop())
			assert.Equal(t, []string{"held"}, seen.texts())
		})
	}
}

// A push reports that it has become visible, while the chat does not match the filter.
func TestFirstStart_DeliversWhatWasHeldBeforeItOnceTheChatMatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := holding(time.Hour)
		id := market.AddChat(chats.Chat{Type: chats.ChatTypeChat})
		market.CustomerSays(id, "old")
		sleep(30 * time.Hour)
		market.CustomerSays(id, "held")
		sleep(time.Minute)
		seen := &recorder{}
		filter := inbox.WithFilter(chats.Filter{Types: []chats.ChatType{chats.ChatTypeChat}})
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), filter, seldom)
		run := start(t, in, seen.handle)
		sleep(58 * time.Minute)
		market.SetType(id, chats.ChatTypeArbitrage)
		sleep(2 * time.Minute)
		wake(t, in, id)
		sleep(time.Minute)
		assert.Empty(t, seen.texts(), "it does not match")
		market.SetType(id, chats.ChatTypeChat)
		sleep(11 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"held"}, seen.texts())
	})
}

// The list reports it, but is served by two replicas, and the poll fails until the one that is behind
// has been asked.
func TestFirstStart_DeliversWhatWasHeldBeforeItWhileTheListGoesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := holding(time.Hour)
		id := market.AddChat(chats.Chat{})
		market.CustomerSays(id, "old")
		first := market.Chat(id).UpdatedAt
		sleep(30 * time.Hour)
		market.CustomerSays(id, "held")
		sleep(time.Minute)
		var down, isBehind atomic.Bool
		next := edited(market, "/chats", func(result map[string]any) {
			if isBehind.Load() {
				items(result, "chats")[0]["updatedAt"] = first.Format(time.RFC3339)
			}
		})
		client := connectVia(t, market, roundTrip(func(req *http.Request) (*http.Response, error) {
			if down.Load() && asksFor(req, "/chats/history", 0) {
				_ = req.Body.Close()
				return respond(req, 503, ""), nil
			}
			return next.RoundTrip(req)
		}))
		seen := &recorder{}
		run := start(t, newInbox(t, client, inbox.NewMemoryStore()), seen.handle)
		sleep(58 * time.Minute)
		down.Store(true)
		sleep(3 * time.Minute)
		isBehind.Store(true)
		sleep(2 * time.Minute)
		down.Store(false)
		sleep(5 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"held"}, seen.texts())
	})
}

// If messages do not change the updatedAt of their chat, those that were there are old still.
func TestFirstStart_AnUpdatedAtThatLagsBringsBackNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		at := time.Now().Add(-20 * time.Hour).UTC().Format(time.RFC3339)
		transport := edited(market, "/chats", func(result map[string]any) {
			for _, item := range items(result, "chats") {
				item["updatedAt"] = at
			}
		})
		market.CustomerSays(id, "old, too")
		sleep(time.Hour)
		seen := &recorder{}
		in := newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore())
		run := start(t, in, seen.handle)
		sleep(time.Hour)
		market.CustomerSays(id, "new")
		wake(t, in, id)
		sleep(time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"new"}, seen.texts())
	})
}

// Market can be reached when the business is served for the first time, but the store
// cannot save, or read, for ten minutes.
func TestFirstStart_CountsFromTheFirstAttemptToSave(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"Business", "Save"} {
		bubble(t, call, func(t *testing.T) {
			t.Helper()
			market, id := shop()
			store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
			store.fails(call)
			run := start(t, newInbox(t, connect(t, market), store), seen.handle)
			sleep(5 * time.Minute)
			market.CustomerSays(id, "hello")
			sleep(5 * time.Minute)
			store.fails()
			sleep(time.Hour)
			require.NoError(t, run.stop())
			assert.Equal(t, []string{"hello"}, seen.texts())
		})
	}
}

// The process is killed while it lists the first page.
func TestFirstStart_AKillDuringTheFirstPage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		shared, seen := inbox.NewMemoryStore(), &recorder{}
		store := &flakyStore{MemoryStore: shared}
		killed := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
			store.fails("all")
			<-req.Context().Done()
			return respond(req, 503, "")
		}))
		run := start(t, newInbox(t, killed, store), seen.handle)
		sleep(10 * time.Second)
		require.NoError(t, run.stop())
		market.CustomerSays(id, "hello")
		sleep(10 * time.Minute)
		run = start(t, newInbox(t, connect(t, market), shared), seen.handle)
		sleep(time.Hour)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"hello"}, seen.texts())
	})
}

// Nothing from before a start that is still to come is delivered, in whatever chat.
func TestWithStartTime_MayBeStillToCome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		recent := market.AddChat(chats.Chat{})
		market.CustomerSays(recent, "old")
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithStartTime(time.Now().Add(time.Hour)))
		run := start(t, in, seen.handle)
		for n := range 5 {
			sleep(20 * time.Minute)
			for _, id := range []chats.ChatID{id, recent} {
				market.CustomerSays(id, strconv.Itoa(n))
			}
			market.CustomerSays(market.AddChat(chats.Chat{}), strconv.Itoa(n))
		}
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.ElementsMatch(t, []string{"2", "2", "2", "3", "3", "3", "4", "4", "4"}, seen.texts())
	})
}

// A message sent before the start is found only after it.
func TestWithStartTime_MayBeStillToComeWhenAMessageIsSent(t *testing.T) {
	t.Parallel()
	for name, isRead := range map[string]bool{"in a quiet chat": false, "in a chat that has been read": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, id := shop()
				seen := &recorder{}
				start := time.Now().Add(time.Hour)
				in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithStartTime(start))
				run := startSteps(t, in, seen.handle)
				if isRead {
					sleep(20 * time.Minute)
					market.CustomerSays(id, "early")
					wake(t, in, id)
				}
				sleep(time.Until(start) - 5*time.Second)
				market.CustomerSays(id, "just before the start")
				sleep(5 * time.Minute)
				market.CustomerSays(id, "after the start")
				sleep(5 * time.Minute)
				require.NoError(t, run.stop())
				assert.Equal(t, []string{"after the start"}, seen.texts())
			})
		})
	}
}

// A push came before the first start. The list lags behind it, or has no time of the chat.
func TestFirstStart_AfterAPush(t *testing.T) {
	t.Parallel()
	for name, updatedAt := range map[string]func() any{
		"an earlier time": func() any { return time.Now().Add(-10 * time.Hour).UTC().Format(time.RFC3339) },
		"no time":         func() any { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, id := shop()
				client := connectVia(t, market, edited(market, "/chats", func(result map[string]any) {
					for _, chat := range items(result, "chats") {
						chat["updatedAt"] = updatedAt()
					}
				}))
				seen := &recorder{}
				in := newInbox(t, client, inbox.NewMemoryStore())
				wake(t, in, id)
				run := start(t, in, seen.handle)
				market.CustomerSays(id, "new")
				sleep(30 * time.Second)
				require.NoError(t, run.stop())
				assert.Equal(t, []string{"new"}, seen.texts())
			})
		})
	}
}

// While the quota is low, rechecks wait for the next window. Pushes and failing messages do not.
func TestQuota_WhatDoesNotWaitForTheNextWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(20, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChatHistory, 100))
		sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour + time.Minute)))
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), never)
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			if d.Message.Text == "bad" && d.Attempt == 1 {
				return errors.New("no")
			}
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		say := func(id chats.ChatID, text string) {
			market.CustomerSays(id, text)
			wake(t, in, id)
		}
		for _, id := range ids {
			say(id, "hello")
		}
		sleep(5 * time.Minute)
		require.Len(t, seen.all(), 20)
		say(ids[0], "pushed")
		say(ids[1], "bad")
		sleep(25 * time.Minute)
		assert.ElementsMatch(t, []string{"pushed", "bad"}, seen.texts()[20:])
		require.NoError(t, run.stop())
	})
}

// The quota does not suffice for the polls of chats that are listed without a time. They take turns.
func TestQuota_ChatsWhosePollsWaitTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(60, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChatHistory, 100))
		client := connectVia(t, market, edited(market, "/chats", func(result map[string]any) {
			for _, chat := range items(result, "chats") {
				delete(chat, "updatedAt")
			}
		}))
		seen := &recorder{}
		run := startSteps(t, newInbox(t, client, inbox.NewMemoryStore(), seldom), seen.handle)
		sleep(6 * time.Hour)
		for i, id := range ids {
			market.CustomerSays(id, strconv.Itoa(i))
		}
		sleep(4 * time.Hour)
		assert.ElementsMatch(t, numbers(60), seen.texts())
		require.NoError(t, run.stop())
	})
}

// Many chats were active in the day before the first start. Reading them for a baseline would use
// up several hours' quota.
func TestFirstStart_ABaselineLeavesQuotaForNewMessages(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithHourlyLimit(chats.OpGetChatHistory, 120))
		ids := make([]chats.ChatID, 200)
		for i := range ids {
			ids[i] = market.AddChat(chats.Chat{})
			market.CustomerSays(ids[i], "old")
			sleep(3 * time.Minute)
		}
		seen := &recorder{}
		run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore()), seen.handle)
		sleep(15 * time.Minute)
		posted := map[chats.MessageID]time.Time{}
		for n := range 30 {
			posted[market.CustomerSays(ids[n*37%len(ids)], "new")] = time.Now()
			sleep(4 * time.Minute)
		}
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), 30)
		assert.Less(t, seen.meanDelay(posted), 2*time.Minute)
	})
}
