package inbox_test

import (
	"context"
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
)

// hiding leaves the message "held" out of the history until a moment.
func hiding(market *chatstest.Market, until *atomic.Pointer[time.Time]) http.RoundTripper {
	return edited(market, "/chats/history", func(result map[string]any) {
		shown := []any{}
		for _, message := range items(result, "messages") {
			if at := until.Load(); message["message"] != "held" || at != nil && !time.Now().Before(*at) {
				shown = append(shown, message)
			}
		}
		result["messages"] = shown
	})
}

// A message is held for review, or a replica is behind: it becomes visible below younger
// ones, and nothing in the list says so.
func TestPoll_DeliversWhatIsShownAfterYoungerMessages(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		held time.Duration
		push bool
	}{
		"half a second, with pushes": {500 * time.Millisecond, true},
		"half an hour, with pushes":  {30 * time.Minute, true},
		"a minute":                   {time.Minute, false},
		"half an hour":               {30 * time.Minute, false},
		"eleven hours":               {11 * time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, id := shop()
				var until atomic.Pointer[time.Time]
				in := newInbox(t, connectVia(t, market, hiding(market, &until)), inbox.NewMemoryStore(), seldom)
				seen := &recorder{}
				begin := startSteps
				if c.push {
					begin = start // startSteps does not notice a push until the next step
				}
				run := begin(t, in, seen.handle)
				sleep(10 * time.Minute)
				if !c.push { // a sweep finds the younger message while the other one is held
					status, err := in.Status(t.Context())
					require.NoError(t, err)
					sleep(time.Until(status.NextSweep) - time.Second)
				}
				at := time.Now().Add(c.held)
				until.Store(&at)
				market.CustomerSays(id, "held")
				sleep(100 * time.Millisecond)
				market.AddMessage(id, chats.SenderMarket, "automatic")
				if c.push {
					wake(t, in, id)
				}
				sleep(max(c.held*5/4, 3*time.Hour))
				assert.Equal(t, []string{"automatic", "held"}, seen.texts())
				if c.push && c.held < time.Second {
					assert.Less(t, seen.all()[1].at.Sub(at), 2*time.Second, "by the first recheck")
				}
				market.CustomerSays(id, "later")
				sleep(11 * time.Minute)
				require.NoError(t, run.stop())
				assert.Equal(t, []string{"automatic", "held", "later"}, seen.texts())
			})
		})
	}
}

// The same where the business was served for the first time while the message was held,
// where another process takes over meanwhile, and where the next message brings it along.
func TestPoll_DeliversWhatIsShownLateAfterAStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ restart, later bool }{
		"first start": {}, "restart": {restart: true}, "with a later message": {later: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, id := shop()
				var until atomic.Pointer[time.Time]
				client, store, seen := connectVia(t, market, hiding(market, &until)), inbox.NewMemoryStore(), &recorder{}
				market.CustomerSays(id, "held")
				market.CustomerSays(id, "before the start")
				sleep(time.Hour)
				run := startSteps(t, newInbox(t, client, store, seldom), seen.handle)
				sleep(20 * time.Minute)
				assert.Empty(t, seen.texts(), "it was there before")
				if c.restart {
					require.NoError(t, run.stop())
					sleep(3 * time.Hour)
					run = startSteps(t, newInbox(t, client, store, seldom), seen.handle)
					sleep(time.Second)
				}
				now := time.Now()
				until.Store(&now)
				want := []string{"held"}
				if c.later {
					market.CustomerSays(id, "later")
					want = append(want, "later")
					sleep(11 * time.Minute)
				}
				sleep(12 * time.Hour)
				require.NoError(t, run.stop())
				assert.Equal(t, want, seen.texts())
			})
		})
	}
}

