package inbox_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/urgent"
)

// stepper is a job queue with one business: it makes the steps that are due, each with a
// new Inbox, as if each ran on another machine.
func stepper(t *testing.T, client *chats.Client, store inbox.Store, d time.Duration, handle handler) (steps int) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); steps++ {
		next, err := newInbox(t, client, store).Step(t.Context(), handle)
		require.NoError(t, err)
		assert.False(t, next.IsZero())
		sleep(min(time.Until(next), time.Until(end)))
	}
	return steps
}

func TestStep_DoesWhatIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(60, chats.StatusNew)
		store, seen := inbox.NewMemoryStore(), &recorder{}
		client := connect(t, market)
		steps := stepper(t, client, store, 10*time.Minute, seen.handle)
		assert.Less(t, steps, 60, "two kinds of sweeps a minute, and no step for nothing")
		for i, text := range numbers(20) {
			market.CustomerSays(ids[i*2], text)
			stepper(t, client, store, 90*time.Second, seen.handle)
		}
		assert.Equal(t, numbers(20), seen.texts())
		market.CustomerSays(ids[0], "pushed")
		wake(t, newInbox(t, client, store), ids[0])
		_, err := newInbox(t, client, store).Step(t.Context(), seen.handle)
		require.NoError(t, err)
		assert.Equal(t, append(numbers(20), "pushed"), seen.texts())
	})
}

// The first sweep of a Run comes early, to spread inboxes that start together. The steps
// of a business do not start over each time.
func TestStep_SweepsOncePerInterval(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := bigShop(10, chats.StatusNew)
		steps := stepper(t, connect(t, market), inbox.NewMemoryStore(), 10*time.Minute+time.Second, (&recorder{}).handle)
		assert.InDelta(t, 12, market.Calls(chats.OpGetChats), 1, "one of the unfinished chats, then one a minute of all")
		assert.LessOrEqual(t, steps, 14)
	})
}

// A step leaves nothing behind: a backlog is worked off by one step after the other, and
// a sweep goes on where the last step stood.
func TestStep_IsBoundedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(100, chats.StatusNew, chatstest.WithLatency(2*time.Second))
		store, seen := inbox.NewMemoryStore(), &recorder{}
		client := connect(t, market)
		stepper(t, client, store, 5*time.Minute, seen.handle)
		for _, id := range ids[:50] {
			market.CustomerSays(id, "1")
			market.CustomerSays(id, "2")
		}
		for range 40 {
			began := time.Now()
			next, err := newInbox(t, client, store, inbox.WithWorkers(2)).Step(t.Context(), func(ctx context.Context, d inbox.Delivery) error {
				sleep(3 * time.Second)
				return seen.handle(ctx, d)
			})
			require.NoError(t, err)
			assert.LessOrEqual(t, time.Since(began), 26*time.Second)
			sleep(time.Until(next))
		}
		assert.Len(t, seen.all(), 100)
	})
}

// Market gives up on a page of the incremental sweep after 10 s, again and again, so that its retries take
// longer than a step. The failure counts nevertheless, and the other sweeps go on.
func TestStep_APageThatTakesLongerThanAStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(300, chats.StatusNew)
		client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
			if !asksFor(req, "/chats", 0) || req.URL.Query().Get("pageToken") == "" || !hasStatuses(t, req) {
				return nil
			}
			sleep(10500 * time.Millisecond)
			return respond(req, 504, "<html>timeout</html>")
		}))
		seen, log := &recorder{}, &logBuffer{}
		market.FinishChat(ids[299])
		run := startSteps(t, newInbox(t, client, inbox.NewMemoryStore(), log.option()), seen.handle)
		sleep(10 * time.Minute)
		market.AddMessage(ids[299], chats.SenderMarket, "in a finished chat")
		sleep(10 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"in a finished chat"}, seen.texts())
		assert.NotEmpty(t, log.lines("sweep cut short"))
	})
}

