package inbox_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
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
	"github.com/ymchats/ymchats-go/chats/internal/race"
)

// bigShop has as many idle chats of a status.
func bigShop(n int, status chats.Status, options ...chatstest.Option) (*chatstest.Market, []chats.ChatID) {
	market := chatstest.NewMarket(options...)
	ids := make([]chats.ChatID, n)
	for i := range ids {
		chat := longAgo()
		chat.UpdatedAt = chat.UpdatedAt.Add(-time.Duration(i) * time.Second)
		chat.CreatedAt = chat.UpdatedAt
		chat.Status = status
		ids[i] = market.AddChat(chat)
	}
	return market, ids
}

// perHour runs an inbox and returns its requests of an hour after the first.
func perHour(t *testing.T, market *chatstest.Market, options ...inbox.Option) (lists, histories float64) {
	t.Helper()
	run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore(), options...), (&recorder{}).handle)
	sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)))
	list, history := market.Calls(chats.OpGetChats), market.Calls(chats.OpGetChatHistory)
	sleep(time.Hour)
	lists = float64(market.Calls(chats.OpGetChats) - list)
	histories = float64(market.Calls(chats.OpGetChatHistory) - history)
	require.NoError(t, run.stop())
	return lists, histories
}

// The shop has 100 chats, five pages, and a quota that is a twentieth of the real one is as
// tight as that one for 2,000.
func TestSweep_IdleChatsCostTheListAlone(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	finished := chats.Filter{Statuses: []chats.Status{chats.StatusFinished, chats.StatusNew}}
	for _, c := range []struct {
		name        string
		status      chats.Status
		hourly      int
		options     []inbox.Option
		least, most float64
	}{
		{"full sweeps alone, as often as others would be", chats.StatusNew, 5000, nil, 290, 310},
		{"every ten minutes", chats.StatusNew, 5000, []inbox.Option{inbox.WithPollInterval(10 * time.Minute)}, 28, 33},
		{"half of the quota, on both kinds of sweeps", chats.StatusNew, 250, nil, 110, 125},
		{"a tenth of the quota", chats.StatusNew, 250, []inbox.Option{inbox.WithQuotaReserve(0.9)}, 18, 25},
		{"finished chats are listed less often", chats.StatusFinished, 250, nil, 70, 100},
		{"finished chats that are asked for", chats.StatusFinished, 250, []inbox.Option{inbox.WithFilter(finished)}, 110, 125},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, _ := bigShop(100, c.status, chatstest.WithHourlyLimit(chats.OpGetChats, c.hourly))
				lists, histories := perHour(t, market, c.options...)
				assert.GreaterOrEqual(t, lists, c.least)
				assert.LessOrEqual(t, lists, c.most)
				assert.Zero(t, histories)
				assert.Zero(t, market.Calls(chats.OpGetChat))
			})
		})
	}
}

// What other programs use does not count: they use half of each quota at the start of
// its window.
func TestSweep_GoesOnWhileOthersUseTheQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(100, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChats, 500))
		others, seen := market.Client(), &recorder{}
		run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore()), seen.handle)
		refused := 0
		for hour := range 2 {
			sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour)))
			for range 250 {
				if _, err := others.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{}); err != nil {
					refused++
				}
			}
			for i := range 5 {
				n, said := len(seen.all()), time.Now()
				market.CustomerSays(ids[i*19], strconv.Itoa(10*hour+i))
				sleep(9 * time.Minute)
				if assert.Greater(t, len(seen.all()), n, "hour %d, message %d", hour, i) {
					assert.Less(t, seen.all()[n].at.Sub(said), 6*time.Minute)
				}
			}
		}
		assert.Zero(t, refused)
		require.NoError(t, run.stop())
	})
}

// Incremental sweeps go on while a full one of 1,500 chats is under way.
func TestSweep_AFullOneDoesNotHoldUpTheIncrementalOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(1500, chats.StatusFinished,
			chatstest.WithHourlyLimit(chats.OpGetChats, 300), chatstest.WithLatency(300*time.Millisecond))
		open := ids[:25]
		for _, id := range open {
			market.SetStatus(id, chats.StatusWaitingForCustomer)
		}
		seen := &recorder{}
		run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore()), seen.handle)
		sleep(7 * time.Minute)
		for i, text := range numbers(10) {
			n, said := len(seen.all()), time.Now()
			market.CustomerSays(open[(i*7)%25], text)
			sleep(11 * time.Minute)
			if assert.Greater(t, len(seen.all()), n, "message %s", text) {
				assert.Less(t, seen.all()[n].at.Sub(said), 3*time.Minute)
			}
		}
		require.NoError(t, run.stop())
	})
}

