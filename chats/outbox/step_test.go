package outbox_test

import (
	"context"
	"errors"
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
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// stepUntilIdle steps whenever something is due, for at most a duration. Each step is made by
// an outbox that next returns.
func stepUntilIdle(t *testing.T, atMost time.Duration, next func() *outbox.Outbox) {
	t.Helper()
	for began := time.Now(); time.Since(began) < atMost; {
		at, err := next().Step(t.Context())
		require.NoError(t, err)
		if at.IsZero() {
			return
		}
		sleep(time.Until(at))
	}
}

func TestStep_ReportsEverythingThatIsDue(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 99, 100, 101, 250} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, seen := chatstest.NewMarket(), &settled{}
				var down atomic.Bool
				down.Store(true)
				o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), outbox.WithSettled(func(ctx context.Context, r outbox.Result) error {
					if down.Load() {
						return errors.New("the shop's database is down")
					}
					return seen.call(ctx, r)
				}))
				for k := range n {
					put(t, o, text(strconv.Itoa(k), market.AddChat(chats.Chat{})))
				}
				_, err := o.Step(t.Context())
				require.NoError(t, err)
				down.Store(false)
				sleep(10 * time.Minute)
				stepUntilIdle(t, time.Hour, func() *outbox.Outbox { return o })
				assert.Len(t, seen.keys(), n)
			})
		})
	}
}

// The store fails when an item is read to be reported.
func TestStep_ReportsAfterAFailedReading(t *testing.T) {
	t.Parallel()
	for _, failures := range []int64{1, 3, 500} {
		t.Run(strconv.FormatInt(failures, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				var failing, reads atomic.Int64
				store := &hooked{Store: outbox.NewMemoryStore(), item: func() error {
					reads.Add(1)
					if failing.Add(-1) >= 0 {
						return errors.New("connection reset")
					}
					return nil
				}}
				calls := 0
				o := newOutbox(t, connect(t, market), store, outbox.WithSettled(func(context.Context, outbox.Result) error {
					if calls++; calls == 1 {
						return errors.New("down")
					}
					return nil
				}))
				put(t, o, text("a", market.AddChat(chats.Chat{})))
				next, err := o.Step(t.Context())
				require.NoError(t, err)
				sleep(time.Until(next) + time.Second)
				failing.Store(failures)
				began := time.Now()
				stepUntilIdle(t, time.Hour, func() *outbox.Outbox { return o })
				assert.Equal(t, 2, calls)
				assert.InDelta(t, failures, reads.Load(), 5)
				assert.InDelta(t, float64(failures), time.Since(began).Seconds(), 15, "about one reading per second")
			})
		})
	}
}

// Each step is made by a process of its own, as in a cron job.
func TestStep_ResumesInAProcessPerStep(t *testing.T) {
	t.Parallel()
	for name, isPosted := range map[string]bool{"nothing was posted": false, "it was posted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, store := chatstest.NewMarket(), outbox.NewMemoryStore()
				chat := market.AddChat(chats.Chat{})
				o := newOutbox(t, connect(t, market), store)
				put(t, o, text("a", chat), text("b", chat))
				died(t, market, store, "a")
				if isPosted {
					market.AddMessage(chat, chats.SenderPartner, "a")
				}
				sleep(time.Minute)
				began, steps := time.Now(), 0
				stepUntilIdle(t, time.Hour, func() *outbox.Outbox { steps++; return newOutbox(t, connect(t, market), store) })
				assert.Equal(t, []string{"a", "b"}, posted(market, chat))
				assert.Less(t, market.Calls(chats.OpGetChatHistory), 15)
				assert.LessOrEqual(t, steps, 2)
				assert.Less(t, time.Since(began), chats.SearchTime+time.Second)
			})
		})
	}
}

// An item that is not due is discarded while a step works elsewhere: the one behind it is due.
func TestStep_DiscardedHead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(300 * time.Millisecond))
		chat, other := market.AddChat(chats.Chat{}), market.AddChat(chats.Chat{})
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		put(t, o, text("a", chat), text("b", chat))
		market.FailFunc(func(chats.Operation, int) chatstest.Fault { return chatstest.Refused() })
		_, err := o.Step(t.Context())
		require.NoError(t, err)
		market.FailFunc(nil)
		put(t, o, text("other", other))
		time.AfterFunc(500*time.Millisecond, func() { assert.NoError(t, o.Resolve(t.Context(), "a", outbox.Discard())) })
		next, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.Zero(t, next)
		assert.Equal(t, []string{"b"}, posted(market, chat))
		assert.Equal(t, []string{"other"}, posted(market, other))
	})
}