// limitedSteps makes the steps that are due, each limited to 36 s, as in a job queue.
func limitedSteps(t *testing.T, in *inbox.Inbox, d time.Duration, handle handler) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		ctx, cancel := context.WithTimeout(t.Context(), 36*time.Second)
		next, err := in.Step(ctx, handle)
		cancel()
		require.NoError(t, err)
		sleep(time.Until(next))
	}
}

// Market gives up on the histories of as many chats as there are workers, and the caller of Step limits its
// time. The other chats are polled nevertheless.
func TestStep_HistoriesThatTakeLongerThanAStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(10, chats.StatusNew)
		client := connectVia(t, market, intercepted(market, func(req *http.Request) *http.Response {
			if !asksFor(req, "/history", 0) || asksFor(req, "/history", ids[9]) {
				return nil
			}
			sleep(10500 * time.Millisecond)
			return respond(req, 504, "<html>timeout</html>")
		}))
		seen := &recorder{}
		in := newInbox(t, client, inbox.NewMemoryStore(), inbox.WithWorkers(4))
		limitedSteps(t, in, time.Minute, seen.handle)
		for _, id := range ids[:9] {
			market.CustomerSays(id, "unreadable")
		}
		sleep(2 * time.Second)
		market.CustomerSays(ids[9], "hello")
		limitedSteps(t, in, 10*time.Minute, seen.handle)
		assert.Equal(t, []string{"hello"}, seen.texts())
	})
}

// A history of 25 slow pages takes longer than a step that its caller limits. As it is read further in each
// step, this is no failure.
func TestStep_AHistoryThatTakesLongerThanAStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(2 * time.Second))
		id := market.AddChat(chats.Chat{})
		for range 2_500 {
			market.AddMessage(id, chats.SenderMarket, "automatic")
			sleep(time.Second)
		}
		market.CustomerSays(id, "hello")
		seen, log := &recorder{}, &logBuffer{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(),
			inbox.WithStartTime(time.Time{}), inbox.WithSenders(chats.SenderCustomer), log.option())
		limitedSteps(t, in, 5*time.Minute, seen.handle)
		assert.Equal(t, []string{"hello"}, seen.texts())
		assert.Empty(t, log.lines("reading a chat failed"))
	})
}

func TestStep_Errors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
		in := newInbox(t, connect(t, market), store)
		step := func() (time.Duration, error) {
			next, err := in.Step(t.Context(), seen.handle)
			return time.Until(next), err
		}
		_, err := step()
		require.NoError(t, err)

		lease, err := store.Acquire(t.Context(), market.Business(), inbox.Purpose, "another one")
		require.NoError(t, err)
		next, err := step()
		require.ErrorIs(t, err, inbox.ErrLeaseHeld)
		require.ErrorContains(t, err, "another one")
		assert.Equal(t, lease.Duration, next)
		require.NoError(t, store.Release(t.Context(), lease))

		for _, call := range []string{"Acquire", "Business"} {
			store.fails(call)
			next, err = step()
			require.ErrorIs(t, err, errAway)
			assert.Positive(t, next)
		}
		store.fails()
		sleep(2 * time.Minute)
		for _, refused := range []chats.Operation{chats.OpGetChats, chats.OpGetChatHistory} { // the second is for the push: no list is due
			market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
				if op != refused {
					return chatstest.OK()
				}
				return chatstest.Status(401, `{"status":"ERROR"}`)
			})
			wake(t, in, id)
			next, err = step()
			require.ErrorIs(t, err, chats.ErrUnauthorized, refused)
			assert.Positive(t, next)
			market.FailFunc(nil)
			sleep(2 * time.Minute)
			_, err = step()
			require.NoError(t, err)
		}

		store.fails("Renew", "Save")
		market.CustomerSays(id, "message")
		wake(t, in, id)
		_, err = step()
		require.ErrorIs(t, err, inbox.ErrLeaseLost)
		store.fails()
		sleep(10 * time.Second)
		_, err = step()
		require.NoError(t, err)
		assert.Equal(t, []string{"message", "message"}, seen.texts())
		_, err = in.Step(t.Context(), nil)
		require.ErrorIs(t, err, chats.ErrInvalidArgument)
	})
}