func TestPoll_MissingTimesAreNeverOld(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(map[string]any){
		"null":    func(m map[string]any) { m["createdAt"] = nil },
		"missing": func(m map[string]any) { delete(m, "createdAt") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, old := shop()
				transport := edited(market, "/chats/history", func(result map[string]any) {
					for _, message := range items(result, "messages") {
						if message["message"] == "one" {
							edit(message)
						}
					}
				})
				seen := &recorder{}
				run := start(t, newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore()), seen.handle)
				sleep(10 * time.Minute)
				id := market.AddChat(chats.Chat{})
				market.CustomerSays(id, "one")
				sleep(5 * time.Second)
				market.CustomerSays(id, "two")
				market.CustomerSays(old, "one") // in a chat that is not new
				sleep(5 * time.Minute)
				require.NoError(t, run.stop())
				assert.ElementsMatch(t, []string{"one", "two", "one"}, seen.texts())
			})
		})
	}
}

// A chat that is listed without updatedAt does not show that it has moved.
func TestSweep_ChatsWithoutTimesArePolledNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		transport := edited(market, "/chats", func(result map[string]any) {
			for _, chat := range items(result, "chats") {
				delete(chat, "updatedAt")
			}
		})
		seen := &recorder{}
		run := startSteps(t, newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore(), seldom), seen.handle)
		sleep(time.Minute)
		for _, text := range numbers(5) {
			market.CustomerSays(id, text)
			sleep(11 * time.Minute)
		}
		sleep(26 * time.Hour)
		market.CustomerSays(id, "after a day")
		sleep(11 * time.Minute)
		assert.Contains(t, seen.texts(), "after a day", "an open chat is polled every 10 minutes")
		market.FinishChat(id)
		market.AddMessage(id, chats.SenderMarket, "finished")
		sleep(2*time.Hour + time.Minute)
		calls := market.Calls(chats.OpGetChatHistory)
		sleep(10 * time.Hour)
		assert.Less(t, market.Calls(chats.OpGetChatHistory)-calls, 8)
		require.NoError(t, run.stop())
		assert.Equal(t, append(numbers(5), "after a day", "finished"), seen.texts())
	})
}

// The list knows of a message long before the history shows it.
func TestPoll_TheListMayBeAheadOfTheHistory(t *testing.T) {
	t.Parallel()
	for _, lag := range []time.Duration{5 * time.Second, time.Minute, 25 * time.Minute, 5 * time.Hour} {
		for _, fresh := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				market, id := shop()
				var until atomic.Pointer[time.Time]
				seen := &recorder{}
				client := connectVia(t, market, hiding(market, &until))
				run := startSteps(t, newInbox(t, client, inbox.NewMemoryStore(), seldom), seen.handle)
				sleep(2 * time.Minute)
				if fresh {
					id = market.AddChat(chats.Chat{})
				}
				at := time.Now().Add(lag)
				until.Store(&at)
				market.CustomerSays(id, "held")
				sleep(10*time.Minute + lag*5/2)
				require.NoError(t, run.stop())
				assert.Equal(t, []string{"held"}, seen.texts(), "lag %s, new chat: %t", lag, fresh)
			})
		}
	}
}

// updatedAt does not move with a message: the rechecks of the one before find it.
func TestPoll_FindsWhatTheListDoesNotShow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		var frozen atomic.Value
		transport := edited(market, "/chats", func(result map[string]any) {
			for _, chat := range items(result, "chats") {
				if at := frozen.Load(); at != nil {
					chat["updatedAt"] = at
				}
			}
		})
		seen := &recorder{}
		run := start(t, newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore()), seen.handle)
		sleep(2 * time.Minute)
		market.CustomerSays(id, "first")
		frozen.Store(market.Chat(id).UpdatedAt.Format(time.RFC3339))
		sleep(time.Hour)
		market.CustomerSays(id, "unannounced")
		sleep(2 * time.Hour)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"first", "unannounced"}, seen.texts())
	})
}

