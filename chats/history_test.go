package chats_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// idsAbove returns what History should yield: the IDs above since, ascending.
func idsAbove(market *chatstest.Market, chat chats.ChatID, since chats.MessageID) []chats.MessageID {
	ids := []chats.MessageID{}
	for _, m := range market.Messages(chat) {
		if m.ID > since {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

func TestHistory_IsAscendingAndCompleteInEveryOrder(t *testing.T) {
	t.Parallel()
	for _, v := range historyVariants() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket(v.options...)
			client := newClient(t, market)
			for _, length := range []int{0, 1, 100, 201} {
				chat := addChatWithMessages(market, length)
				all := market.Messages(chat)
				sinces := []chats.MessageID{0}
				if length > 0 {
					last := all[length-1].ID
					sinces = append(sinces, all[0].ID, all[length/2].ID, last, last+1)
				}
				for _, since := range sinces {
					got := mustCollect(t, client.History(t.Context(), chat, since))
					assert.Equal(t, idsAbove(market, chat, since), messageIDs(got), "%d messages, since %d", length, since)
				}
			}
		})
	}
}

func TestHistory_ResumesAfterAnyPrefix(t *testing.T) {
	t.Parallel()
	for _, v := range historyVariants() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket(v.options...)
			client := newClient(t, market)
			chat := addChatWithMessages(market, 205)
			all := idsAbove(market, chat, 0)
			for _, k := range []int{1, 100, 201} {
				var got []chats.MessageID
				for message, err := range client.History(t.Context(), chat, 0) {
					require.NoError(t, err)
					got = append(got, message.ID)
					if len(got) == k {
						break
					}
				}
				rest := mustCollect(t, client.History(t.Context(), chat, got[k-1]))
				assert.Equal(t, all, append(got, messageIDs(rest)...), "stopped after %d", k)
			}
		})
	}
}

// All messages that existed before are yielded; the next reading has those that arrived
// meanwhile.
func TestHistory_LosesNothingWhileMessagesArrive(t *testing.T) {
	t.Parallel()
	for _, v := range historyVariants() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket(v.options...)
			client := newClient(t, market)
			chat := addChatWithMessages(market, 205)
			before := idsAbove(market, chat, 0)
			market.FailFunc(func(_ chats.Operation, n int) chatstest.Fault {
				for range n {
					market.CustomerSays(chat, "И ещё вопрос")
				}
				return chatstest.OK()
			})
			got := messageIDs(mustCollect(t, client.History(t.Context(), chat, 0)))
			market.FailFunc(nil)

			after := idsAbove(market, chat, 0)
			require.Greater(t, len(after), len(before))
			require.GreaterOrEqual(t, len(got), len(before))
			require.LessOrEqual(t, len(got), len(after))
			assert.Equal(t, after[:len(got)], got, "a gap would never be filled")
			rest := messageIDs(mustCollect(t, client.History(t.Context(), chat, got[len(got)-1])))
			assert.Equal(t, after, append(got, rest...))
		})
	}
}

func TestHistory_RandomConversations(t *testing.T) {
	t.Parallel()
	for range 8 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0))
			v := historyVariants()[r.IntN(len(historyVariants()))]
			market := chatstest.NewMarket(v.options...)
			client := newClient(t, market)
			chat := addChatWithMessages(market, r.IntN(250))
			var got []chats.MessageID
			var last chats.MessageID
			for range 4 {
				stop := r.IntN(200)
				for message, err := range client.History(t.Context(), chat, last) {
					require.NoError(t, err)
					got, last = append(got, message.ID), message.ID
					if r.IntN(40) == 0 {
						market.CustomerSays(chat, "?")
					}
					if stop--; stop < 0 {
						break
					}
				}
			}
			got = append(got, messageIDs(mustCollect(t, client.History(t.Context(), chat, last)))...)
			assert.Equal(t, idsAbove(market, chat, 0), append([]chats.MessageID{}, got...), v.name)
		})
	}
}