func TestSweep_FindsAFinishedChatToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(500, chats.StatusFinished, chatstest.WithHourlyLimit(chats.OpGetChats, 1000))
		open, strange := market.AddChat(longAgo()), market.AddChat(longAgo())
		market.FinishChat(strange) // for the statuses of the incremental sweep
		transport := edited(market, "/chats", func(result map[string]any) {
			for _, chat := range items(result, "chats") {
				if chat["chatId"] == json.Number(strconv.Itoa(int(strange))) {
					chat["status"] = "WAITING_FOR_GODOT"
				}
			}
		})
		seen := &recorder{}
		run := start(t, newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore()), seen.handle)
		sleep(5*time.Minute + 30*time.Second)
		market.AddMessage(open, chats.SenderMarket, "the last one")
		market.FinishChat(open)
		sleep(2 * time.Minute)
		assert.Equal(t, []string{"the last one"}, seen.texts(), "a chat that leaves the incremental list is polled")

		market.AddMessage(ids[300], chats.SenderMarket, "in a finished chat")
		market.AddMessage(strange, chats.SenderMarket, "in a chat of a new status")
		sleep(30 * time.Minute)
		require.NoError(t, run.stop())
		assert.ElementsMatch(t, []string{"the last one", "in a finished chat", "in a chat of a new status"}, seen.texts())
	})
}

// One 400 of a gateway costs one sweep, not the incremental sweeps for ever.
func TestSweep_OneStray400(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := bigShop(100, chats.StatusFinished)
		market.AddChat(longAgo())
		run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithPollInterval(3*time.Minute)), (&recorder{}).handle)
		hour := func() int {
			before := market.Calls(chats.OpGetChats)
			sleep(time.Hour)
			return market.Calls(chats.OpGetChats) - before
		}
		sleep(time.Hour)
		before := hour()
		market.Fail(chats.OpGetChats, chatstest.HTML(400))
		sleep(time.Hour)
		after := hour()
		assert.InDelta(t, before, after, float64(before)/5)
		require.NoError(t, run.stop())
	})
}

// A 400 for a later page of a full sweep that is longer than the quota. After one, the page is listed
// again, and incremental sweeps go on as before. If the page token is refused for hours, the sweep starts
// over and uses up the rest of a window, but later ones do not.
func TestSweep_OneStray400OfALaterPage(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for name, lasting := range map[string]time.Duration{"one": 0, "for hours": 4 * time.Hour} {
		bubble(t, name, func(t *testing.T) {
			t.Helper()
			market, _ := bigShop(1_200, chats.StatusFinished, chatstest.WithHourlyLimit(chats.OpGetChats, 60))
			market.AddChat(longAgo())
			var isRefused atomic.Bool
			var refused string // a page token
			var since, last time.Time
			var longest atomic.Int64
			client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
				token := req.URL.Query().Get("pageToken")
				if token == "" { // mostly of an incremental sweep
					longest.Store(max(longest.Load(), int64(time.Since(last))))
					last = time.Now()
					return nil
				}
				if isRefused.Swap(false) {
					refused, since = token, time.Now()
				} else if refused != token || time.Since(since) >= lasting {
					return nil
				}
				return respond(req, 400, "<html>bad request</html>")
			}))
			in := newInbox(t, client, inbox.NewMemoryStore())
			run := startSteps(t, in, (&recorder{}).handle)
			sleep(20 * time.Hour)
			longest.Store(0)
			isRefused.Store(true)
			sleep(10 * time.Hour)
			require.False(t, isRefused.Load())
			assert.Equal(t, lasting > 0, time.Duration(longest.Load()) > 10*time.Minute)
			longest.Store(0)
			sleep(30 * time.Hour)
			require.NoError(t, run.stop())
			assert.Less(t, time.Duration(longest.Load()), 10*time.Minute)
		})
	}
}

// A server that responds to the page tokens of an earlier process as if the credential were refused. All
// other requests are accepted.
func TestSweep_PageTokensRefusedLikeACredential(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for _, status := range []int{401, 403} {
		bubble(t, strconv.Itoa(status), func(t *testing.T) {
			t.Helper()
			market, ids := bigShop(2_000, chats.StatusFinished)
			var isOld atomic.Bool
			var old sync.Map
			client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
				token := req.URL.Query().Get("pageToken")
				if token != "" && !isOld.Load() {
					old.Store(token, true)
				}
				if _, is := old.Load(token); is && isOld.Load() {
					return respond(req, status, `{"status":"ERROR","errors":[{"code":"FORBIDDEN","message":"x"}]}`)
				}
				return nil
			}))
			store, seen := inbox.NewMemoryStore(), &recorder{}
			run := start(t, newInbox(t, client, store), seen.handle)
			sleep(11 * time.Minute)
			require.NoError(t, run.stop())
			state, err := store.Business(t.Context(), market.Business())
			require.NoError(t, err)
			require.NotEmpty(t, state.Full.Token)
			old.Store(state.Full.Token, true)
			isOld.Store(true)
			run = start(t, newInbox(t, client, store), seen.handle)
			market.CustomerSays(ids[1_999], "hello")
			market.FinishChat(ids[1_999])
			sleep(40 * time.Minute)
			require.NoError(t, run.stop())
			assert.Equal(t, []string{"hello"}, seen.texts())
		})
	}
}