// What fails is stored with its time, and costs no step before.
func TestStep_FailuresAreStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store := inbox.NewMemoryStore()
		client := connect(t, market)
		stepper(t, client, store, time.Minute, (&recorder{}).handle)
		market.CustomerSays(id, "message")
		var attempts []int
		stepper(t, client, store, 5*time.Minute, func(_ context.Context, d inbox.Delivery) error {
			attempts = append(attempts, d.Attempt)
			return errors.New("no")
		})
		assert.Equal(t, []int{1, 2, 3, 4, 5, 6, 7, 8, 9}, attempts)
	})
}

// The last thing that a step saves is not worth an error.
func TestStep_UsageThatCannotBeSavedIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(2, chats.StatusNew)
		store, log, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &logBuffer{}, &recorder{}
		in := newInbox(t, connect(t, market), store, log.option())
		_, err := in.Step(t.Context(), seen.handle)
		require.NoError(t, err)
		_, err = in.Step(t.Context(), seen.handle) // nothing is due
		require.NoError(t, err)
		wake(t, in, ids[0])
		store.set(nil, func(done string) error {
			if done == "Save" { // the chat's
				store.fails("Save")
			}
			return nil
		})
		_, err = in.Step(t.Context(), seen.handle)
		require.NoError(t, err)
		assert.Len(t, log.lines("releasing the lease failed"), 1)
		store.fails()
		market.CustomerSays(ids[0], "message")
		stepper(t, connect(t, market), store, 5*time.Minute, seen.handle)
		assert.Equal(t, []string{"message"}, seen.texts())
	})
}

func TestStatus_OfABusiness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(30, chats.StatusNew)
		store := &flakyStore{MemoryStore: inbox.NewMemoryStore()}
		in, elsewhere := newInbox(t, connect(t, market), store), newInbox(t, connect(t, market), store)
		status, err := in.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, inbox.RoleIdle, status.Role)
		assert.Zero(t, status.Chats)
		assert.Equal(t, 2500, status.Quota[chats.OpGetChats].Remaining)

		began := time.Now()
		run := start(t, in, func(_ context.Context, d inbox.Delivery) error {
			if d.Chat.ID == ids[3] {
				return errors.New("no such customer")
			}
			return nil
		})
		sleep(10 * time.Minute)
		failing := time.Now()
		market.CustomerSays(ids[3], "message")
		wake(t, in, ids[3])
		sleep(10 * time.Minute)
		for _, from := range []*inbox.Inbox{in, elsewhere} {
			status, err = from.Status(t.Context())
			require.NoError(t, err)
			assert.Equal(t, 30, status.Chats)
			assert.NotEmpty(t, status.Holder)
			assert.WithinDuration(t, began, status.Since, time.Second)
			require.Len(t, status.Failing, 1)
			assert.Equal(t, ids[3], status.Failing[0].Chat)
			assert.Equal(t, "no such customer", status.Failing[0].Failure)
			assert.WithinDuration(t, failing, status.Failing[0].FailingSince, time.Second)
			assert.Positive(t, status.Failing[0].Attempts)
			assert.WithinDuration(t, time.Now(), status.LastSweep, 2*time.Minute)
			assert.WithinDuration(t, time.Now(), status.LastFullSweep, 2*time.Minute)
			assert.WithinDuration(t, time.Now(), status.NextSweep, time.Minute)
			assert.Less(t, status.Quota[chats.OpGetChats].Remaining, 2500)
			assert.Greater(t, status.Quota[chats.OpGetChats].Remaining, 2300)
			assert.Empty(t, status.LastError)
		}
		assert.Equal(t, inbox.RoleIdle, status.Role)
		status, err = in.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, inbox.RoleLeader, status.Role)
		require.NoError(t, run.stop())
		assert.NoError(t, store.Wake(t.Context(), market.Business(), ids[5], time.Now()))
		status, err = in.Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 1, status.Due)
		assert.WithinDuration(t, time.Now(), status.OldestDue, time.Second)
		assert.Empty(t, status.Holder)
		all := inbox.WithFilter(chats.Filter{Statuses: []chats.Status{chats.StatusNew}})
		status, err = newInbox(t, connect(t, market), store, all).Status(t.Context())
		require.NoError(t, err)
		assert.Equal(t, status.LastFullSweep, status.LastSweep, "there are no others")
		for _, call := range []string{"Business", "Summary"} {
			store.fails(call)
			_, err = in.Status(t.Context())
			require.ErrorIs(t, err, errAway)
		}
	})
}