func TestChatsAndHistory_CanBeRangedOverAgain(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	client := newClient(t, market)
	chat := addChatWithMessages(market, 120)
	history := client.History(t.Context(), chat, 0)
	list := client.Chats(t.Context(), chats.Filter{})
	assert.Zero(t, market.Calls(chats.OpGetChatHistory), "no request before the sequence is ranged over")
	assert.Zero(t, market.Calls(chats.OpGetChats))

	assert.Len(t, mustCollect(t, history), 120)
	assert.Len(t, mustCollect(t, list), 1)
	market.CustomerSays(chat, "Вы тут?")
	market.AddChat(chats.Chat{})
	assert.Len(t, mustCollect(t, history), 121)
	assert.Len(t, mustCollect(t, list), 2)
}

func TestChatsAndHistory_FetchNextPageWhileCallerWorks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(time.Second))
		client := newClient(t, market)
		chat := addOldChat(market, 350)
		for range 45 {
			market.AddChat(chats.Chat{})
		}

		began, n := time.Now(), 0
		for _, err := range client.History(t.Context(), chat, 0) {
			require.NoError(t, err)
			if n++; n == 1 {
				time.Sleep(time.Minute) // the caller is busy
				assert.Equal(t, 3, market.Calls(chats.OpGetChatHistory), "two pages show the order, the third is fetched ahead")
			}
		}
		// Two pages came before the first message, the third meanwhile, the fourth after it.
		assert.Equal(t, time.Minute+3*time.Second, time.Since(began))

		began, n = time.Now(), 0
		for _, err := range client.Chats(t.Context(), chats.Filter{}) {
			require.NoError(t, err)
			if n++; n == 1 || n == 21 {
				synctest.Wait()
				assert.Equal(t, 1+(n+19)/20, market.Calls(chats.OpGetChats))
				time.Sleep(time.Minute)
			}
		}
		assert.Equal(t, 46, n)
		assert.Equal(t, 2*time.Minute+time.Second, time.Since(began), "one page is waited for, two arrive meanwhile")
	})
}

// The bubble fails if a goroutine is left in it.
func TestHistory_BreakCancelsLookAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(time.Second))
		client := newClient(t, market, chats.WithMaxParallel(1))
		chat := addOldChat(market, 350)
		for range 45 {
			market.AddChat(chats.Chat{})
		}
		began := time.Now()
		for _, err := range client.History(t.Context(), chat, 0) {
			require.NoError(t, err)
			break
		}
		assert.Equal(t, 2*time.Second, time.Since(began), "break does not wait for the look-ahead")
		began = time.Now()
		for _, err := range client.Chats(t.Context(), chats.Filter{}) {
			require.NoError(t, err)
			break
		}
		assert.Equal(t, time.Second, time.Since(began))

		// The slot is free again.
		began = time.Now()
		_, err := client.Chat(t.Context(), chat)
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(began))
	})
}

func TestHistory_PanicInLoopCancelsLookAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(time.Second))
		client := newClient(t, market)
		chat := addOldChat(market, 350)
		assert.PanicsWithValue(t, "in the loop", func() {
			for _, err := range client.History(t.Context(), chat, 0) {
				require.NoError(t, err)
				panic("in the loop")
			}
		})
	})
}

// endlessListings are listings that would never end. page returns the n-th page, from 1.
var endlessListings = []struct {
	name        string
	page        func(n int) string
	maxRequests int // upper bound of the requests until it is noticed
}{
	{"the same page for ever", func(int) string { return historyPage("a", 1, 2) }, 5},
	{"the same token and no item", func(int) string { return historyPage("a") }, 5},
	{"a cycle of three tokens", func(n int) string { return historyPage(fmt.Sprint("t", n%3), (n-1)%3+1) }, 12},
	{"a cycle after 50 pages", func(n int) string { return historyPage(fmt.Sprint("t", min(n, 50+n%7)), min(n, 50+n%7)) }, 250},
	{"a cycle of empty pages", func(n int) string { return historyPage(fmt.Sprint("t", n%3)) }, 12},
	{"new tokens and no item", func(n int) string { return historyPage(fmt.Sprint("t", n)) }, 1000},
	{"newest first, without a first message", func(n int) string { return historyPage("a", max(1000-n, 900)) }, 110},
}

func TestHistory_EndlessListingIsError(t *testing.T) {
	t.Parallel()
	for _, tt := range endlessListings {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket()
			client := newClient(t, market)
			chat := addChatWithMessages(market, 1)
			market.FailFunc(func(_ chats.Operation, n int) chatstest.Fault { return chatstest.Malformed(tt.page(n)) })
			_, err := collect(t, client.History(t.Context(), chat, 0))
			require.ErrorIs(t, err, chats.ErrProtocol)
			var e *chats.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, chats.OpGetChatHistory, e.Operation)
			assert.Contains(t, err.Error(), "never end")
			assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory), tt.maxRequests)
		})
	}
}

