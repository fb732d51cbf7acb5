package inbox_test

import (
	"context"
	"errors"
	"runtime"
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

// uncomparable is an error that must not be compared.
type uncomparable struct{ _ []string }

func (uncomparable) Error() string { return "uncomparable" }

// loop is an error that wraps itself.
type loop struct{}

func (l *loop) Error() string { return "a loop" }
func (l *loop) Unwrap() error { return l }

// explosive is an error whose methods panic.
type explosive struct{}

func (*explosive) Error() string   { panic("Error") }
func (*explosive) Is(error) bool   { panic("Is") }
func (*explosive) As(any) bool     { panic("As") }
func (*explosive) Unwrap() []error { panic("Unwrap") }

// Whatever a handler does instead of returning nil, its message comes again and all others
// go on.
func TestHandler_EveryFailureIsAnErrorLikeAnyOther(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail func() error
		log  string
	}{
		"an error":               {func() error { return errors.New("no") }, "no"},
		"a panic":                {func() error { panic("broken") }, "panic: broken"},
		"a panic with its stack": {func() error { panic("broken") }, "handler_test.go"},
		"a panic with nil":       {func() error { panic(nil) }, "panic"},
		"the end of a goroutine": {func() error { runtime.Goexit(); return nil }, "ended its goroutine"},
		"a typed nil":            {func() error { var e *chats.Error; return e }, "*chats.Error"},
		"an error that panics":   {func() error { return &explosive{} }, "*inbox_test.explosive"},
		"an uncomparable error":  {func() error { return uncomparable{} }, "uncomparable"},
		"an endless error":       {func() error { return &loop{} }, "a loop"},
		"our own errors":         {func() error { return errors.Join(inbox.ErrLeaseLost, inbox.ErrConflict, context.Canceled) }, "lease"},
		"the server's":           {func() error { return chats.ErrUnauthorized }, "unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market, bad := shop()
				good := market.AddChat(longAgo())
				log, seen, store := &logBuffer{}, &recorder{}, inbox.NewMemoryStore()
				in := newInbox(t, connect(t, market), store, log.option(), inbox.WithWorkers(1))
				var failures atomic.Int32
				run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
					if d.Message.Text == "secret bad" && failures.Add(1) <= 3 {
						return c.fail()
					}
					return seen.handle(ctx, d)
				})
				sleep(time.Minute)
				market.CustomerSays(bad, "secret bad")
				market.CustomerSays(bad, "after")
				wake(t, in, bad)
				sleep(2 * time.Second)
				failing := row(t, store, market, bad)
				assert.Equal(t, 2, failing.Attempts)
				assert.WithinDuration(t, time.Now(), failing.FailingSince, 3*time.Second)
				assert.Contains(t, failing.Failure, c.log[:2])
				market.CustomerSays(good, "meanwhile")
				wake(t, in, good)
				sleep(time.Minute)
				require.NoError(t, run.stop())
				assert.Equal(t, []string{"meanwhile", "secret bad", "after"}, seen.texts())
				assert.Equal(t, 4, seen.all()[1].Attempt)
				assert.Equal(t, 1, seen.all()[2].Attempt)
				assert.Contains(t, log.text(), c.log)
				assert.Contains(t, log.text(), "business=1234567")
				assert.NotContains(t, log.text(), "secret")
				assert.Len(t, log.lines("handled after failures"), 1)
				assert.Empty(t, row(t, store, market, bad).Failure)
			})
		})
	}
}

func TestHandler_RetriesOfOneMessageAreSpacedOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, bad := shop()
		good := market.AddChat(longAgo())
		store, seen := inbox.NewMemoryStore(), &recorder{}
		in := newInbox(t, connect(t, market), store)
		var tries []time.Time
		handle := func(ctx context.Context, d inbox.Delivery) error {
			if d.Message.Text != "bad" {
				return seen.handle(ctx, d)
			}
			tries = append(tries, time.Now())
			assert.Equal(t, len(tries), d.Attempt)
			wake(t, in, bad) // nor does one that comes while the handler is at work
			return errors.New("no")
		}
		run := start(t, in, handle)
		sleep(time.Minute)
		market.CustomerSays(bad, "before")
		market.CustomerSays(bad, "bad")
		market.CustomerSays(bad, "after")
		wake(t, in, bad)
		for i := range 20 * 60 {
			if i%10 == 0 {
				wake(t, in, bad) // a push that comes again does not hasten it
			}
			if i%60 == 0 {
				market.CustomerSays(good, strconv.Itoa(i))
				wake(t, in, good)
			}
			sleep(time.Second)
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

		run = start(t, newInbox(t, connect(t, market), store), handle)
		sleep(6 * time.Minute)
		assert.Len(t, tries, 13, "a restart goes on with the attempts and their times")
		require.NoError(t, run.stop())
	})
}

