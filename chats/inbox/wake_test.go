package inbox_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

func TestAPushMakesAMessageArriveAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t, chatstest.WithLatency(100*time.Millisecond))
		seen := &notebook{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithPollInterval(24*time.Hour))
		run := start(t, in, 1, seen.handle)
		pass(time.Hour)
		sweeps := market.Calls(chats.OpGetChats)

		said := time.Now()
		market.CustomerSays(id, "known")
		_ = in.Wake(context.Background(), id)
		pass(time.Minute)
		fresh := market.AddChat(chats.Chat{})
		began := time.Now()
		market.CustomerSays(fresh, "unknown")
		_ = in.Wake(context.Background(), fresh)
		pass(time.Minute)
		require.NoError(t, run.stop())

		require.Equal(t, []string{"known", "unknown"}, seen.texts())
		assert.Less(t, seen.all()[0].at.Sub(said), time.Second)
		assert.Less(t, seen.all()[1].at.Sub(began), time.Second)
		assert.Equal(t, market.Chat(fresh), seen.all()[1].Chat)
		assert.Equal(t, sweeps, market.Calls(chats.OpGetChats), "without a sweep")
		assert.Equal(t, 1, market.Calls(chats.OpGetChat), "once, for the chat that was unknown")
	})
}

func TestWakeBeforeAndAfterARun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		store, seen := inbox.NewMemoryStore(), &notebook{}
		in := newInbox(t, market.Client(), store)
		_ = in.Wake(context.Background(), id)
		_ = in.Wake(context.Background(), 0)
		_ = in.Wake(context.Background(), -1)
		run := start(t, in, 1, seen.handle)
		pass(time.Minute)
		require.NoError(t, run.stop())
		for range 3 {
			_ = in.Wake(context.Background(), id)
		}
		market.CustomerSays(id, "new")
		run = start(t, in, 1, seen.handle)
		synctest.Wait()
		assert.Equal(t, []string{"new"}, seen.texts())
		require.NoError(t, run.stop())
	})
}

// A push may be faster than the history shows its message.
func TestAPushMayComeEarly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		seen := &notebook{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithPollInterval(24*time.Hour))
		run := start(t, in, 1, seen.handle)
		pass(time.Hour)
		for _, lag := range []time.Duration{900 * time.Millisecond, 4 * time.Second} {
			_ = in.Wake(context.Background(), id)
			pass(lag)
			market.CustomerSays(id, lag.String())
			said := time.Now()
			pass(time.Minute)
			require.NotEmpty(t, seen.all())
			last := seen.all()[len(seen.all())-1]
			assert.Equal(t, lag.String(), last.Message.Text)
			assert.LessOrEqual(t, last.at.Sub(said), time.Second)
		}
		calls := market.Calls(chats.OpGetChatHistory)
		_ = in.Wake(context.Background(), id)
		pass(time.Hour)
		assert.Equal(t, calls+3, market.Calls(chats.OpGetChatHistory), "a push for nothing costs three looks")
		require.NoError(t, run.stop())
	})
}

func TestPushesInPlentyDoNotHammer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t, chatstest.WithLatency(100*time.Millisecond))
		seen := &notebook{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithPollInterval(24*time.Hour))
		run := start(t, in, 4, seen.handle)
		pass(time.Hour)
		calls := market.Calls(chats.OpGetChatHistory)
		var pushes sync.WaitGroup
		for range 50 {
			pushes.Go(func() {
				for i := range 2000 {
					_ = in.Wake(context.Background(), id)
					_ = in.Wake(context.Background(), chats.ChatID(1_000_000_000+i)) // no such chat
				}
			})
		}
		pushes.Wait()
		pass(time.Hour)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory)-calls, 4)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChat), 510, "half of an hour's getChat are left to others")
		fresh := market.AddChat(chats.Chat{})
		market.CustomerSays(fresh, "in the next hour")
		_ = in.Wake(context.Background(), fresh)
		pass(time.Second)
		assert.Equal(t, []string{"in the next hour"}, seen.texts())

		asked := market.Calls(chats.OpGetChat)
		_ = in.Wake(context.Background(), 1_000_000_000)
		pass(time.Hour)
		assert.Equal(t, asked+1, market.Calls(chats.OpGetChat), "what is not there is asked for once")
		require.NoError(t, run.stop())
	})
}

func TestAPushForAChatThatDoesNotMatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		order := market.AddChat(chats.Chat{Subject: chats.AboutOrder(1)})
		direct := market.AddChat(chats.Chat{Subject: chats.Subject{Kind: chats.SubjectDirect}})
		pass(time.Hour)
		for _, c := range []struct {
			filter chats.Filter
			want   []string
		}{
			{chats.Filter{SubjectKinds: []chats.SubjectKind{chats.SubjectOrder}}, []string{"order"}},
			{chats.Filter{Subjects: []chats.Subject{chats.AboutOrder(1)}}, []string{"order"}},
			{chats.Filter{Types: []chats.ChatType{chats.ChatTypeArbitrage}}, []string{}},
			{chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}, []string{"order", "direct"}},
			{chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForCustomer}}, []string{}},
		} {
			seen := &notebook{}
			in := newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithFilter(c.filter), inbox.WithPollInterval(24*time.Hour))
			run := start(t, in, 1, seen.handle)
			pass(time.Minute)
			for id, text := range map[chats.ChatID]string{order: "order", direct: "direct"} {
				market.CustomerSays(id, text)
				_ = in.Wake(context.Background(), id)
			}
			pass(time.Minute)
			require.NoError(t, run.stop())
			assert.ElementsMatch(t, c.want, seen.texts(), "%+v", c.filter)
		}
	})
}

// With a filter that changes its mind, a chat that was listed may match no more.
func TestAPushForAChatThatMatchesNoMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		seen := &notebook{}
		filter := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithFilter(filter))
		run := start(t, in, 1, seen.handle)
		pass(90 * time.Second)
		market.AddMessage(id, chats.SenderPartner, "answer")
		_ = in.Wake(context.Background(), id)
		pass(2 * time.Minute)
		assert.Empty(t, seen.texts())
		market.CustomerSays(id, "question")
		pass(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.Equal(t, []string{"answer", "question"}, seen.texts(), "it comes when the chat matches again")
	})
}

func TestALoopOverMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		store := inbox.NewMemoryStore()
		in := newInbox(t, market.Client(), store, inbox.WithStartTime(time.Now()))
		for _, text := range []string{"1", "2", "3"} {
			market.CustomerSays(id, text)
		}
		loop := func(ctx context.Context, leave string) (texts []string) {
			for d, err := range in.Messages(ctx) {
				require.NoError(t, err)
				if texts = append(texts, d.Message.Text); d.Message.Text == leave {
					break
				}
			}
			return texts
		}
		assert.Equal(t, []string{"1", "2"}, loop(t.Context(), "2"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		assert.Equal(t, []string{"2", "3"}, loop(ctx, ""), "the one that was left comes again, and the end is silent")
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		assert.Empty(t, loop(ctx, ""))

		ctx, cancel = context.WithCancel(t.Context())
		market.CustomerSays(id, "4")
		for _, err := range in.Messages(ctx) {
			require.NoError(t, err)
			cancel() // the loop asks for the next all the same: handled
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		assert.Empty(t, loop(ctx, ""))
	})
}

func TestAPanicInALoopIsTheLoops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t)
		in := newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithStartTime(time.Now()))
		market.CustomerSays(id, "1")
		assert.PanicsWithValue(t, "mine", func() {
			for _, err := range in.Messages(t.Context()) {
				require.NoError(t, err)
				panic("mine")
			}
		})
		for d, err := range in.Messages(t.Context()) {
			require.NoError(t, err)
			assert.Equal(t, "1", d.Message.Text, "not handled")
			break
		}
	})
}

func TestOneRunAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := shop(t)
		in := newInbox(t, market.Client(), inbox.NewMemoryStore())
		run := start(t, in, 1, (&notebook{}).handle)
		synctest.Wait()
		require.ErrorIs(t, in.Run(t.Context(), (&notebook{}).handle), inbox.ErrRunning)
		n := 0
		for _, err := range in.Messages(t.Context()) {
			require.ErrorIs(t, err, inbox.ErrRunning)
			n++
		}
		assert.Equal(t, 1, n)
		require.NoError(t, run.stop())
	})
}

func TestAPushForNoChatIsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, _ := shop(t)
		log := &journal{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore(), log.logger())
		run := start(t, in, 1, (&notebook{}).handle)
		pass(10 * time.Second)
		_ = in.Wake(context.Background(), 0)
		_ = in.Wake(context.Background(), -1)
		pass(10 * time.Second)
		assert.Empty(t, log.text())
		require.NoError(t, run.stop())
	})
}