// A full sweep waits for a rate limit, or for the store. One error of the server afterwards does not
// cut it short.
func TestSweep_OneErrorAfterAWait(t *testing.T) {
	t.Parallel()
	const (
		limited = `{"status":"ERROR","errors":[{"code":"LIMIT","message":"Hit rate limit of 4 parallel requests"}]}`
		busy    = `{"status":"ERROR","errors":[{"code":"INTERNAL","message":"x"}]}`
	)
	for _, reason := range []string{"rate limit", "store"} {
		bubble(t, reason, func(t *testing.T) {
			t.Helper()
			market, _ := bigShop(2_000, chats.StatusFinished)
			var isWaiting, fails atomic.Bool
			client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
				switch {
				case req.URL.Query().Get("pageToken") == "":
					return nil
				case isWaiting.Load() && reason == "rate limit":
					return respond(req, 420, limited)
				case fails.Load():
					return respond(req, 500, busy)
				}
				return nil
			}))
			store, log := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &logBuffer{}
			run := start(t, newInbox(t, client, store, log.option()), (&recorder{}).handle)
			sleep(11 * time.Minute)
			if isWaiting.Store(true); reason == "store" {
				store.fails("Chats")
			}
			sleep(5 * time.Minute)
			isWaiting.Store(false)
			fails.Store(true)
			store.fails()
			for len(log.lines("listing chats failed")) == 0 || !strings.Contains(log.text(), "INTERNAL") {
				sleep(time.Second)
			}
			fails.Store(false)
			sleep(5 * time.Minute)
			require.NoError(t, run.stop())
			assert.Empty(t, log.lines("cut short"))
		})
	}
}

// Whether statuses go together with another filter is not documented.
func TestSweep_StatusesMayNotGoWithAnotherFilter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(200, chats.StatusFinished, chatstest.WithHourlyLimit(chats.OpGetChats, 2000))
		refusing := intercepted(market, func(req *http.Request) *http.Response {
			if asksFor(req, "/chats", 0) && hasStatuses(t, req) {
				return respond(req, 400, `{"status":"ERROR","errors":[{"code":"BAD_REQUEST"}]}`)
			}
			return nil
		})
		seen := &recorder{}
		filter := chats.Filter{SubjectKinds: []chats.SubjectKind{chats.SubjectOrder}}
		run := start(t, newInbox(t, connectVia(t, market, refusing), inbox.NewMemoryStore(), inbox.WithFilter(filter)), seen.handle)
		sleep(5 * time.Minute)
		market.CustomerSays(ids[100], "new")
		sleep(3 * time.Minute)
		assert.Equal(t, []string{"new"}, seen.texts())
		require.NoError(t, run.stop())
	})
}

func hasStatuses(t *testing.T, req *http.Request) bool {
	t.Helper()
	body, err := io.ReadAll(req.Body)
	assert.NoError(t, err)
	req.Body = io.NopCloser(bytes.NewReader(body))
	return bytes.Contains(body, []byte("statuses"))
}

// While a full sweep fits into the poll interval, there are no others.
func TestSweep_FullOnesSufficeWhileTheShopIsSmall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := bigShop(20, chats.StatusNew)
		var unfinished atomic.Int64
		client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
			if asksFor(req, "/chats", 0) && hasStatuses(t, req) {
				unfinished.Add(1)
			}
			return nil
		}))
		in := newInbox(t, client, inbox.NewMemoryStore())
		run := start(t, in, (&recorder{}).handle)
		sleep(10 * time.Minute)
		assert.Zero(t, unfinished.Load())
		status, err := in.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, status.LastFullSweep, status.LastSweep)
		assert.Positive(t, time.Until(status.NextSweep))
		for range 400 { // a full sweep then takes more than two minutes
			chat := longAgo()
			chat.Status = chats.StatusFinished
			market.AddChat(chat)
		}
		sleep(10 * time.Minute)
		assert.InDelta(t, 10, unfinished.Load(), 2)
		require.NoError(t, run.stop())
	})
}

// A page that fails again and again hides no chat of the pages before it, nor one of the
// other kind of sweep.
func TestSweep_APageThatFailsHidesNoOther(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for name, isBroken := range map[string]func(*testing.T, *http.Request) bool{
		"every second page": func(_ *testing.T, req *http.Request) bool { return req.URL.Query().Get("pageToken") != "" },
		"full sweeps":       func(t *testing.T, req *http.Request) bool { t.Helper(); return !hasStatuses(t, req) },
		"incremental ones":  hasStatuses,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, ids := bigShop(100, chats.StatusNew)
				var broken atomic.Bool
				client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
					if broken.Load() && asksFor(req, "/chats", 0) && isBroken(t, req) {
						return respond(req, 500, `{"status":"ERROR"}`)
					}
					return nil
				}), chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1}))
				seen := &recorder{}
				run := start(t, newInbox(t, client, inbox.NewMemoryStore()), seen.handle)
				sleep(10 * time.Minute)
				broken.Store(true)
				for _, text := range numbers(3) {
					sleep(5 * time.Minute)
					market.CustomerSays(ids[50], text)
					sleep(5 * time.Minute)
				}
				assert.Equal(t, numbers(3), seen.texts())
				broken.Store(false)
				sleep(2 * time.Minute)
				require.NoError(t, run.stop())
			})
		})
	}
}