// A message that was handled ends the row of failures: the next one's first delay is a
// second again.
func TestHandler_EveryMessageFailsForItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		tries := map[string][]time.Time{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
		run := start(t, in, func(_ context.Context, d inbox.Delivery) error {
			tries[d.Message.Text] = append(tries[d.Message.Text], time.Now())
			assert.Equal(t, len(tries[d.Message.Text]), d.Attempt)
			if len(tries[d.Message.Text]) <= 4 {
				return errors.New("not yet")
			}
			return nil
		})
		sleep(time.Minute)
		market.CustomerSays(id, "1")
		market.CustomerSays(id, "2")
		wake(t, in, id)
		sleep(10 * time.Minute)
		require.NoError(t, run.stop())
		for text, at := range tries {
			require.Len(t, at, 5, text)
			for n := range 4 {
				assert.Equal(t, time.Second<<n, at[n+1].Sub(at[n]).Round(time.Second), "%s, delay %d", text, n)
			}
		}
	})
}

func TestWithMaxAttempts_GivesAMessageUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		broken := errors.New("cannot parse")
		log, seen, store := &logBuffer{}, &recorder{}, inbox.NewMemoryStore()
		type letter struct {
			d   inbox.Delivery
			err error
		}
		var dead []letter
		option := inbox.WithMaxAttempts(3, func(_ context.Context, d inbox.Delivery, err error) error {
			if dead = append(dead, letter{d, err}); len(dead) == 1 {
				return errors.New("the dead-letter table is away")
			}
			return nil
		})
		calls := 0
		run := start(t, newInbox(t, connect(t, market), store, option, log.option()), func(ctx context.Context, d inbox.Delivery) error {
			if d.Message.Text == "poison" {
				calls++
				return broken
			}
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		market.CustomerSays(id, "poison")
		market.CustomerSays(id, "after")
		sleep(5 * time.Minute)
		require.NoError(t, run.stop())
		require.Len(t, dead, 2)
		assert.Equal(t, 4, calls)
		assert.Equal(t, []int{3, 4}, []int{dead[0].d.Attempt, dead[1].d.Attempt})
		assert.Equal(t, broken, dead[0].err)
		assert.Equal(t, "poison", dead[0].d.Message.Text)
		assert.Equal(t, market.Business(), dead[0].d.Business)
		assert.Equal(t, []string{"after"}, seen.texts())
		assert.Len(t, log.lines("gave up on a message"), 1)
	})
}

func TestWithHandlerTimeout_AHandlerThatHangsHasFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		seen, log := &recorder{}, &logBuffer{}
		hang := make(chan struct{})
		var hanging atomic.Bool
		hanging.Store(true)
		store := inbox.NewMemoryStore()
		in := newInbox(t, connect(t, market), store, inbox.WithHandlerTimeout(10*time.Second), inbox.WithWorkers(1), log.option())
		var cancelled atomic.Int32
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			if hanging.Load() {
				context.AfterFunc(ctx, func() { cancelled.Add(1) })
				<-hang // whatever becomes of its context
				return nil
			}
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		market.CustomerSays(id, "message")
		wake(t, in, id)
		sleep(10*time.Second + time.Millisecond)
		assert.EqualValues(t, 1, cancelled.Load())
		assert.Equal(t, 1, row(t, store, market, id).Attempts)
		assert.Contains(t, row(t, store, market, id).Failure, "10s")
		hanging.Store(false)
		sleep(5 * time.Second)
		assert.Equal(t, []string{"message"}, seen.texts())

		hanging.Store(true)
		market.CustomerSays(id, "hangs as well")
		wake(t, in, id)
		sleep(time.Second)
		run.cancel()
		select {
		case err := <-run.done:
			require.NoError(t, err)
		case <-time.After(11 * time.Second):
			require.Fail(t, "Run waits for a handler that hangs")
		}
		hanging.Store(false)
		again := start(t, in, seen.handle) // the same Inbox, in the same process
		sleep(time.Minute)
		require.NoError(t, again.stop())
		assert.Equal(t, []string{"message", "hangs as well"}, seen.texts())
		close(hang)
	})
}