// While the quota is used up, the next page is listed in the next window.
func TestStatus_NextSweepWithoutQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := bigShop(1_000, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChats, 40))
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
		run := start(t, in, (&recorder{}).handle)
		usedUp := 0
		for range 6 * 60 {
			sleep(time.Minute)
			status, err := in.Status(t.Context())
			require.NoError(t, err)
			if quota := status.Quota[chats.OpGetChats]; quota.Remaining == 0 {
				usedUp++
				assert.False(t, status.NextSweep.Before(time.Now().Truncate(time.Hour).Add(time.Hour)))
			}
		}
		assert.Positive(t, usedUp)
		require.NoError(t, run.stop())
	})
}

func TestNew_Arguments(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	client, store := market.Client(), inbox.NewMemoryStore()
	of := func(options ...inbox.Option) func() error {
		return func() error { _, err := inbox.New(client, store, options...); return err }
	}
	dead := func(context.Context, inbox.Delivery, error) error { return nil }
	for field, refused := range map[string]func() error{
		"client":          func() error { _, err := inbox.New(nil, store); return err },
		"store":           func() error { _, err := inbox.New(client, nil); return err },
		"store ":          func() error { _, err := inbox.New(client, (*inbox.MemoryStore)(nil)); return err },
		"option":          of(nil),
		"interval":        of(inbox.WithPollInterval(0)),
		"workers":         of(inbox.WithWorkers(0)),
		"senders":         of(inbox.WithSenders()),
		"senders ":        of(inbox.WithSenders("")),
		"reserve":         of(inbox.WithQuotaReserve(1)),
		"reserve ":        of(inbox.WithQuotaReserve(-0.1)),
		"logger":          of(inbox.WithLogger(nil)),
		"logger ":         of(inbox.WithLogger(new(slog.Logger))),
		"lookback":        of(inbox.WithLookback(-1)),
		"lookback ":       of(inbox.WithLookback(1001)),
		"handler timeout": of(inbox.WithHandlerTimeout(0)),
		"attempts":        of(inbox.WithMaxAttempts(0, dead)),
		"dead":            of(inbox.WithMaxAttempts(1, nil)),
		"filter":          of(inbox.WithFilter(chats.Filter{PageSize: 21})),
		"handle":          func() error { return newInbox(t, client, store).Run(t.Context(), nil) },
		"chat":            func() error { return newInbox(t, client, store).Wake(t.Context(), 0) },
		"chat ":           func() error { return newInbox(t, client, store).Wake(t.Context(), -1) },
	} {
		err := refused()
		require.ErrorIs(t, err, chats.ErrInvalidArgument, field)
		var argument *chats.ArgumentError
		require.ErrorAs(t, err, &argument)
		assert.Contains(t, argument.Error(), "inbox: ")
	}
	require.NoError(t, of(inbox.WithFilter(chats.Filter{PageSize: chats.MaxChatsPage}), inbox.WithLookback(0), inbox.WithQuotaReserve(0))())
	require.NoError(t, newInbox(t, client, store).Wake(t.Context(), 1))
}