// The full sweep of a large shop takes two hours. An outage of two minutes does not make it begin anew.
func TestSweep_AnOutageDoesNotEndALongOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(2_000, chats.StatusFinished, chatstest.WithHourlyLimit(chats.OpGetChats, 500))
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
		run := startSteps(t, in, (&recorder{}).handle)
		sleep(time.Hour)
		market.FailFunc(func(chats.Operation, int) chatstest.Fault { return chatstest.HTML(502) })
		sleep(2 * time.Minute)
		market.FailFunc(nil)
		sleep(75 * time.Minute)
		require.NoError(t, run.stop())
		status, err := in.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, len(ids), status.Chats)
	})
}

// A process stops in the middle of its sweeps, and the next one starts half a day later. By then, the
// server no longer accepts the page tokens.
func TestSweep_PageTokensExpireWhileNoProcessRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := bigShop(500, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChats, 250), chatstest.WithTokenLifetime(time.Hour))
		store := inbox.NewMemoryStore()
		state := func() inbox.BusinessState {
			state, err := store.Business(t.Context(), market.Business())
			require.NoError(t, err)
			return state
		}
		for _, d := range []time.Duration{80 * time.Minute, time.Hour} {
			run := startSteps(t, newInbox(t, connect(t, market), store), (&recorder{}).handle)
			sleep(d)
			require.NoError(t, run.stop())
			if d == time.Hour {
				break
			}
			require.NotEmpty(t, state().Incremental.Token)
			require.NotEmpty(t, state().Full.Token)
			sleep(12 * time.Hour)
		}
		assert.Less(t, time.Since(state().Incremental.FinishedAt), 30*time.Minute)
	})
}

// The full sweep of a large shop takes six hours. If Market is away for eight, or no process runs, the
// sweep does not catch up at the expense of the incremental ones.
func TestSweep_AFullOneDoesNotCatchUpAfterAnOutage(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"outage", "no process"} {
		bubble(t, reason, func(t *testing.T) {
			t.Helper()
			market, _ := bigShop(1_200, chats.StatusFinished, chatstest.WithHourlyLimit(chats.OpGetChats, 100))
			market.AddChat(longAgo())
			var last time.Time
			var longest atomic.Int64
			client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
				if asksFor(req, "/chats", 0) && hasStatuses(t, req) {
					longest.Store(max(longest.Load(), int64(time.Since(last))))
					last = time.Now()
				}
				return nil
			}))
			store := inbox.NewMemoryStore()
			toFullHour()
			run := startSteps(t, newInbox(t, client, store), (&recorder{}).handle)
			sleep(58 * time.Minute)
			if reason == "outage" {
				market.FailFunc(func(chats.Operation, int) chatstest.Fault { return chatstest.HTML(502) })
				sleep(8 * time.Hour)
				market.FailFunc(nil)
			} else {
				require.NoError(t, run.stop())
				sleep(8*time.Hour + 10*time.Minute)
				run = startSteps(t, newInbox(t, client, store), (&recorder{}).handle)
			}
			sleep(5 * time.Minute)
			longest.Store(0)
			sleep(3 * time.Hour)
			require.NoError(t, run.stop())
			assert.Less(t, time.Duration(longest.Load()), 10*time.Minute)
		})
	}
}

// A page in the middle of the list cannot be had for hours. The pages before it are listed as
// often as before, within the quota.
func TestSweep_APageThatFailsForHoursCostsLittle(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for _, status := range []int{500, 400} {
		bubble(t, strconv.Itoa(status), func(t *testing.T) {
			t.Helper()
			market, ids := bigShop(400, chats.StatusNew)
			var pages, lists atomic.Int32
			client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
				if !asksFor(req, "/chats", 0) {
					return nil
				}
				lists.Add(1)
				if req.URL.Query().Get("pageToken") == "" {
					pages.Store(0)
				} else if pages.Load() >= 4 {
					return respond(req, status, `{"status":"ERROR","errors":[{"code":"X"}]}`)
				}
				pages.Add(1)
				return nil
			}))
			seen := &recorder{}
			run := start(t, newInbox(t, client, inbox.NewMemoryStore()), seen.handle)
			toFullHour()
			sleep(time.Hour)
			lists.Store(0)
			for _, text := range numbers(12) {
				market.CustomerSays(ids[0], text)
				sleep(4 * time.Minute)
				assert.Contains(t, seen.texts(), text)
				sleep(time.Minute)
			}
			assert.Less(t, lists.Load(), int32(2_300))
			require.NoError(t, run.stop())
		})
	}
}