func TestHandler_OneThatTakesLongIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		log, hang := &logBuffer{}, make(chan struct{})
		defer close(hang)
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(), log.option(), seldom)
		run := start(t, in, func(context.Context, inbox.Delivery) error {
			<-hang
			return nil
		})
		sleep(time.Minute)
		market.CustomerSays(id, "message")
		wake(t, in, id)
		sleep(59 * time.Second)
		assert.Empty(t, log.lines("still running"))
		sleep(2 * time.Second)
		require.Len(t, log.lines("still running"), 1)
		assert.Contains(t, log.lines("still running")[0], "chat="+strconv.Itoa(int(id)))
		sleep(10 * time.Hour)
		assert.Less(t, len(log.lines("still running")), 12, "and not every minute")
		hang <- struct{}{}
		require.NoError(t, run.stop())
	})
}

// The CRM is down for an hour, 1,000 chats wait, and half of them have rechecks due.
func TestHandler_AnOutageCostsLittle(t *testing.T) {
	t.Parallel()
	refuses := func(context.Context) error { return errors.New("the CRM is down") }
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, c := range map[string]struct {
		fail    func(context.Context) error
		pushes  bool
		restart time.Duration // 0: none
	}{
		"refuses":                           {refuses, true, 0},
		"refuses, without pushes":           {refuses, false, 0},
		"hangs":                             {hangs, true, 0},
		"refuses, and the process restarts": {refuses, true, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { outage(t, c.fail, c.pushes, c.restart) })
		})
	}
}

func outage(t *testing.T, fail func(context.Context) error, pushes bool, restart time.Duration) {
	t.Helper()
	waiting := 1000
	if race.Enabled {
		waiting = 100
	}
	market, ids := bigShop(waiting, chats.StatusNew, chatstest.WithLatency(50*time.Millisecond))
	log, seen, store := &logBuffer{}, &recorder{}, inbox.NewMemoryStore()
	var down atomic.Bool
	var in *inbox.Inbox
	begin := func() *running {
		in = newInbox(t, connect(t, market), store, log.option(), seldom, inbox.WithHandlerTimeout(30*time.Second))
		return start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			if down.Load() {
				return fail(ctx)
			}
			return seen.handle(ctx, d)
		})
	}
	run := begin()
	sleep(5 * time.Minute)
	say := func(id chats.ChatID) {
		market.CustomerSays(id, "hello")
		if pushes {
			wake(t, in, id)
		}
	}
	for _, id := range ids[:waiting/2] {
		say(id)
	}
	sleep(15 * time.Minute)
	require.Len(t, seen.all(), waiting/2)

	down.Store(true)
	before := market.Calls(chats.OpGetChatHistory)
	for _, id := range ids {
		say(id)
	}
	for end := time.Now().Add(time.Hour); time.Now().Before(end); {
		if restart == 0 {
			sleep(time.Hour)
			break
		}
		sleep(restart)
		require.NoError(t, run.stop())
		run = begin()
	}
	requests := market.Calls(chats.OpGetChatHistory) - before
	assert.LessOrEqual(t, requests, 500)

	down.Store(false)
	healed := time.Now()
	for len(seen.all()) < waiting*3/2 && time.Since(healed) < 10*time.Minute {
		sleep(time.Second)
	}
	assert.Len(t, seen.all(), waiting*3/2)
	t.Logf("an hour's outage: %d histories; all delivered %v after it", requests, time.Since(healed).Round(time.Second))
	assert.Less(t, time.Since(healed), 5*time.Minute)
	if restart == 0 {
		assert.Len(t, log.lines("one at a time"), 1)
	}
	assert.Len(t, log.lines("handler works again"), 1)
	require.NoError(t, run.stop())
}