// The checkpoint's message is gone, and the server refuses an ID that it does not know.
func TestPoll_ACheckpointThatIsRefusedIsReadAround(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 404} {
		synctest.Test(t, func(t *testing.T) {
			market, id := shop()
			var strict atomic.Bool
			client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
				if !strict.Load() || !asksFor(req, "/chats/history", 0) || sinceOf(t, req) == 0 {
					return nil
				}
				return respond(req, status, `{"status":"ERROR","errors":[{"code":"NOT_FOUND","message":"Can't find message"}]}`)
			}))
			store, seen := inbox.NewMemoryStore(), &recorder{}
			run := start(t, newInbox(t, client, store, inbox.WithLookback(2)), seen.handle)
			sleep(2 * time.Minute)
			for _, text := range numbers(5) {
				market.CustomerSays(id, text)
			}
			sleep(2 * time.Minute)
			require.Positive(t, row(t, store, market, id).Checkpoint)
			strict.Store(true)
			market.CustomerSays(id, "5")
			sleep(2 * time.Minute)
			assert.Equal(t, numbers(6), seen.texts(), "status %d", status)
			assert.Zero(t, row(t, store, market, id).FailingSince)
			require.NoError(t, run.stop())
		})
	}
}

// The order of the history breaks beyond what can be sorted: what comes is delivered, and
// the missing message by the next poll from the floor.
func TestPoll_ABrokenOrderLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		var broken atomic.Bool
		transport := edited(market, "/chats/history", func(result map[string]any) {
			list, _ := result["messages"].([]any)
			if broken.Load() && len(list) == 100 { // the first page hides one, the second shows it
				kept := slices.Clone(list[:50])
				result["messages"] = append(kept, list[51:]...)
			} else if broken.Load() && len(list) > 0 {
				broken.Store(false)
				first := market.Messages(id)[51]
				result["messages"] = append([]any{map[string]any{
					"messageId": int64(first.ID), "sender": string(first.Sender), "message": first.Text,
					"createdAt": first.CreatedAt.Format(time.RFC3339),
				}}, list...)
			}
		})
		seen := &recorder{}
		run := start(t, newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore(),
			inbox.WithPollInterval(10*time.Minute), inbox.WithLookback(200)), seen.handle)
		sleep(2 * time.Minute)
		for _, text := range numbers(250) {
			market.CustomerSays(id, text)
			sleep(time.Second)
		}
		broken.Store(true)
		sleep(time.Hour)
		require.NoError(t, run.stop())
		texts := seen.texts()
		require.Len(t, texts, 250)
		slices.SortFunc(texts, func(a, b string) int {
			x, _ := strconv.Atoi(a)
			y, _ := strconv.Atoi(b)
			return x - y
		})
		assert.Equal(t, numbers(250), texts)
	})
}

// Times are in whole seconds: the second message leaves the chat's UpdatedAt as it was when
// the first one was handled.
func TestPoll_FindsAMessageInTheSecondOfTheLastOne(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		for _, after := range []time.Duration{0, 100 * time.Millisecond, 900 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				market, id := shop()
				store, seen := inbox.NewMemoryStore(), &recorder{}
				in := newInbox(t, connect(t, market), store)
				run := start(t, in, seen.handle)
				sleep(time.Minute)
				market.CustomerSays(id, "first")
				wake(t, in, id)
				synctest.Wait()
				require.Equal(t, []string{"first"}, seen.texts())
				if restart {
					require.NoError(t, run.stop())
				}
				sleep(after)
				market.CustomerSays(id, "second")
				if restart {
					run = start(t, newInbox(t, connect(t, market), store), seen.handle)
				}
				sleep(5 * time.Second)
				assert.Equal(t, []string{"first", "second"}, seen.texts())
				require.NoError(t, run.stop())
			})
		}
	}
}

// The same if the poll has waited for a worker, so that the second of its sweep is long over.
func TestPoll_FindsAMessageInTheSecondOfALatePoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		slow := market.AddChat(longAgo())
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithWorkers(1))
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			if d.Chat.ID == slow {
				sleep(70 * time.Second) // a sweep lists the other chat meanwhile
				market.CustomerSays(id, "second")
			}
			return seen.handle(ctx, d)
		})
		sleep(10 * time.Minute)
		market.CustomerSays(slow, "slow")
		wake(t, in, slow)
		sleep(time.Second)
		market.CustomerSays(id, "first")
		sleep(69*time.Second + 100*time.Millisecond)
		market.CustomerSays(id, "third")
		sleep(5 * time.Second)
		assert.Equal(t, []string{"slow", "first", "second", "third"}, seen.texts())
		require.NoError(t, run.stop())
	})
}