// A chat is reopened, and the list shows only the status.
func TestSweep_AStatusThatChangesAlone(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for _, c := range []struct {
		lag, within time.Duration
		polls       int
	}{{0, 2 * time.Minute, 2}, {5 * time.Minute, 12 * time.Minute, 7}} {
		synctest.Test(t, func(t *testing.T) {
			market, id := shop(chatstest.WithHistoryLag(c.lag))
			market.FinishChat(id)
			stuck := time.Now().Format(time.RFC3339)
			client := connectVia(t, market, edited(market, "/chats", func(result map[string]any) {
				items(result, "chats")[0]["updatedAt"] = stuck
			}))
			seen := &recorder{}
			run := startSteps(t, newInbox(t, client, inbox.NewMemoryStore()), seen.handle)
			sleep(30 * time.Hour)
			market.CustomerSays(id, "new")
			market.SetStatus(id, chats.StatusWaitingForPartner)
			before := market.Calls(chats.OpGetChatHistory)
			sleep(c.within)
			assert.Equal(t, []string{"new"}, seen.texts(), "with a history that is %s behind", c.lag)
			assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory)-before, c.polls)
			require.NoError(t, run.stop())
		})
	}
}

// expiring is a Market whose page tokens live for a minute.
func expiring(t *testing.T, market *chatstest.Market) http.RoundTripper {
	t.Helper()
	var issued atomic.Value
	var expired sync.Map
	return intercepted(market, func(req *http.Request) *http.Response {
		if !asksFor(req, "/chats", 0) {
			return nil
		}
		last, _ := issued.Load().(time.Time)
		issued.Store(time.Now())
		token := req.URL.Query().Get("pageToken")
		_, isExpired := expired.Load(token)
		if token != "" && (isExpired || time.Since(last) > time.Minute) {
			expired.Store(token, true)
			return respond(req, 400, `{"status":"ERROR","errors":[{"code":"BAD_REQUEST","message":"Invalid page token"}]}`)
		}
		return nil
	})
}

// Page tokens that do not survive a pause, and a quota that makes sweeps pause.
func TestSweep_PageTokensMayExpire(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	const size = 240                       // more than a listing of the newest chats has
	for _, hourly := range []int{48, 28} { // for two sweeps an hour and for one
		synctest.Test(t, func(t *testing.T) {
			market, ids := bigShop(size, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChats, hourly))
			seen := &recorder{}
			client := connectVia(t, market, expiring(t, market))
			run := start(t, newInbox(t, client, inbox.NewMemoryStore(), inbox.WithStartTime(time.Now())), seen.handle)
			sleep(3 * time.Hour)
			for i, id := range ids {
				market.AddMessage(id, chats.SenderMarket, strconv.Itoa(i))
				market.SetStatus(id, chats.StatusNew)
			}
			sleep(6 * time.Hour)
			require.NoError(t, run.stop())
			assert.ElementsMatch(t, numbers(size), seen.texts())
		})
	}
}

// The only chat has left the list, with a last message, while the store fails.
func TestSweep_AChatThatLeftIsReadOnceTheStoreWorks(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"Open", "Chats", "Save"} {
		synctest.Test(t, func(t *testing.T) {
			market, ids := bigShop(1, chats.StatusNew, chatstest.WithLatency(time.Second), chatstest.WithHourlyLimit(chats.OpGetChats, 50))
			store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
			run := start(t, newInbox(t, connect(t, market), store, seldom), seen.handle)
			sleep(time.Minute)
			market.CustomerSays(ids[0], "last")
			market.FinishChat(ids[0])
			left := make(chan struct{})
			store.set(nil, func(done string) error {
				if done == "Open" { // the incremental sweep has listed nothing
					store.fails(call)
					close(left)
				}
				return nil
			})
			<-left
			sleep(time.Minute)
			store.fails()
			sleep(20 * time.Minute)
			assert.Equal(t, []string{"last"}, seen.texts())
			require.NoError(t, run.stop())
		})
	}
}

func TestSweep_AListThatIsLongerThanTheQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(600, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChats, 20))
		seen := &recorder{}
		run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore()), seen.handle)
		sleep(2 * time.Hour)
		market.CustomerSays(ids[100], "new")
		sleep(8 * time.Hour)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"new"}, seen.texts())
		assert.LessOrEqual(t, market.Calls(chats.OpGetChats), 120)
	})
}

// The list of all chats goes round in circles at its fourth page, which looks like a small
// shop; the one of the chats that are not finished has an end.
func TestSweep_OneThatIsCutShortCoversNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(200, chats.StatusNew)
		var asked atomic.Value
		var page atomic.Int32
		repeating := edited(market, "/chats", func(result map[string]any) {
			listed, _ := result["chats"].([]any)
			result["chats"] = slices.DeleteFunc(listed, func(item any) bool { // it is further behind
				return fmt.Sprint(item.(map[string]any)["chatId"]) == fmt.Sprint(ids[150]) //nolint:forcetypeassert // ours
			})
			if token := asked.Load(); page.Load() > 3 {
				result["paging"] = map[string]any{"nextPageToken": token}
			}
		})
		transport := roundTrip(func(req *http.Request) (*http.Response, error) {
			switch token := req.URL.Query().Get("pageToken"); {
			case !strings.HasSuffix(req.URL.Path, "/chats") || hasStatuses(t, req):
				return market.Transport().RoundTrip(req)
			case token == "":
				page.Store(1)
			case token != asked.Load():
				page.Add(1)
			}
			asked.Store(req.URL.Query().Get("pageToken"))
			return repeating.RoundTrip(req)
		})
		seen := &recorder{}
		run := start(t, newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore()), seen.handle)
		sleep(time.Hour)
		market.CustomerSays(ids[150], "new")
		sleep(5 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"new"}, seen.texts())
	})
}