// Messages that can never be handled say nothing about the others.
func TestHandler_PoisonInSeveralChatsDelaysNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		ids := make([]chats.ChatID, 20)
		for i := range ids {
			ids[i] = market.AddChat(longAgo())
		}
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			if d.Message.Text == "poison" {
				return errors.New("no")
			}
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		for _, id := range ids[:5] {
			market.CustomerSays(id, "poison")
			wake(t, in, id)
		}
		sleep(10 * time.Minute)
		var slow int
		for i := range 40 {
			said, n := time.Now(), len(seen.all())
			market.CustomerSays(ids[5+i%15], "good")
			wake(t, in, ids[5+i%15])
			for len(seen.all()) == n {
				sleep(100 * time.Millisecond)
			}
			if time.Since(said) > 2*time.Second {
				slow++
			}
			assert.Less(t, time.Since(said), 65*time.Second)
			sleep(time.Minute)
		}
		assert.LessOrEqual(t, slow, 1)
		require.NoError(t, run.stop())
	})
}

func TestRun_OneChatInOrderAndSeveralAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(50 * time.Millisecond))
		ids := make([]chats.ChatID, 9)
		for i := range ids {
			ids[i] = market.AddChat(longAgo())
		}
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
		var mu sync.Mutex
		busy, most := 0, 0
		count := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			busy += n
			most = max(most, busy)
		}
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			count(1)
			defer count(-1)
			if d.Chat.ID != ids[8] {
				sleep(5 * time.Second)
			}
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		for round := range 3 {
			for _, id := range ids[:8] {
				market.CustomerSays(id, strconv.Itoa(round))
				wake(t, in, id)
			}
		}
		sleep(30 * time.Second)
		mu.Lock()
		assert.Equal(t, 8, most, "8 workers for 8 chats with messages")
		mu.Unlock()
		byChat := map[chats.ChatID][]string{}
		for _, d := range seen.all() {
			byChat[d.Chat.ID] = append(byChat[d.Chat.ID], d.Message.Text)
		}
		for _, id := range ids[:8] {
			assert.Equal(t, numbers(3), byChat[id])
		}
		for _, id := range ids[:7] {
			market.CustomerSays(id, "slow")
			wake(t, in, id)
		}
		sleep(time.Second)
		market.CustomerSays(ids[8], "quick")
		wake(t, in, ids[8])
		sleep(500 * time.Millisecond)
		assert.Equal(t, "quick", seen.texts()[len(seen.texts())-1], "seven slow handlers delay no other chat")
		require.NoError(t, run.stop())
	})
}

func TestWithSenders_TheOthersCountAsHandled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store, seen, log := inbox.NewMemoryStore(), &recorder{}, &logBuffer{}
		transport := edited(market, "/chats/history", func(result map[string]any) {
			for _, message := range items(result, "messages") {
				switch message["message"] {
				case "beep":
					message["sender"] = "ROBOT"
				case "anonymous":
					delete(message, "sender")
				case "odd":
					message["sender"] = 5
				}
			}
		})
		senders := inbox.WithSenders(chats.SenderCustomer, chats.SenderSupport)
		run := start(t, newInbox(t, connectVia(t, market, transport), store, senders, log.option()), seen.handle)
		sleep(time.Minute)
		for _, sender := range []chats.Sender{chats.SenderPartner, chats.SenderCustomer, chats.SenderMarket, chats.SenderSupport, chats.SenderPartner} {
			market.AddMessage(id, sender, string(sender))
		}
		sleep(2 * time.Minute)
		market.CustomerSays(id, "anonymous") // perhaps the customer's
		market.CustomerSays(id, "odd")
		sleep(2 * time.Minute)
		assert.Equal(t, []string{"CUSTOMER", "SUPPORT", "anonymous", "odd"}, seen.texts())
		assert.Empty(t, log.lines("sender"))
		for range 3 {
			market.AddMessage(id, chats.SenderMarket, "beep")
			sleep(2 * time.Minute)
		}
		require.Len(t, log.lines("unknown sender"), 1)
		assert.Contains(t, log.lines("unknown sender")[0], "ROBOT")
		require.NoError(t, run.stop())
		run = start(t, newInbox(t, connect(t, market), store), seen.handle)
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), 4)
	})
}