func TestStep_EndsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, seen := chatstest.NewMarket(), &settled{}
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore(), seen.option())
		put(t, o, text("a", market.AddChat(chats.Chat{})))
		began := time.Now()
		next, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.Zero(t, next)
		assert.Zero(t, time.Since(began))
		assert.Equal(t, []string{"a sent"}, seen.keys())
	})
}

// The step ends before what it has settled is reported: the next one has to report it.
func TestStep_EndsBeforeTheReport(t *testing.T) {
	t.Parallel()
	for name, settle := range map[string]func(context.Context){
		"the function hangs": func(context.Context) { sleep(time.Hour) },
		"the lease is lost":  func(context.Context) {},
		"the function obeys": func(ctx context.Context) { <-ctx.Done() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, store := chatstest.NewMarket(), &hooked{Store: outbox.NewMemoryStore()}
				store.save = func(r *outbox.Record) error {
					if r.Reported {
						return inbox.ErrLeaseLost
					}
					return nil
				}
				ctx, cancel := context.WithCancel(t.Context())
				o := newOutbox(t, connect(t, market), store, outbox.WithSettled(func(ctx context.Context, _ outbox.Result) error {
					cancel()
					settle(ctx)
					return ctx.Err()
				}))
				put(t, o, text("a", market.AddChat(chats.Chat{})))
				next, err := o.Step(ctx)
				require.NoError(t, err)
				assert.False(t, next.IsZero())
				sleep(time.Hour)
			})
		})
	}
}

// What the server refuses is remembered from one step to the next.
func TestStep_RemembersRefusals(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, response string
		op             chats.Operation
		fault          chatstest.Fault
	}{
		{"403 for many chats", "the list of chats", chats.OpGetChats, chatstest.Status(403, forbidden)},
		{"exhausted quota", "the send", chats.OpSendMessageToChat, chatstest.RateLimitedHourly(time.Time{})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				o := newOutbox(t, market.Client(chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1})), outbox.NewMemoryStore())
				market.Fail(chats.OpSendMessageToChat, slices.Repeat([]chatstest.Fault{test.fault}, 1000)...)
				began := time.Now()
				for n := 0; time.Since(began) < 2*time.Minute; n++ {
					put(t, o, text(strconv.Itoa(n), market.AddChat(chats.Chat{})))
					_, err := o.Step(t.Context())
					require.NoError(t, err)
					sleep(5 * time.Second)
				}
				assert.LessOrEqual(t, market.Calls(test.op), 3*4, "%s is requested once a minute, by each worker", test.response)
			})
		})
	}
}

// The next step may be made by another process, which would start the search over.
func TestStep_SearchesForItsOwnSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithVisibility(func(chats.Message) time.Duration { return 5 * time.Second }))
		market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		put(t, o, text("a", market.AddChat(chats.Chat{})))
		next, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.Zero(t, next)
		assert.Equal(t, outbox.Sent, get(t, o, "a").State)
	})
}

// A step does not start with the chats that the step before it has served.
func TestStep_GoesOnWithTheChatsThatWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(300 * time.Millisecond))
		o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
		ids := make([]chats.ChatID, 300)
		for n := range ids {
			ids[n] = market.AddChat(chats.Chat{})
			for _, part := range []string{"a", "b", "c"} {
				put(t, o, text(part+strconv.Itoa(n), ids[n]))
			}
		}
		step := func() (counts map[int]int) {
			ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
			defer cancel()
			_, err := o.Step(ctx)
			require.NoError(t, err)
			counts = map[int]int{}
			for _, id := range ids {
				counts[len(posted(market, id))]++
			}
			return counts
		}
		assert.Less(t, step()[1], len(ids)/2)
		step()
		assert.Zero(t, step()[0], "all chats have had their turn")
		settled := ids[0]
		for step()[3] < len(ids) {
		}
		assert.Len(t, posted(market, settled), 3)
	})
}