func TestChatsAndHistory_RepeatedPageTokenIsError(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket(chatstest.WithRepeatingToken())
	client := newClient(t, market)
	chat := addChatWithMessages(market, 230)
	_, err := collect(t, client.History(t.Context(), chat, 0))
	require.ErrorIs(t, err, chats.ErrProtocol)
	list, err := collect(t, client.Chats(t.Context(), chats.Filter{}))
	require.ErrorIs(t, err, chats.ErrProtocol)
	assert.Equal(t, []chats.ChatID{chat}, chatIDs(list))
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, chats.OpGetChats, e.Operation)
}

func TestHistory_ReadsThroughEmptyPages(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	client := newClient(t, market)
	chat := addChatWithMessages(market, 1)
	market.FailFunc(func(_ chats.Operation, n int) chatstest.Fault {
		switch n {
		case 1000:
			return chatstest.Malformed(historyPage("t1000", 7))
		case 1500:
			return chatstest.Malformed(historyPage("", 8))
		}
		return chatstest.Malformed(historyPage(fmt.Sprint("t", n)))
	})
	got := mustCollect(t, client.History(t.Context(), chat, 0))
	assert.Equal(t, []chats.MessageID{7, 8}, messageIDs(got))
}

// pagesOfTen are the faults that make a getChatHistory with pages of at most ten messages.
func pagesOfTen(pages ...[]int) []chatstest.Fault {
	faults := make([]chatstest.Fault, len(pages))
	for i, ids := range pages {
		next := fmt.Sprint("t", i)
		if i == len(pages)-1 {
			next = ""
		}
		faults[i] = chatstest.Malformed(historyPage(next, ids...))
	}
	return faults
}

// tens returns the IDs from first on, in steps of ten.
func tens(first, n int) []int {
	ids := make([]int, n)
	for i := range ids {
		ids[i] = first + 10*i
	}
	return ids
}

func TestHistory_ChangedOrderIsErrorThatNamesSafeID(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket(chatstest.WithMaxPage(chats.OpGetChatHistory, 10))
	client := newClient(t, market)
	chat := addChatWithMessages(market, 1)
	mustCollect(t, client.History(t.Context(), chat, 0)) // learns the size of the pages
	late := append(tens(310, 9), 35)
	faults := pagesOfTen(tens(10, 10), tens(110, 10), tens(210, 10), late, tens(500, 1))
	market.Fail(chats.OpGetChatHistory, faults[:4]...)
	got, err := collect(t, client.History(t.Context(), chat, 5))
	require.ErrorIs(t, err, chats.ErrProtocol)
	assert.Contains(t, err.Error(), "message 35 came after message 200")
	assert.Contains(t, err.Error(), "resume after message 5")
	assert.Len(t, got, 20)
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	require.NotNil(t, e.ResumeAfter)
	assert.Equal(t, chats.MessageID(5), *e.ResumeAfter, "nothing that was yielded is safe: the order was another one")

	// The client does not trust the order of this chat any more.
	market.Fail(chats.OpGetChatHistory, faults...)
	got, err = collect(t, client.History(t.Context(), chat, *e.ResumeAfter))
	require.NoError(t, err)
	assert.Equal(t, []chats.MessageID{10, 20, 30, 35, 40, 50}, messageIDs(got)[:6])
	assert.Len(t, got, 41)
}