// Messages that become visible below one whose handler fails.
func TestHandler_AttemptsOutlastLateMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(chatstest.WithVisibility(func(m chats.Message) time.Duration {
			d, _ := time.ParseDuration(strings.TrimPrefix(m.Text, "late "))
			return d
		}))
		var attempts []int
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore(),
			inbox.WithMaxAttempts(6, func(context.Context, inbox.Delivery, error) error { return nil }))
		run := start(t, in, func(_ context.Context, d inbox.Delivery) error {
			if d.Message.Text == "poison" {
				attempts = append(attempts, d.Attempt)
				return errors.New("no")
			}
			return nil
		})
		sleep(time.Minute)
		market.CustomerSays(id, "late 20s")
		market.CustomerSays(id, "late 50s")
		market.CustomerSays(id, "poison")
		wake(t, in, id)
		sleep(2 * time.Hour)
		require.NoError(t, run.stop())
		assert.Equal(t, []int{1, 2, 3, 4, 5, 6}, attempts)
	})
}

// The handler fails for several chats, and pushes name others in which there is nothing new:
// they say nothing about the handler, and do not take the turns of those that wait for it.
func TestHandler_PollsWithoutAMessageAreNoTries(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(*testing.T, *inbox.Inbox, handler) *running{"Run": start, "Step": startSteps} {
		bubble(t, name, func(t *testing.T) {
			t.Helper()
			market, ids := bigShop(20, chats.StatusNew)
			var down atomic.Bool
			seen := &recorder{}
			in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
			run := begin(t, in, func(ctx context.Context, d inbox.Delivery) error {
				if down.Load() {
					return errors.New("the CRM is down")
				}
				return seen.handle(ctx, d)
			})
			sleep(10 * time.Minute)
			down.Store(true)
			for n := range 40 {
				for _, id := range ids[:5] {
					if n == 0 {
						market.CustomerSays(id, "hello")
					}
					wake(t, in, ids[5+n%10])
					sleep(10 * time.Second)
				}
				down.Store(n < 33)
			}
			require.NoError(t, run.stop())
			assert.Len(t, seen.all(), 5, "5 min after the outage")
		})
	}
}

// The run ends while the dead-letter function is at work: the failure is stored.
func TestWithMaxAttempts_AFailureIsStoredBeforeItIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		store := inbox.NewMemoryStore()
		in := newInbox(t, connect(t, market), store, inbox.WithMaxAttempts(1, func(ctx context.Context, _ inbox.Delivery, _ error) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		run := start(t, in, func(context.Context, inbox.Delivery) error { return errors.New("no") })
		sleep(time.Minute)
		market.CustomerSays(id, "poison")
		sleep(2 * time.Minute)
		require.NoError(t, run.stop())
		status, err := in.Status(t.Context())
		require.NoError(t, err)
		require.Len(t, status.Failing, 1)
		assert.Equal(t, 1, status.Failing[0].Attempts)
		assert.Equal(t, "no", status.Failing[0].Failure)
	})
}

// A handler that never returns takes one worker, also while one chat at a time is tried, and also
// if it is that chat's.
func TestHandler_OneThatHangsDelaysNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		ids := make([]chats.ChatID, 20)
		for i := range ids {
			ids[i] = market.AddChat(longAgo())
		}
		seen, release := &recorder{}, make(chan struct{})
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			switch {
			case d.Message.Text == "endless", d.Chat.ID == ids[1] && d.Attempt == 2:
				<-release
			case d.Message.Text == "bad" && d.Attempt < 3:
				return errors.New("no")
			}
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		say := func(id chats.ChatID, text string) {
			market.CustomerSays(id, text)
			wake(t, in, id)
			sleep(time.Second)
		}
		say(ids[0], "endless")
		for _, id := range ids[1:5] {
			say(id, "bad")
		}
		for _, id := range ids[5:] {
			say(id, "good")
		}
		sleep(10 * time.Minute)
		assert.Len(t, seen.texts(), 18)
		close(release)
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), 20)
	})
}