// A history whose pages take longer than a step, listed newest first: no step ever
// delivers anything.
func TestStep_DeliversHoweverLongTheReadingTakes(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]chatstest.Order{
		"oldest first": chatstest.OldestFirst, "newest first": chatstest.NewestFirst, "newest page first": chatstest.NewestPageFirst,
	} {
		bubble(t, name, func(t *testing.T) {
			t.Helper()
			market := chatstest.NewMarket(chatstest.WithOrder(order), chatstest.WithLatency(3*time.Second))
			id, begin := market.AddChat(chats.Chat{}), time.Now()
			for _, n := range numbers(900) {
				market.CustomerSays(id, n)
				sleep(time.Second)
			}
			seen := &recorder{}
			in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), inbox.WithStartTime(begin.Add(-time.Hour)))
			for began := time.Now(); time.Since(began) < 2*time.Hour; {
				next, err := in.Step(t.Context(), seen.handle)
				require.NoError(t, err)
				sleep(max(time.Until(next), time.Millisecond))
			}
			assert.Len(t, seen.all(), 900)
			assert.Less(t, market.Calls(chats.OpGetChatHistory), 200)
		})
	}
}

// A message that was handled is saved before the next one is delivered, and before a request
// that the next one needs.
func TestStep_SavesEachMessageBeforeTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const latency = 3 * time.Second
		market := chatstest.NewMarket(chatstest.WithLatency(latency))
		id, begin := market.AddChat(chats.Chat{}), time.Now()
		for _, n := range numbers(250) {
			market.CustomerSays(id, n)
			sleep(5 * time.Second)
		}
		store := &flakyStore{MemoryStore: inbox.NewMemoryStore()}
		in := newInbox(t, connect(t, market), store, inbox.WithStartTime(begin.Add(-time.Hour)))
		var previous chats.MessageID
		var handled atomic.Int64
		_, err := in.Step(t.Context(), func(_ context.Context, d inbox.Delivery) error {
			rows, err := store.Chats(context.Background(), d.Business, []chats.ChatID{id})
			assert.NoError(t, err)
			_, isSaved := slices.BinarySearch(rows[0].Handled, previous)
			assert.True(t, isSaved || previous == rows[0].Checkpoint, "message %d", previous)
			previous = d.Message.ID
			n := handled.Add(1)
			time.AfterFunc(latency/3, func() { // before the page that is being fetched arrives
				if rows, _ := store.Chats(context.Background(), d.Business, []chats.ChatID{id}); handled.Load() == n && n == 100 {
					assert.Contains(t, rows[0].Handled, d.Message.ID)
				}
			})
			return nil
		})
		require.NoError(t, err)
		sleep(latency)
		assert.EqualValues(t, 250, handled.Load())
	})
}

// Steps sweep once per interval, and log an unknown sender once.
func TestStep_LogsAnUnknownSenderOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		log := &logBuffer{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithSenders(chats.SenderCustomer), log.option())
		for began := time.Now(); time.Since(began) < time.Hour; {
			next, err := in.Step(t.Context(), (&recorder{}).handle)
			require.NoError(t, err)
			sleep(time.Until(next))
			if len(market.Messages(id)) < 6 {
				market.AddMessage(id, "ROBOT", "beep")
			}
		}
		assert.LessOrEqual(t, market.Calls(chats.OpGetChats), 130, "two sweeps a minute")
		assert.Len(t, log.lines("unknown sender"), 1)
	})
}

// The store cannot say what is due when a step ends.
func TestStep_NextIsSoonIfItIsNotKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store := &flakyStore{MemoryStore: inbox.NewMemoryStore()}
		in := newInbox(t, connect(t, market), store, never)
		_, err := in.Step(t.Context(), (&recorder{}).handle)
		require.NoError(t, err)
		market.CustomerSays(id, "message")
		wake(t, in, id)
		store.fails("Renew")
		next, err := in.Step(t.Context(), func(context.Context, inbox.Delivery) error { return errAway })
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Until(next), time.Second)
	})
}