// Pages that change no row are saved together, but not so many that a kill would have a long
// sweep begin anew.
func TestSweep_IsSavedWhileNothingChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := bigShop(1500, chats.StatusNew)
		store := inbox.NewMemoryStore()
		run := start(t, newInbox(t, connect(t, market), store), (&recorder{}).handle)
		sleep(10 * time.Minute)
		var versions []int64
		for len(versions) < 5 {
			state, err := store.Business(t.Context(), market.Business())
			require.NoError(t, err)
			if len(versions) > 0 || state.Full.Pages >= 50 { // a sweep has just begun to list its pages one by one
				versions = append(versions, state.Version)
			}
			sleep(10 * time.Second)
		}
		require.NoError(t, run.stop())
		assert.Len(t, slices.Compact(versions), 5)
	})
}

// endless is a list that never ends: after its last page comes another one, by a token that next
// returns for the last one. Page tokens are new each time if isFresh is set.
func endless(t *testing.T, market *chatstest.Market, isFresh bool, next func(second, last string) string) http.RoundTripper {
	t.Helper()
	var mu sync.Mutex
	seconds, tokens := map[bool]string{}, map[string]string{}
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(req.URL.Path, "/chats") {
			return market.Transport().RoundTrip(req)
		}
		mu.Lock()
		defer mu.Unlock()
		isIncremental, query := hasStatuses(t, req), req.URL.Query()
		asked := query.Get("pageToken")
		if token, isOurs := tokens[asked]; isOurs {
			query.Set("pageToken", token)
			asked, req.URL.RawQuery = token, query.Encode()
		}
		if asked == "none" {
			return respond(req, 200, `{"status":"OK","result":{"chats":[],"paging":{"nextPageToken":"none"}}}`), nil
		}
		return edited(market, "/chats", func(result map[string]any) {
			paging, _ := result["paging"].(map[string]any)
			token, _ := paging["nextPageToken"].(string)
			if asked == "" {
				seconds[isIncremental] = token
			}
			if token == "" {
				token = next(seconds[isIncremental], asked)
			}
			if isFresh {
				fresh := fmt.Sprint("fresh", len(tokens))
				tokens[fresh], token = token, fresh
			}
			result["paging"] = map[string]any{"nextPageToken": token}
		}).RoundTrip(req)
	})
}

// A listing that does not end does not go on for ever. The chat whose message comes last is
// behind the first page.
func TestSweep_AnEndlessListing(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for name, next := range map[string]func(second, last string) string{
		"the last page again":  func(_, last string) string { return last },
		"all pages again":      func(second, _ string) string { return second },
		"pages that are empty": func(_, _ string) string { return "none" },
	} {
		for _, isFresh := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%s, fresh tokens %v", name, isFresh), func(t *testing.T) {
				t.Helper()
				market, _ := bigShop(60, chats.StatusNew)
				seen, log, store := &recorder{}, &logBuffer{}, inbox.NewMemoryStore()
				run := startSteps(t, newInbox(t, connectVia(t, market, endless(t, market, isFresh, next)), store, log.option()), seen.handle)
				sleep(10 * time.Minute)
				for _, text := range numbers(40) { // more than a page
					market.CustomerSays(market.AddChat(longAgo()), text)
				}
				sleep(12 * time.Minute)
				require.NoError(t, run.stop())
				assert.ElementsMatch(t, numbers(40), seen.texts())
				assert.NotEmpty(t, log.lines("list does not end"))
				state, err := store.Business(t.Context(), market.Business())
				require.NoError(t, err)
				assert.Less(t, time.Since(state.Incremental.FinishedAt), 10*time.Minute)
			})
		}
	}
}

// The quota allows for one page in each step.
func TestSweep_AnEndlessListingInSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := bigShop(60, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChats, 90))
		last := func(_, last string) string { return last }
		client, store := connectVia(t, market, endless(t, market, false, last)), inbox.NewMemoryStore()
		stepper(t, client, store, 5*time.Hour, (&recorder{}).handle)
		state, err := store.Business(t.Context(), market.Business())
		require.NoError(t, err)
		for _, sweep := range []inbox.SweepState{state.Incremental, state.Full} {
			assert.Less(t, time.Since(sweep.FinishedAt), 3*time.Hour)
			assert.True(t, sweep.CutShort)
		}
	})
}