func TestHistory_ContextErrorIsYieldedLast(t *testing.T) {
	t.Parallel()
	reason := errors.New("shutting down")
	tests := []struct {
		name  string
		when  int // ends after this many items; 0: while the first page is fetched
		begin func(context.Context) (context.Context, func())
		want  error
	}{
		{"cancelled between items", 150, func(ctx context.Context) (context.Context, func()) { return context.WithCancel(ctx) }, context.Canceled},
		{"cancelled at the end of a page", 200, func(ctx context.Context) (context.Context, func()) { return context.WithCancel(ctx) }, context.Canceled},
		{"cancelled with a cause", 150, func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(reason) }
		}, context.Canceled},
		{"cancelled with a cause during a fetch", 0, func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(500*time.Millisecond, func() { cancel(reason) })
			return ctx, func() {}
		}, context.Canceled},
		{"deadline during a fetch", 0, func(ctx context.Context) (context.Context, func()) {
			return context.WithTimeout(ctx, 500*time.Millisecond)
		}, context.DeadlineExceeded},
		{"cancelled before the call", 0, func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, context.Canceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket(chatstest.WithLatency(time.Second))
				client := newClient(t, market)
				chat := addOldChat(market, 350)
				ctx, end := tt.begin(t.Context())
				defer end()
				var got []chats.MessageID
				var last error
				for message, err := range client.History(ctx, chat, 0) {
					require.NoError(t, last, "the sequence went on after an error")
					if last = err; err != nil {
						assert.Zero(t, message)
						continue
					}
					if got = append(got, message.ID); len(got) == tt.when {
						end()
					}
				}
				assert.True(t, last == tt.want, "want the bare %v, got %#v", tt.want, last) //nolint:testifylint // the bare value, not wrapped
				assert.Len(t, got, tt.when)
				assert.Equal(t, idsAbove(market, chat, 0)[:tt.when], append([]chats.MessageID{}, got...))
			})
		})
	}
}

func TestHistory_ErrorIsYieldedOnceAndLast(t *testing.T) {
	t.Parallel()
	forbidden := chatstest.Status(http.StatusForbidden, envelope)
	for _, v := range historyVariants() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket(v.options...)
			client := newClient(t, market)
			chat := addChatWithMessages(market, 350)
			market.Fail(chats.OpGetChatHistory, chatstest.OK(), chatstest.OK(), chatstest.OK(), forbidden)
			got, err := collect(t, client.History(t.Context(), chat, 0))
			require.ErrorIs(t, err, chats.ErrForbidden)
			last := chats.MessageID(0)
			if len(got) > 0 {
				last = got[len(got)-1].ID
			}
			rest := mustCollect(t, client.History(t.Context(), chat, last))
			assert.Equal(t, idsAbove(market, chat, 0), messageIDs(append(got, rest...)))
		})
	}
}

func TestHistory_OldestFirstIsYieldedPageByPage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		client := newClient(t, market)
		chat := addOldChat(market, 350)
		market.Fail(chats.OpGetChatHistory, chatstest.OK(), chatstest.OK(), chatstest.OK(), chatstest.Status(http.StatusForbidden, envelope))
		got, err := collect(t, client.History(t.Context(), chat, 0))
		require.ErrorIs(t, err, chats.ErrForbidden)
		assert.Len(t, got, 200, "the last page before the error is held back")
		rest := mustCollect(t, client.History(t.Context(), chat, got[199].ID))
		assert.Equal(t, idsAbove(market, chat, 0), messageIDs(append(got, rest...)))
	})
}

func TestChatsAndHistory_InvalidArgumentSendsNothing(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	client := newClient(t, market)
	got, err := collect(t, client.History(t.Context(), 0, 0))
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
	assert.Empty(t, got)
	list, err := collect(t, client.Chats(t.Context(), chats.Filter{PageSize: 21}))
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
	assert.Empty(t, list)
	assert.Zero(t, market.Calls(chats.OpGetChatHistory)+market.Calls(chats.OpGetChats))
}

func TestHistoryPage_ReturnsServerPageUnchanged(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket(chatstest.WithOrder(chatstest.NewestFirst))
	log := &requestLog{next: market.Transport()}
	client := market.Client(withContract(t, log))
	chat := addChatWithMessages(market, 7)
	all := messageIDs(market.Messages(chat))
	newest := slices.Clone(all)
	slices.Reverse(newest)

	page, err := client.HistoryPage(t.Context(), chat, all[1], chats.PageRequest{Size: 4})
	require.NoError(t, err)
	assert.Equal(t, newest[:4], messageIDs(page.Items))
	req, body := log.last(t)
	assert.Equal(t, fmt.Sprintf("chatId=%d&limit=4", chat), req.URL.RawQuery)
	assert.JSONEq(t, fmt.Sprintf(`{"messageIdFrom":%d}`, all[1]), body)

	require.NotEmpty(t, page.Next)
	second, err := client.HistoryPage(t.Context(), chat, all[1], chats.PageRequest{Size: 4, Token: page.Next})
	require.NoError(t, err)
	assert.Equal(t, newest[4:6], messageIDs(second.Items), "since itself is sent and comes back")
	assert.Empty(t, second.Next)
	req, body = log.last(t)
	assert.Equal(t, page.Next, req.URL.Query().Get("pageToken"))
	assert.Equal(t, "4", req.URL.Query().Get("limit"))
	assert.JSONEq(t, fmt.Sprintf(`{"messageIdFrom":%d}`, all[1]), body)
	assert.Equal(t, 2, log.count())

	_, err = client.HistoryPage(t.Context(), chat, 0, chats.PageRequest{})
	require.NoError(t, err)
	req, body = log.last(t)
	assert.JSONEq(t, `{}`, body, "0 sends no messageIdFrom")
	assert.Equal(t, fmt.Sprintf("chatId=%d&limit=100", chat), req.URL.RawQuery)
}