// The same if the history is slow, so that the message was written after its poll had begun.
func TestPoll_FindsAMessageInTheSecondOfASlowPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		var slow atomic.Bool
		transport := intercepted(market, func(req *http.Request) *http.Response {
			if asksFor(req, "/history", id) && slow.Swap(false) {
				sleep(2800 * time.Millisecond)
			}
			return nil
		})
		seen := &recorder{}
		in := newInbox(t, connectVia(t, market, transport), inbox.NewMemoryStore())
		run := start(t, in, seen.handle)
		sleep(10 * time.Minute) // times are in whole seconds
		slow.Store(true)
		wake(t, in, id)
		sleep(2700 * time.Millisecond)
		market.CustomerSays(id, "first")
		sleep(200 * time.Millisecond)
		market.CustomerSays(id, "second")
		sleep(5 * time.Second)
		assert.Equal(t, []string{"first", "second"}, seen.texts())
		require.NoError(t, run.stop())
	})
}

// What a message costs: its poll, the one after its second, and the rechecks of a day.
func TestPoll_CostsOfOneMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), seldom)
		run := start(t, in, (&recorder{}).handle)
		sleep(time.Minute)
		market.CustomerSays(id, "message")
		wake(t, in, id)
		said := time.Now()
		for _, c := range []struct {
			until time.Duration
			calls int
		}{{time.Second, 1}, {time.Minute, 2}, {11 * time.Minute, 3}, {3 * time.Hour, 4}, {13 * time.Hour, 5}, {25 * time.Hour, 6}, {40 * time.Hour, 6}} {
			if c.until == time.Minute {
				require.NoError(t, run.stop())
				run = startSteps(t, in, (&recorder{}).handle)
			}
			sleep(time.Until(said.Add(c.until)))
			assert.Equal(t, c.calls, market.Calls(chats.OpGetChatHistory), "after %s", c.until)
		}
		require.NoError(t, run.stop())
		assert.Zero(t, market.Calls(chats.OpGetChat))
	})
}

// Without lookback a poll starts at the newest handled message, and does not read the history again
// because it does not show an earlier one.
func TestPoll_WithoutLookbackIsOneRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(1, chats.StatusNew)
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithLookback(0), never)
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		for n := range 3 {
			sleep(10 * time.Minute)
			before := market.Calls(chats.OpGetChatHistory)
			market.CustomerSays(ids[0], "message")
			wake(t, in, ids[0])
			sleep(time.Second)
			assert.Len(t, seen.all(), n+1)
			assert.Equal(t, 1, market.Calls(chats.OpGetChatHistory)-before)
		}
		require.NoError(t, run.stop())
	})
}

// A message below the lookback is not seen any more: that is its bound.
func TestPoll_LookbackIsABound(t *testing.T) {
	t.Parallel()
	for lookback, want := range map[int]int{0: 5, 4: 5, 5: 6, 50: 6} {
		synctest.Test(t, func(t *testing.T) {
			market, id := shop()
			var until atomic.Pointer[time.Time]
			seen := &recorder{}
			in := newInbox(t, connectVia(t, market, hiding(market, &until)), inbox.NewMemoryStore(), inbox.WithLookback(lookback))
			run := start(t, in, seen.handle)
			sleep(2 * time.Minute)
			market.CustomerSays(id, "held")
			for _, text := range numbers(5) {
				market.CustomerSays(id, text)
			}
			sleep(2 * time.Minute)
			now := time.Now()
			until.Store(&now)
			assert.NoError(t, in.Wake(context.Background(), id))
			sleep(time.Minute)
			require.NoError(t, run.stop())
			assert.Len(t, seen.texts(), want, "lookback %d", lookback)
		})
	}
}