func TestArguments(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	client, store := market.Client(), inbox.NewMemoryStore()
	for _, make := range []func() error{
		func() error { _, err := inbox.New(nil, store); return err },
		func() error { _, err := inbox.New(client, nil); return err },
		func() error { _, err := inbox.New(client, store, nil); return err },
		func() error { _, err := inbox.New(client, store, inbox.WithPollInterval(0)); return err },
		func() error { _, err := inbox.New(client, store, inbox.WithSenders()); return err },
		func() error { _, err := inbox.New(client, store, inbox.WithQuotaReserve(1)); return err },
		func() error { _, err := inbox.New(client, store, inbox.WithQuotaReserve(-0.1)); return err },
		func() error { _, err := inbox.New(client, store, inbox.WithLogger(nil)); return err },
		func() error {
			_, err := inbox.New(client, store, inbox.WithFilter(chats.Filter{PageSize: 21}))
			return err
		},
		func() error { return newInbox(t, client, store).Run(t.Context(), nil) },
	} {
		err := make()
		require.ErrorIs(t, err, chats.ErrInvalidArgument)
		var argument *chats.ArgumentError
		require.ErrorAs(t, err, &argument)
		assert.Contains(t, argument.Error(), "inbox")
	}
	_, err := inbox.New(client, store, inbox.WithFilter(chats.Filter{PageSize: chats.MaxChatsPage}))
	require.NoError(t, err)
}

// Pushes of days reach a stand-by. When it takes over, the sweep finds what is new, and
// nothing is read for nothing.
func TestWhatAStandByWasToldCostsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(50 * time.Millisecond))
		ids := make([]chats.ChatID, 300)
		for i := range ids {
			ids[i] = market.AddChat(longAgo())
		}
		store, seen := inbox.NewMemoryStore(), &notebook{}
		first, second := newInbox(t, market.Client(), store), newInbox(t, market.Client(), store)
		one := start(t, first, 8, seen.handle)
		pass(10 * time.Minute)
		two := start(t, second, 8, seen.handle)
		for i := range 20_000 {
			_ = second.Wake(context.Background(), chats.ChatID(1_000_000_000+i)) // and of chats that do not exist
		}
		for _, id := range ids {
			market.CustomerSays(id, "message")
			_ = second.Wake(context.Background(), id)
		}
		pass(24 * time.Hour)
		require.Len(t, seen.all(), 300)
		history, chat := market.Calls(chats.OpGetChatHistory), market.Calls(chats.OpGetChat)
		require.NoError(t, one.stop())
		market.CustomerSays(ids[7], "a real one")
		said := time.Now()
		pass(10 * time.Minute)
		all := seen.all()
		require.Len(t, all, 301)
		assert.Less(t, all[300].at.Sub(said), time.Minute)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory)-history, 3)
		assert.Equal(t, chat, market.Calls(chats.OpGetChat))
		require.NoError(t, two.stop())
	})
}

// One operation's hour is no other's.
func TestAUsedUpHourOfGetChatStopsNoHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop(t, chatstest.WithHourlyLimit(chats.OpGetChat, 10))
		seen := &notebook{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore(), inbox.WithPollInterval(time.Hour))
		run := start(t, in, 2, seen.handle)
		pass(time.Minute)
		other := market.Client()
		for range 10 {
			_, err := other.Chat(t.Context(), id)
			require.NoError(t, err)
		}
		_ = in.Wake(context.Background(), 999_999_999)
		pass(100 * time.Millisecond)
		market.CustomerSays(id, "message")
		_ = in.Wake(context.Background(), id)
		pass(time.Second)
		assert.Equal(t, []string{"message"}, seen.texts())
		require.NoError(t, run.stop())
	})
}

// A push that comes while its chat is at work is seen to next, before what sweeps have
// found, and without the pause after a push that was early.
func TestAPushDuringTheHandlingIsNotForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(10 * time.Millisecond))
		ids := make([]chats.ChatID, 40)
		for i := range ids {
			ids[i] = market.AddChat(longAgo())
		}
		seen := &notebook{}
		in := newInbox(t, market.Client(), inbox.NewMemoryStore())
		run := start(t, in, 1, func(ctx context.Context, d inbox.Delivery) error {
			_ = seen.handle(ctx, d)
			pass(5 * time.Second)
			return nil
		})
		pass(10 * time.Minute)
		for _, id := range ids[1:] {
			market.CustomerSays(id, "backlog")
		}
		pass(2 * time.Minute)
		n := len(seen.all())
		require.Positive(t, n, "a sweep has found the backlog")
		require.Less(t, n, 39)
		market.CustomerSays(ids[0], "first")
		_ = in.Wake(context.Background(), ids[0])
		for len(seen.all()) < n+2 {
			pass(100 * time.Millisecond)
		}
		assert.Equal(t, "first", seen.texts()[n+1], "after the one at work, and one that waited for a worker")
		market.CustomerSays(ids[0], "second")
		_ = in.Wake(context.Background(), ids[0])
		for len(seen.all()) < n+4 {
			pass(100 * time.Millisecond)
		}
		assert.Contains(t, seen.texts()[n+2:], "second")
		pass(10 * time.Minute)
		require.NoError(t, run.stop())
		assert.Len(t, seen.all(), 41)
	})
}