func TestHistory_PageTokenIsPassedUnchanged(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	log := &requestLog{next: market.Transport()}
	client := market.Client(withContract(t, log))
	chat := addChatWithMessages(market, 1)
	const token = "+/=&?% \"Ж"
	market.Fail(chats.OpGetChatHistory, chatstest.Malformed(historyPage(token, 1)), chatstest.Malformed(historyPage("", 2)))
	assert.Len(t, mustCollect(t, client.History(t.Context(), chat, 0)), 2)
	req, _ := log.last(t)
	assert.Equal(t, token, req.URL.Query().Get("pageToken"))
}

func TestMessage_ReadsOne(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	client := newClient(t, market)
	chat := addChatWithMessages(market, 3)
	want := market.Messages(chat)[1]
	got, err := client.Message(t.Context(), chat, want.ID)
	require.NoError(t, err)
	assert.Equal(t, want, got)

	_, err = client.Message(t.Context(), chat, 5)
	require.ErrorIs(t, err, chats.ErrNotFound)
	assert.Contains(t, err.Error(), fmt.Sprintf("Can't find message by id: '5' for chat '%d'", chat))
}

func TestHistory_YieldsEveryField(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket(chatstest.WithPreciseTimes())
	client := newClient(t, market)
	chat := market.AddChat(chats.Chat{})
	market.CustomerSays(chat, "Вот фото", market.AddFile("фото.jpg", []byte("jpeg")), market.AddFile("2.png", []byte("png")))
	market.AddMessage(chat, chats.SenderPartner, "Спасибо 👍")
	market.AddMessage(chat, chats.SenderMarket, "")
	market.AddMessage(chat, chats.SenderSupport, "Здравствуйте")
	assert.Equal(t, market.Messages(chat), mustCollect(t, client.History(t.Context(), chat, 0)))
}

func TestHistory_DuplicatesDoNotDelayYielding(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithDuplicates())
		chat := addOldChat(market, 1000)
		for _, err := range newClient(t, market).History(t.Context(), chat, 0) {
			require.NoError(t, err)
			break
		}
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory), 4, "messages are yielded page by page")
	})
}

// A user's test may call FailNow in a transport or hook, which ends the goroutine.
func TestHistory_GoexitInHookIsError(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	chat := addChatWithMessages(market, 250)
	n := 0
	client := newClient(t, market, chats.WithHook(func(context.Context, chats.Attempt) {
		if n++; n == 2 {
			runtime.Goexit()
		}
	}))
	got, err := collect(t, client.History(t.Context(), chat, 0))
	require.ErrorContains(t, err, "ended the goroutine")
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, chats.OpGetChatHistory, e.Operation)
	assert.Equal(t, market.Business(), e.Business)
	assert.NotErrorIs(t, err, chats.ErrProtocol)
	assert.Less(t, len(got), 250)
}

func TestHistory_YieldsContextErrorWhateverFailedLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, fault := range []chatstest.Fault{chatstest.Truncate(10), chatstest.Status(500, ""), chatstest.Refused()} {
			ctx, cancel := context.WithCancel(t.Context())
			f := newFixture(t, chats.WithHook(func(context.Context, chats.Attempt) { cancel() }))
			f.market.Fail(chats.OpGetChatHistory, fault)
			_, err := collect(t, f.client.History(ctx, f.chat, 0))
			assert.Equal(t, context.Canceled, err)
		}
	})
}