// 400 messages came while the inbox did not run. While they are read, the order of the
// history breaks: message 10 is on the third page instead of the first. Default lookback.
func TestPoll_AMessageTwoPagesTooLateIsDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		var pages atomic.Int32
		var broken atomic.Bool
		transport := edited(market, "/chats/history", func(result map[string]any) {
			list, _ := result["messages"].([]any)
			if !broken.Load() || len(list) == 0 {
				return
			}
			switch pages.Add(1) {
			case 1:
				result["messages"] = append(slices.Clone(list[:11]), list[12:]...)
			case 3:
				broken.Store(false)
				m := market.Messages(id)[11]
				result["messages"] = append([]any{map[string]any{
					"messageId": int64(m.ID), "sender": string(m.Sender), "message": m.Text,
					"createdAt": m.CreatedAt.Format(time.RFC3339),
				}}, list...)
			}
		})
		seen := &recorder{}
		client, store := connectVia(t, market, transport), inbox.NewMemoryStore()
		run := start(t, newInbox(t, client, store), seen.handle)
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		for _, text := range numbers(400) {
			market.CustomerSays(id, text)
			sleep(time.Second)
		}
		broken.Store(true)
		run = startSteps(t, newInbox(t, client, store, seldom), seen.handle)
		sleep(30 * time.Hour)
		require.NoError(t, run.stop())
		assert.Len(t, seen.all(), 400)
		assert.True(t, slices.Contains(seen.texts(), "10"), "message 10 is lost")
	})
}

// The checkpoint's message was deleted, and the server returns an empty list for it.
func TestPoll_ACheckpointWithNothingAboveItIsReadAround(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		var gone atomic.Int64
		transport := intercepted(market, func(req *http.Request) *http.Response {
			if g := gone.Load(); g != 0 && asksFor(req, "/chats/history", 0) && int64(sinceOf(t, req)) == g {
				return respond(req, 200, `{"status":"OK","result":{"context":{"type":"ORDER"},"messages":[],"paging":{}}}`)
			}
			return nil
		})
		seen, store := &recorder{}, inbox.NewMemoryStore()
		client := connectVia(t, market, transport)
		in := newInbox(t, client, store)
		run := start(t, in, seen.handle)
		sleep(time.Minute)
		for _, text := range numbers(60) {
			market.CustomerSays(id, text)
			sleep(time.Second)
		}
		sleep(5 * time.Minute)
		gone.Store(int64(row(t, store, market, id).Checkpoint))
		require.NotZero(t, gone.Load())
		market.CustomerSays(id, "new")
		sleep(time.Hour)
		market.CustomerSays(id, "newer")
		wake(t, in, id)
		sleep(time.Minute)
		require.NoError(t, run.stop())
		run = startSteps(t, newInbox(t, client, store, seldom), seen.handle)
		sleep(30 * time.Hour)
		require.NoError(t, run.stop())
		assert.Len(t, seen.all(), 62)
	})
}

// The history shows a new message and none of those that are known, so it is read once more from
// its beginning. What was handled is saved before that.
func TestPoll_WhatWasHandledIsSavedBeforeAnotherReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		seen, store := &recorder{}, inbox.NewMemoryStore()
		var said chats.MessageID
		readings := 0
		client := connectVia(t, market, edited(market, "/chats/history", func(result map[string]any) {
			if said == 0 {
				return
			}
			if readings++; readings == 1 {
				all := result["messages"].([]any) //nolint:forcetypeassert // ours
				result["messages"] = slices.DeleteFunc(all, func(m any) bool {
					return m.(map[string]any)["message"] != "new" //nolint:forcetypeassert // ours
				})
				return
			}
			assert.Equal(t, "new", seen.texts()[60])
			assert.Contains(t, row(t, store, market, id).Handled, said)
		}))
		run := start(t, newInbox(t, client, store), seen.handle)
		sleep(time.Minute)
		for _, text := range numbers(60) {
			market.CustomerSays(id, text)
			sleep(time.Second)
		}
		sleep(5 * time.Minute)
		require.NoError(t, run.stop())
		require.NotZero(t, row(t, store, market, id).Checkpoint)
		said = market.CustomerSays(id, "new")
		in := newInbox(t, client, store)
		wake(t, in, id)
		_, err := in.Step(t.Context(), seen.handle)
		require.NoError(t, err)
		assert.Equal(t, 2, readings)
		assert.Len(t, seen.all(), 61)
	})
}