// While several chats fail, the chat that is tried hangs: the next one is tried a minute later.
func TestHandler_AHungAttemptBlocksTheOthersForAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		seen, release := &recorder{}, make(chan struct{})
		var down, hung atomic.Bool
		down.Store(true)
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			switch {
			case down.Load():
				return errors.New("the CRM is down")
			case hung.CompareAndSwap(false, true):
				<-release
			}
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		for range 5 {
			id := market.AddChat(longAgo())
			market.CustomerSays(id, "hello")
			wake(t, in, id)
		}
		sleep(10 * time.Minute)
		down.Store(false)
		for !hung.Load() {
			sleep(time.Second)
			synctest.Wait() // the attempt of this very instant has begun
		}
		sleep(59 * time.Second)
		assert.Empty(t, seen.all(), "one chat at a time is tried")
		sleep(3 * time.Minute)
		assert.Len(t, seen.all(), 4)
		close(release)
		require.NoError(t, run.stop())
	})
}

// Attempts that began before several chats had failed do not change when the next one is tried.
func TestHandler_EarlierAttemptsDoNotHastenTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
		began := time.Now().Add(time.Minute)
		var tried, most atomic.Int64
		run := start(t, in, func(_ context.Context, d inbox.Delivery) error {
			if time.Since(began) < time.Second { // eight at once, of which three fail now and one every 5 s
				sleep(time.Duration(max(0, d.Chat.Campaign-3)*5) * time.Second)
				return errors.New("no")
			}
			most.Store(max(most.Load(), tried.Add(1)))
			sleep(20 * time.Second)
			tried.Add(-1)
			return errors.New("no")
		})
		sleep(time.Minute)
		for n := range 12 {
			id := market.AddChat(chats.Chat{Campaign: chats.CampaignID(n)})
			market.CustomerSays(id, "hello")
			wake(t, in, id)
		}
		sleep(2 * time.Minute)
		assert.EqualValues(t, 1, most.Load(), "tried at once")
		require.NoError(t, run.stop())
	})
}

// The retries of many chats whose messages always fail would use up the quota of every hour.
func TestHandler_PoisonInManyChatsLeavesQuotaForOthers(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithHourlyLimit(chats.OpGetChatHistory, 200))
		ids := make([]chats.ChatID, 60)
		for i := range ids {
			ids[i] = market.AddChat(longAgo())
		}
		seen := &recorder{}
		run := start(t, newInbox(t, connect(t, market), inbox.NewMemoryStore()), func(ctx context.Context, d inbox.Delivery) error {
			if d.Message.Text == "poison" {
				return errors.New("poison")
			}
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		for _, id := range ids[:30] {
			market.CustomerSays(id, "poison")
			sleep(time.Minute)
		}
		sleep(4 * time.Hour)
		posted := map[chats.MessageID]time.Time{}
		for n := range 30 {
			posted[market.CustomerSays(ids[30+n], "new")] = time.Now()
			sleep(6 * time.Minute)
		}
		require.NoError(t, run.stop())
		assert.Len(t, seen.texts(), 30)
		assert.Less(t, seen.meanDelay(posted), 2*time.Minute)
	})
}

// While chats are tried one at a time, one that has not failed is tried before all that have,
// however many of these have been due for longer.
func TestHandler_ManyFailingChatsDelayNoOther(t *testing.T) {
	race.SkipSlow(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		var ids []chats.ChatID
		for range 205 {
			ids = append(ids, market.AddChat(longAgo()))
		}
		healthy := ids[204]
		sleep(time.Hour)
		seen := &recorder{}
		in := newInbox(t, connect(t, market), inbox.NewMemoryStore())
		run := start(t, in, func(ctx context.Context, d inbox.Delivery) error {
			if d.Chat.ID != healthy {
				return errors.New("fails")
			}
			return seen.handle(ctx, d)
		})
		sleep(time.Minute)
		says := func(id chats.ChatID, pushed bool) {
			market.CustomerSays(id, "message")
			if pushed {
				wake(t, in, id)
			}
			sleep(time.Second)
		}
		for _, id := range ids[:200] { // the breaker stays closed
			says(id, true)
			says(healthy, true)
		}
		for _, id := range ids[200:203] { // now it opens
			says(id, true)
		}
		sleep(20 * time.Minute)
		require.Len(t, seen.texts(), 200)
		says(healthy, false)
		sleep(3 * time.Minute)
		assert.Len(t, seen.texts(), 201)
		require.NoError(t, run.stop())
	})
}