// What an idle shop costs for each interval, however often it is looked at.
func TestStep_OfAnIdleShopCostsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := bigShop(50, chats.StatusNew)
		store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
		client := connect(t, market)
		stepper(t, client, store, 5*time.Minute, seen.handle)
		var calls []string
		store.set(nil, func(done string) error {
			calls = append(calls, done)
			return nil
		})
		lists := market.Calls(chats.OpGetChats)
		next, err := newInbox(t, client, store).Step(t.Context(), seen.handle)
		require.NoError(t, err)
		assert.Equal(t, []string{"Acquire", "Business", "Save", "Release"}, calls)
		assert.Equal(t, 3, market.Calls(chats.OpGetChats)-lists, "20 chats each")
		assert.InDelta(t, time.Minute, time.Until(next), float64(time.Second))

		calls = nil
		_, err = newInbox(t, client, store).Step(t.Context(), seen.handle)
		require.NoError(t, err)
		assert.Equal(t, []string{"Acquire", "Business", "Release"}, calls, "nothing is due")
	})
}

// What a push costs: a save of the chat, and one of the usage.
func TestStep_OfAPushCostsLittle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(50, chats.StatusNew, chatstest.WithLatency(time.Millisecond))
		store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
		client := connect(t, market)
		stepper(t, client, store, 330*time.Second, seen.handle)
		market.CustomerSays(ids[0], "message")
		wake(t, newInbox(t, client, store), ids[0])
		before := usage(t, store, market)
		var calls []string
		store.set(nil, func(done string) error {
			calls = append(calls, done)
			return nil
		})
		_, err := newInbox(t, client, store).Step(t.Context(), seen.handle)
		require.NoError(t, err)
		assert.Equal(t, []string{"message"}, seen.texts())
		assert.Equal(t, []string{"Acquire", "Business", "Due", "Save", "Save", "Renew", "Release"}, calls)
		store.set(nil, nil)
		assert.Equal(t, before+1, usage(t, store, market))
	})
}

// stepping is a StepStore: it counts a step's begin and end as one call each.
type stepping struct{ *flakyStore }

func (s stepping) AcquireBusiness(
	ctx context.Context, id chats.BusinessID, purpose, holder string,
) (lease inbox.Lease, state inbox.BusinessState, err error) {
	err = s.do("AcquireBusiness", func() (err error) {
		if lease, err = s.MemoryStore.Acquire(ctx, id, purpose, holder); err == nil {
			state, err = s.MemoryStore.Business(ctx, id)
		}
		return err
	})
	return lease, state, err
}

func (s stepping) ReleaseBusiness(ctx context.Context, lease inbox.Lease, state *inbox.BusinessState) (next time.Time, err error) {
	err = s.do("ReleaseBusiness", func() (err error) {
		if state != nil {
			err = s.MemoryStore.Save(ctx, lease, state, nil)
		}
		if err == nil {
			next, err = s.MemoryStore.Renew(ctx, lease)
		}
		if err == nil {
			err = s.MemoryStore.Release(ctx, lease)
		}
		return err
	})
	return next, err
}

// What cannot wait for the next sweep: a chat that fails, one that a push has named and that was
// not polled or showed nothing, and what a step had no time for.
func TestStep_NotesWhatIsUrgent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(50, chats.StatusNew)
		store, seen := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &recorder{}
		client := connect(t, market)
		stepper(t, client, store, 330*time.Second, seen.handle)
		step := func(handle handler) time.Time {
			var soon urgent.Time
			_, err := newInbox(t, client, store, inbox.WithWorkers(2)).Step(urgent.WithTime(t.Context(), &soon), handle)
			require.NoError(t, err)
			return soon.Get()
		}
		say := func(id chats.ChatID) {
			market.CustomerSays(id, "message")
			wake(t, newInbox(t, client, store), id)
		}
		say(ids[0])
		assert.Zero(t, step(seen.handle), "the recheck can wait")

		say(ids[0])
		failing := func(context.Context, inbox.Delivery) error { return errAway }
		assert.WithinDuration(t, time.Now().Add(time.Second), step(failing), time.Second/2)
		sleep(time.Second)
		assert.WithinDuration(t, time.Now().Add(2*time.Second), step(failing), time.Second/2)
		sleep(3 * time.Second)
		assert.Zero(t, step(seen.handle))

		for _, id := range ids[:4] {
			say(id)
		}
		slow := func(context.Context, inbox.Delivery) error { sleep(21 * time.Second); return nil }
		assert.WithinDuration(t, time.Now(), step(slow), time.Minute, "two of them, and not the other two")
		assert.Zero(t, step(seen.handle))

		sleep(3 * time.Second)
		assert.Zero(t, step(seen.handle), "rechecks")
		wake(t, newInbox(t, client, store), ids[5]) // before the history shows its message
		pushed := time.Now()
		for _, after := range []time.Duration{time.Second, 5 * time.Second, 30 * time.Second} {
			assert.WithinDuration(t, pushed.Add(after), step(seen.handle), time.Second/2)
			sleep(time.Until(pushed.Add(after)))
		}
		market.CustomerSays(ids[5], "message")
		assert.Zero(t, step(seen.handle))

		say(ids[0])
		store.fails("Renew") // it is not known what is due
		assert.NotZero(t, step(seen.handle))
	})
}