// The list is ahead of the history; two messages, of which the first is visible when the
// second is listed. It takes the schedule of explained activity.
func TestPoll_TheListMayBeAheadByTwoMessages(t *testing.T) {
	t.Parallel()
	for lag, within := range map[time.Duration]time.Duration{
		45 * time.Second: 2 * time.Minute, 90 * time.Second: 2 * time.Minute, 12 * time.Minute: 20 * time.Minute,
	} {
		bubble(t, lag.String(), func(t *testing.T) {
			t.Helper()
			market, id := shop(chatstest.WithHistoryLag(lag))
			seen := &recorder{}
			run := startSteps(t, newInbox(t, connect(t, market), inbox.NewMemoryStore()), seen.handle)
			sleep(time.Minute)
			market.CustomerSays(id, "first")
			sleep(lag - 10*time.Second)
			said := time.Now()
			market.CustomerSays(id, "second")
			sleep(20 * time.Hour)
			require.NoError(t, run.stop())
			require.Len(t, seen.all(), 2)
			assert.LessOrEqual(t, seen.all()[1].at.Sub(said)-lag, within, "after it was visible")
		})
	}
}

// The list shows another updatedAt of one quiet chat every time.
func TestPoll_AListThatChangesWithoutMessagesCostsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		transport := edited(market, "/chats", func(result map[string]any) {
			for _, item := range items(result, "chats") {
				item["updatedAt"] = time.Now().UTC().Format(time.RFC3339)
			}
		})
		seen, store := &recorder{}, inbox.NewMemoryStore()
		run := startSteps(t, newInbox(t, connectVia(t, market, transport), store), seen.handle)
		sleep(6 * time.Hour)
		assert.Less(t, market.Calls(chats.OpGetChatHistory), 160, "requests in six hours, one every five minutes and the rechecks")
		market.CustomerSays(id, "hello")
		sleep(5*time.Minute + time.Second)
		assert.Equal(t, []string{"hello"}, seen.texts())
		sleep(time.Minute) // the next sweep
		require.NoError(t, run.stop())
		assert.Less(t, row(t, store, market, id).Unexplained, 20, "since the message was found")
	})
}

// Rows as the migration leaves them: handled and quiet for 100 days.
func TestPoll_ImportedRowsAreNoActivity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, store := chatstest.NewMarket(), inbox.NewMemoryStore()
		lease, err := store.Acquire(t.Context(), market.Business(), inbox.Purpose, "import")
		require.NoError(t, err)
		state, rows := inbox.BusinessState{StartTime: time.Now().Add(-time.Hour)}, []inbox.ChatState{}
		for range 40 {
			id := market.AddChat(chats.Chat{})
			m := market.CustomerSays(id, "handled")
			rows = append(rows, inbox.ChatState{Chat: id, Read: true, Checkpoint: m, UpdatedAt: market.Chat(id).UpdatedAt})
		}
		require.NoError(t, store.Save(t.Context(), lease, &state, rows))
		require.NoError(t, store.Release(t.Context(), lease))
		sleep(100 * 24 * time.Hour)
		run := startSteps(t, newInbox(t, connect(t, market), store, seldom), (&recorder{}).handle)
		sleep(25 * time.Hour)
		require.NoError(t, run.stop())
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory), 40)
	})
}

// failBefore makes the chats that fail have failed for longer, and returns their rows.
func failBefore(t *testing.T, store inbox.Store, market *chatstest.Market, by time.Duration) []inbox.ChatState {
	t.Helper()
	lease, err := store.Acquire(t.Context(), market.Business(), inbox.Purpose, "time machine")
	require.NoError(t, err)
	sum, err := store.Summary(t.Context(), market.Business(), time.Now())
	require.NoError(t, err)
	for i := range sum.Failing {
		row := &sum.Failing[i]
		row.FailingSince, row.RefusedSince = row.FailingSince.Add(-by), row.RefusedSince.Add(-by)
	}
	require.NoError(t, store.Save(t.Context(), lease, nil, sum.Failing))
	require.NoError(t, store.Release(t.Context(), lease))
	return sum.Failing
}