// Steps do not use up the quotas in an outage either.
func TestStep_AnOutageLeavesTheQuota(t *testing.T) {
	t.Parallel()
	for _, down := range []chats.Operation{chats.OpSendMessageToChat, chats.OpGetChatHistory} {
		t.Run(string(down), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const size = 100
				market := chatstest.NewMarket()
				o := newOutbox(t, connect(t, market), outbox.NewMemoryStore())
				for n := range size {
					put(t, o, text(strconv.Itoa(n), market.AddChat(chats.Chat{})))
				}
				market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
					if op == down {
						return chatstest.Status(500, "")
					}
					return chatstest.OK()
				})
				stepUntilIdle(t, 20*time.Minute, func() *outbox.Outbox { return o })
				assert.Less(t, market.Calls(chats.OpSendMessageToChat), 20*12+2*size)
				assert.Less(t, market.Calls(chats.OpGetChatHistory), 2500)
				market.FailFunc(nil)
				stepUntilIdle(t, 2*time.Minute, func() *outbox.Outbox { return o })
				for n := range size {
					assert.Equal(t, outbox.Sent, get(t, o, strconv.Itoa(n)).State)
				}
			})
		})
	}
}

// A step that could not read the backlog forgets neither which chats have failed nor whose turn it is.
func TestStep_RemembersChatsAfterAFailedReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const size = 100
		market, unreadable := chatstest.NewMarket(), errors.New("down")
		o := newOutbox(t, connect(t, market), &hooked{Store: outbox.NewMemoryStore(), backlog: func() error { return unreadable }})
		for n := range size {
			put(t, o, text(strconv.Itoa(n), market.AddChat(chats.Chat{})))
		}
		market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
			if op == chats.OpSendMessageToChat {
				return chatstest.Refused()
			}
			return chatstest.OK()
		})
		for began := time.Now(); time.Since(began) < 20*time.Minute; {
			for _, unreadable = range []error{nil, errors.New("down")} {
				next, err := o.Step(t.Context())
				require.ErrorIs(t, err, unreadable)
				sleep(time.Until(next))
			}
		}
		assert.Less(t, market.Calls(chats.OpGetChatHistory), 6*(20*12+size))
	})
}

// Nor do those of a new outbox every few minutes, as in a fleet, where several processes make the steps.
func TestStep_AnOutageLeavesTheQuotaToNewOutboxes(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	for name, fault := range map[string]chatstest.Fault{"500": chatstest.Status(500, ""), "no connection": chatstest.Refused()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const size = 200
				market, store := chatstest.NewMarket(), outbox.NewMemoryStore()
				var o *outbox.Outbox
				var created time.Time
				next := func() *outbox.Outbox {
					if time.Since(created) > 5*time.Minute {
						o, created = newOutbox(t, connect(t, market), store), time.Now()
					}
					return o
				}
				for n := range size {
					put(t, next(), text(strconv.Itoa(n), market.AddChat(chats.Chat{})))
				}
				market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
					if op == chats.OpSendMessageToChat {
						return fault
					}
					return chatstest.OK()
				})
				stepUntilIdle(t, time.Hour, next)
				assert.Less(t, market.Calls(chats.OpGetChatHistory), 7500, "of 10,000")
				market.FailFunc(nil)
				created = time.Time{}
				stepUntilIdle(t, 2*time.Minute, next)
				for n := range size {
					assert.Equal(t, outbox.Sent, get(t, o, strconv.Itoa(n)).State)
				}
			})
		})
	}
}

// A step ends after 60 s even if the backlog is not read again until later.
func TestStep_EndsWhileTheBacklogIsReadRarely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		released := make(chan struct{})
		store := &hooked{Store: outbox.NewMemoryStore(), backlog: func() error { sleep(4 * time.Second); return nil }}
		o := newOutbox(t, connect(t, market), store, outbox.WithSettled(func(context.Context, outbox.Result) error {
			<-released
			return nil
		}))
		put(t, o, text("a", market.AddChat(chats.Chat{})))
		began := time.Now()
		_, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Since(began), 70*time.Second)
		close(released)
	})
}