// What a step costs with a store that begins and ends it in one statement each.
func TestStep_OfAStepStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(50, chats.StatusNew, chatstest.WithLatency(time.Millisecond))
		store, seen := stepping{&flakyStore{MemoryStore: inbox.NewMemoryStore()}}, &recorder{}
		client := connect(t, market)
		stepper(t, client, store, 330*time.Second, seen.handle)
		var calls []string
		step := func() (next time.Time) {
			calls = nil
			next, err := newInbox(t, client, store).Step(t.Context(), seen.handle)
			require.NoError(t, err)
			return next
		}
		store.set(nil, func(done string) error {
			calls = append(calls, done)
			return nil
		})
		idle := step()
		assert.Equal(t, []string{"AcquireBusiness", "ReleaseBusiness"}, calls)

		market.CustomerSays(ids[0], "message")
		wake(t, newInbox(t, client, store), ids[0])
		assert.WithinDuration(t, time.Now().Add(2*time.Second), step(), time.Second, "the first recheck")
		assert.Equal(t, []string{"message"}, seen.texts())
		assert.Equal(t, []string{"AcquireBusiness", "Due", "Save", "ReleaseBusiness"}, calls)

		sleep(time.Until(idle))
		assert.WithinDuration(t, time.Now().Add(time.Minute), step(), 11*time.Second)
		assert.ElementsMatch(t, []string{"AcquireBusiness", "Due", "Save", "Chats", "Save", "ReleaseBusiness"}, calls,
			"the recheck, and at the same time a sweep that lists the chat with another time")

		sleep(time.Minute)
		store.fails("ReleaseBusiness") // what was listed is not saved, and the lease expires
		lists := market.Calls(chats.OpGetChats)
		assert.WithinDuration(t, time.Now().Add(time.Minute), step(), time.Second)
		store.fails()
		sleep(time.Minute)
		step()
		assert.Equal(t, 6, market.Calls(chats.OpGetChats)-lists, "20 chats each")
		market.CustomerSays(ids[1], "another")
		stepper(t, client, store, 90*time.Second, seen.handle)
		assert.Equal(t, []string{"message", "another"}, seen.texts())
	})
}

// A push that another process receives during a step that had nothing to do is due next.
func TestStep_APushDuringAnIdleStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store := stepping{&flakyStore{MemoryStore: inbox.NewMemoryStore()}}
		client := connect(t, market)
		stepper(t, client, store, time.Hour, (&recorder{}).handle)
		store.set(nil, func(done string) error {
			if done != "AcquireBusiness" {
				return nil
			}
			return store.Wake(t.Context(), market.Business(), id, time.Now())
		})
		next, err := newInbox(t, client, store).Step(t.Context(), (&recorder{}).handle)
		require.NoError(t, err)
		assert.LessOrEqual(t, time.Until(next), time.Duration(0))
	})
}