// For two minutes the list is empty, or ends after its first page. That does not have every
// chat polled that it lacks.
func TestSweep_AListThatEndsEarlyCostsLittle(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for name, edit := range map[string]func(map[string]any){
		"no chat":  func(result map[string]any) { result["chats"], result["paging"] = []any{}, map[string]any{} },
		"one page": func(result map[string]any) { result["paging"] = map[string]any{} },
	} {
		bubble(t, name, func(t *testing.T) {
			t.Helper()
			market, ids := bigShop(500, chats.StatusNew)
			var isShort atomic.Bool
			client := connectVia(t, market, edited(market, "/chats", func(result map[string]any) {
				if isShort.Load() {
					edit(result)
				}
			}))
			seen := &recorder{}
			run := startSteps(t, newInbox(t, client, inbox.NewMemoryStore()), seen.handle)
			sleep(10 * time.Minute)
			isShort.Store(true)
			sleep(2 * time.Minute)
			isShort.Store(false)
			sleep(2 * time.Minute)
			assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory), 320)
			market.CustomerSays(ids[250], "new")
			sleep(3 * time.Minute)
			assert.Equal(t, []string{"new"}, seen.texts())
			for _, id := range ids {
				market.FinishChat(id)
			}
			calls := market.Calls(chats.OpGetChatHistory)
			sleep(10 * time.Minute)
			require.NoError(t, run.stop())
			assert.GreaterOrEqual(t, market.Calls(chats.OpGetChatHistory)-calls, 500, "each that has left is polled in the end")
		})
	}
}

// Half a minute in which the server reports a far smaller quota delays no sweep beyond
// the end of the quota window, and an interval that was longer before the restart
// delays none.
func TestSweep_ADelayEndsWithItsReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := bigShop(130, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChats, 500))
		toFullHour()
		var isWrong atomic.Bool
		client := connectVia(t, market, roundTrip(func(req *http.Request) (*http.Response, error) {
			resp, err := market.Transport().RoundTrip(req)
			if err == nil && isWrong.Load() {
				resp.Header.Set("X-Ratelimit-Resource-Limit", "1")
			}
			return resp, err
		}))
		store := inbox.NewMemoryStore()
		assertSwept := func() {
			state, err := store.Business(t.Context(), market.Business())
			require.NoError(t, err)
			assert.Less(t, time.Since(state.Incremental.FinishedAt), 5*time.Minute)
			assert.Less(t, time.Since(state.Full.FinishedAt), 15*time.Minute)
		}
		run := startSteps(t, newInbox(t, client, store), (&recorder{}).handle)
		sleep(10 * time.Minute)
		isWrong.Store(true)
		sleep(30 * time.Second)
		isWrong.Store(false)
		sleep(time.Hour)
		assertSwept()
		require.NoError(t, run.stop())
		run = startSteps(t, newInbox(t, client, store, inbox.WithPollInterval(24*time.Hour)), (&recorder{}).handle)
		sleep(26 * time.Hour)
		require.NoError(t, run.stop())
		run = startSteps(t, newInbox(t, client, store), (&recorder{}).handle)
		sleep(20 * time.Minute)
		assertSwept()
		require.NoError(t, run.stop())
	})
}

// A server that refuses every page token is not asked without a pause.
func TestSweep_PageTokensThatAreNeverAccepted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(60, chats.StatusNew)
		client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
			if req.URL.Query().Get("pageToken") != "" {
				return respond(req, 400, `{"status":"ERROR","errors":[{"code":"BAD_REQUEST"}]}`)
			}
			return nil
		}))
		seen := &recorder{}
		run := start(t, newInbox(t, client, inbox.NewMemoryStore()), seen.handle)
		sleep(10 * time.Minute)
		market.CustomerSays(ids[50], "new") // on the first page now
		sleep(time.Hour)
		assert.Equal(t, []string{"new"}, seen.texts())
		assert.Less(t, market.Calls(chats.OpGetChats), 300)
		require.NoError(t, run.stop())
	})
}

// The first pages are spread over 3 s, the second ones over another 10 s.
func TestSweep_TheFirstPageIsListedSoon(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		markets := make([]*chatstest.Market, 20)
		for i := range markets {
			markets[i], _ = bigShop(60, chats.StatusNew, chatstest.WithBusiness(chats.BusinessID(1000+i)))
			start(t, newInbox(t, connect(t, markets[i]), inbox.NewMemoryStore()), (&recorder{}).handle)
		}
		sleep(3 * time.Second)
		later := 0
		for _, market := range markets {
			assert.Positive(t, market.Calls(chats.OpGetChats))
			if market.Calls(chats.OpGetChats) == 1 {
				later++
			}
		}
		assert.Greater(t, later, 10, "the second page is still to come")
		sleep(10 * time.Second)
		for _, market := range markets {
			assert.Greater(t, market.Calls(chats.OpGetChats), 1)
		}
	})
}