// 20 chats were deleted after pushes for them: they are not listed any more, and their histories
// are 404.
func TestPoll_ChatsThatAreGoneCostNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		var ids []chats.ChatID
		for range 20 {
			ids = append(ids, market.AddChat(longAgo()))
		}
		var gone atomic.Bool
		var calls atomic.Int64
		next := edited(market, "/chats", func(result map[string]any) {
			if gone.Load() {
				result["chats"], result["paging"] = []any{}, map[string]any{}
			}
		})
		transport := roundTrip(func(req *http.Request) (*http.Response, error) {
			if gone.Load() && asksFor(req, "/chats/history", 0) {
				calls.Add(1)
				_ = req.Body.Close()
				return respond(req, 404, `{"status":"ERROR","errors":[{"code":"NOT_FOUND","message":"Can't find chat by id"}]}`), nil
			}
			return next.RoundTrip(req)
		})
		store := inbox.NewMemoryStore()
		in := newInbox(t, connectVia(t, market, transport), store, seldom)
		run := startSteps(t, in, (&recorder{}).handle)
		sleep(24 * time.Hour)
		gone.Store(true)
		for _, id := range ids {
			wake(t, in, id)
		}
		sleep(time.Hour)
		require.NoError(t, run.stop())
		require.Len(t, failBefore(t, store, market, 3*24*time.Hour), 20)
		run = startSteps(t, in, (&recorder{}).handle)
		sleep(2 * time.Hour)
		before := calls.Load()
		sleep(24 * time.Hour)
		require.NoError(t, run.stop())
		assert.LessOrEqual(t, calls.Load()-before, int64(20), "requests on the fourth day")
	})
}

// The same, by more messages than are kept: it is delivered, and others are again.
func TestPoll_AMessageManyPagesTooLateIsDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		var pages atomic.Int32
		var broken atomic.Bool
		transport := edited(market, "/chats/history", func(result map[string]any) {
			list, _ := result["messages"].([]any)
			if !broken.Load() || len(list) == 0 {
				return
			}
			switch pages.Add(1) {
			case 1:
				result["messages"] = append(slices.Clone(list[:11]), list[12:]...)
			case 13:
				broken.Store(false)
				m := market.Messages(id)[11]
				result["messages"] = append([]any{map[string]any{
					"messageId": int64(m.ID), "sender": string(m.Sender), "message": m.Text,
					"createdAt": m.CreatedAt.Format(time.RFC3339),
				}}, list...)
			}
		})
		seen := &recorder{}
		client, store := connectVia(t, market, transport), inbox.NewMemoryStore()
		run := start(t, newInbox(t, client, store), seen.handle)
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		for _, text := range numbers(1500) {
			market.CustomerSays(id, text)
			sleep(time.Second)
		}
		broken.Store(true)
		run = startSteps(t, newInbox(t, client, store, seldom), seen.handle)
		sleep(30 * time.Hour)
		require.NoError(t, run.stop())
		assert.Contains(t, seen.texts(), "10")
		assert.Subset(t, seen.texts(), numbers(1500))
	})
}

// The list is served by two replicas, one of which does not have the last message yet.
func TestPoll_AListThatChangesBackAndForthCostsLittle(t *testing.T) {
	t.Parallel()
	for field, other := range map[string]string{
		"updatedAt": time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC).Format(time.RFC3339),
		"status":    string(chats.StatusWaitingForMarket),
	} {
		synctest.Test(t, func(t *testing.T) {
			market, id := shop()
			n := 0
			transport := edited(market, "/chats", func(result map[string]any) {
				for _, item := range items(result, "chats") {
					if n++; n%2 == 0 {
						item[field] = other
					}
				}
			})
			seen, store := &recorder{}, inbox.NewMemoryStore()
			run := startSteps(t, newInbox(t, connectVia(t, market, transport), store), seen.handle)
			sleep(6 * time.Hour)
			assert.Less(t, market.Calls(chats.OpGetChatHistory), 160, "requests in six hours: %s", field)
			market.CustomerSays(id, "hello")
			sleep(5*time.Minute + time.Second)
			assert.Equal(t, []string{"hello"}, seen.texts(), field)
			require.NoError(t, run.stop())
		})
	}
}