// A business's row that cannot be saved at the end is no reason to keep the lease.
func TestStep_ALeaseIsReleasedWithoutTheRow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, ids := bigShop(50, chats.StatusNew)
		store, seen := stepping{&flakyStore{MemoryStore: inbox.NewMemoryStore()}}, &recorder{}
		client := connect(t, market)
		stepper(t, client, store, 330*time.Second, seen.handle)
		wake(t, newInbox(t, client, store), ids[0])
		var failed bool
		store.set(func(call string) error {
			if call == "ReleaseBusiness" && !failed {
				failed = true
				return inbox.ErrConflict
			}
			return nil
		}, nil)
		for range 2 {
			_, err := newInbox(t, client, store).Step(t.Context(), seen.handle)
			require.NoError(t, err)
		}
		assert.True(t, failed)
	})
}

// usage returns the stored number of requests for histories.
func usage(t *testing.T, store inbox.Store, market *chatstest.Market) int {
	t.Helper()
	state, err := store.Business(t.Context(), market.Business())
	require.NoError(t, err)
	return state.Usage[chats.OpGetChatHistory].Requests
}

// The last step was made on a machine whose clock was ahead, and nothing is polled meanwhile.
func TestStep_AClockThatWasAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store, seen := inbox.NewMemoryStore(), &recorder{}
		client := connect(t, market)
		stepper(t, client, store, 10*time.Minute, seen.handle)
		lease, err := store.Acquire(t.Context(), market.Business(), inbox.Purpose, "ahead")
		require.NoError(t, err)
		state, err := store.Business(t.Context(), market.Business())
		require.NoError(t, err)
		for _, sweep := range []*inbox.SweepState{&state.Incremental, &state.Full} {
			sweep.FinishedAt, sweep.NextAt = sweep.FinishedAt.Add(10*time.Hour), sweep.NextAt.Add(10*time.Hour)
		}
		require.NoError(t, store.Save(t.Context(), lease, &state, nil))
		require.NoError(t, store.Release(t.Context(), lease))
		market.CustomerSays(id, "hello")
		stepper(t, client, store, 3*time.Minute, seen.handle)
		assert.Equal(t, []string{"hello"}, seen.texts())
	})
}

// The step ends while the rows of a page are loaded, which says nothing about the list.
func TestStep_EndedWhileItLoadsIsNoFailure(t *testing.T) {
	t.Parallel()
	for _, load := range []string{"Chats", "Due"} {
		bubble(t, load, func(t *testing.T) {
			t.Helper()
			market, _ := shop()
			store, log := &flakyStore{MemoryStore: inbox.NewMemoryStore()}, &logBuffer{}
			in := newInbox(t, connect(t, market), store, log.option())
			ctx, cancel := context.WithCancel(t.Context())
			store.set(func(call string) error {
				if call != load {
					return nil
				}
				cancel()
				return ctx.Err()
			}, nil)
			_, _ = in.Step(ctx, (&recorder{}).handle)
			require.Error(t, ctx.Err(), "it has begun to load")
			assert.Empty(t, log.lines("failed"))
			state, err := store.MemoryStore.Business(t.Context(), market.Business())
			require.NoError(t, err)
			assert.Zero(t, state.Full.Failures+state.Incremental.Failures)
		})
	}
}

// Two machines make the steps of a sweep in turn: neither has listed all chats, and no chat
// has left the list.
func TestStep_MachinesTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := bigShop(100, chats.StatusNew, chatstest.WithHourlyLimit(chats.OpGetChats, 250))
		client, store := connect(t, market), inbox.NewMemoryStore()
		machines := []*inbox.Inbox{newInbox(t, client, store), newInbox(t, client, store)}
		for n, end := 0, time.Now().Add(time.Hour); time.Now().Before(end); n++ {
			next, err := machines[n%2].Step(t.Context(), (&recorder{}).handle)
			require.NoError(t, err)
			sleep(time.Until(next))
		}
		assert.Zero(t, market.Calls(chats.OpGetChatHistory))
	})
}