// Inboxes that are started together do not list in the same second, and do not stay in step.
func TestSweep_StartsAreSpread(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for name, c := range map[string]struct {
		shops, chats, quota int
		from, until         time.Duration // the period counted
		per                 time.Duration
		least               int // requests in all
		most                int // in any such time
	}{
		"1 chat":      {100, 1, 5_000, 0, 5 * time.Minute, time.Second, 100 * 5, 100 / 2}, // the first pages within 3 s
		"100 chats":   {50, 100, 5_000, 0, 5 * time.Minute, time.Second, 50 * 5 * 5, 50},
		"1,000 chats": {10, 100, 500, time.Minute, 20 * time.Minute, 10 * time.Second, 10 * 5 * 12, 10 * 3}, // by tenths
		// The quota of an hour is used up before it ends, and all go on in the next one.
		"1,000 chats, another hour": {10, 100, 500, 62 * time.Minute, 80 * time.Minute, 10 * time.Second, 10 * 5 * 12, 10 * 4},
	} {
		bubble(t, name, func(t *testing.T) {
			t.Helper()
			began := time.Now()
			var mu sync.Mutex
			counts := map[int]int{}
			for i := range c.shops {
				market, _ := bigShop(c.chats, chats.StatusWaitingForCustomer,
					chatstest.WithBusiness(chats.BusinessID(1000+i)), chatstest.WithHourlyLimit(chats.OpGetChats, c.quota))
				client := market.Client(chats.WithHTTPClient(&http.Client{Transport: intercepted(market, func(req *http.Request) *http.Response {
					if strings.HasSuffix(req.URL.Path, "/chats") {
						mu.Lock()
						defer mu.Unlock()
						counts[int(time.Since(began)/c.per)]++
					}
					return nil
				})}))
				start(t, newInbox(t, client, inbox.NewMemoryStore()), (&recorder{}).handle)
			}
			sleep(c.until)
			mu.Lock()
			defer mu.Unlock()
			total, most := 0, 0
			for at, n := range counts {
				if at >= int(c.from/c.per) {
					total, most = total+n, max(most, n)
				}
			}
			assert.GreaterOrEqual(t, total, c.least)
			assert.LessOrEqual(t, most, c.most)
		})
	}
}

// An inbox that starts for the first time lists a small shop once.
func TestSweep_AFirstStartListsASmallShopOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for n, pages := range map[int]int{1: 1, 20: 1, 160: 8} {
			market, _ := bigShop(n, chats.StatusNew)
			_, err := newInbox(t, connect(t, market), inbox.NewMemoryStore()).Step(t.Context(), (&recorder{}).handle)
			require.NoError(t, err)
			assert.Equal(t, pages, market.Calls(chats.OpGetChats))
		}
	})
}

// Rows cannot be read for 45 minutes; leases can be renewed.
func TestSweep_RowsThatCannotBeLoadedCostFewPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		toFullHour()
		store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
		run := start(t, newInbox(t, connect(t, market), store), seen.handle)
		sleep(time.Minute)
		store.fails("Chats")
		before := market.Calls(chats.OpGetChats)
		sleep(45 * time.Minute)
		assert.Less(t, market.Calls(chats.OpGetChats)-before, 200)
		store.fails()
		market.CustomerSays(id, "hello")
		sleep(2 * time.Minute)
		assert.Len(t, seen.all(), 1)
		require.NoError(t, run.stop())
	})
}

// Every page begins with the same chat, as if that was pinned. This is no listing without an end.
func TestSweep_AChatOnEveryPage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(500, chats.StatusNew)
		var pinned any
		client := connectVia(t, market, edited(market, "/chats", func(result map[string]any) {
			all := result["chats"].([]any) //nolint:forcetypeassert // ours
			if pinned == nil {
				pinned = all[0]
			}
			result["chats"] = append([]any{pinned}, all...)
		}))
		seen, log := &recorder{}, &logBuffer{}
		run := startSteps(t, newInbox(t, client, inbox.NewMemoryStore(), log.option()), seen.handle)
		sleep(10 * time.Minute)
		for _, id := range ids {
			market.CustomerSays(id, "hello")
		}
		sleep(10 * time.Minute)
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), len(ids))
		assert.Empty(t, log.lines("list does not end"))
	})
}

// A chat that was not to be polled any more, because it was gone, is listed again without a time.
func TestSweep_AChatThatComesBackWithoutATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		client := connectVia(t, market, edited(market, "/chats", func(result map[string]any) {
			for _, chat := range items(result, "chats") {
				delete(chat, "updatedAt")
			}
		}))
		seen, store := &recorder{}, inbox.NewMemoryStore()
		in := newInbox(t, client, store)
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		require.NoError(t, run.stop())
		gone := row(t, store, market, id)
		gone.DueAt = time.Time{}
		lease, err := store.Acquire(t.Context(), market.Business(), inbox.Purpose, "test")
		require.NoError(t, err)
		require.NoError(t, store.Save(t.Context(), lease, nil, []inbox.ChatState{gone}))
		require.NoError(t, store.Release(t.Context(), lease))
		market.CustomerSays(id, "new")
		run = start(t, in, seen.handle)
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"new"}, seen.texts())
	})
}
