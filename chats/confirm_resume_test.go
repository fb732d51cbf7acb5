package chats_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
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
)

// The remedy that ErrOutcomeUnknown documents, after SendText and SendFile.
func TestConfirmResume_SettlesAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]chatstest.Fault{
		"posted": chatstest.DropAfter(), "posted late": chatstest.ProcessLate(10 * time.Second), "not posted": chatstest.DropBefore(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.market.Fail(chats.OpSendMessageToChat, fault)
				f.market.Fail(chats.OpSendFileToChat, fault)
				attempted := time.Now()
				require.ErrorIs(t, f.client.SendText(t.Context(), f.chat, "Завтра"), chats.ErrOutcomeUnknown)
				text, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(f.first), chats.ConfirmResume(attempted))
				require.NoError(t, err)
				assert.Equal(t, "Завтра", text.Text)

				attempted = time.Now()
				require.ErrorIs(t, f.client.SendFile(t.Context(), f.chat, "a.txt", strings.NewReader("a")), chats.ErrOutcomeUnknown)
				file, err := f.client.SendFileConfirmed(t.Context(), f.chat, "a.txt", strings.NewReader("a"), chats.ConfirmAfter(text.ID), chats.ConfirmResume(attempted))
				require.NoError(t, err)
				time.Sleep(time.Minute) // until late requests are processed
				assert.Equal(t, 2, f.posted())
				assert.Equal(t, f.market.Messages(f.chat)[2].ID, file.ID)
			})
		})
	}
}

func TestConfirmResume_SendsNothingBeforeTheSearchTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		time.Sleep(time.Minute)
		attempted := time.Now().Add(-5 * time.Second)
		var sentAt time.Time
		f.market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
			if op == chats.OpSendMessageToChat {
				sentAt = time.Now()
			}
			return chatstest.OK()
		})
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmResume(attempted))
		require.NoError(t, err)
		assert.Equal(t, attempted.Add(chats.SearchTime), sentAt)

		began := time.Now()
		_, err = f.client.SendTextConfirmed(t.Context(), f.chat, "Послезавтра", chats.ConfirmResume(began.Add(-time.Minute)), chats.ConfirmAfter(f.first))
		require.NoError(t, err)
		assert.Equal(t, began, sentAt, "that attempt is too old to become visible")
	})
}

// Without ConfirmAfter the time decides what may be the earlier attempt's message.
func TestConfirmResume_WithoutConfirmAfterGoesByTime(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		text    string
		age     time.Duration // of the shop's message when the attempt began
		want    string
		posted  int
		message int // in the chat
	}{
		{"the same", "Завтра", 0, "Message", 1, 1},
		{"the same, by another clock", "Завтра", 5 * time.Minute, "Message", 1, 1},
		{"the same, but before it", "Завтра", 5*time.Minute + time.Second, "Message", 2, 2},
		{"another", "***", 0, "ErrOutcomeUnknown", 1, 0},
		{"another, but before it", "***", 6 * time.Minute, "Message", 2, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.market.AddMessage(f.chat, chats.SenderPartner, tt.text)
				time.Sleep(tt.age)
				attempted := time.Now()
				time.Sleep(time.Minute)
				message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmResume(attempted))
				assert.Equal(t, tt.want, outcomeOf(t, err), err)
				assert.Equal(t, tt.posted, f.posted())
				if err == nil {
					assert.Equal(t, f.market.Messages(f.chat)[tt.message].ID, message.ID)
				}
			})
		})
	}
}

// Servers write 1970, or a date alone, where they have no time. The message may be the one that
// was sent.
func TestConfirmResume_AMessageWithoutARealTimeCounts(t *testing.T) {
	t.Parallel()
	for _, createdAt := range []any{
		nil, 0, "2000-01-01", "1970-01-01T00:00:00Z", "1970-01-01T03:00:00+03:00", "1969-12-31T23:59:59Z",
		"0001-01-01T00:00:00+03:00", "0000-01-01T00:00:00Z", "1980-01-01T00:00:00Z",
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithOddItems(func(item map[string]any) { item["createdAt"] = createdAt })))
			time.Sleep(time.Hour)
			f.market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
			var failed *chats.Error
			require.ErrorAs(t, f.client.SendText(t.Context(), f.chat, "Завтра"), &failed)
			time.Sleep(time.Minute)
			message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmResume(failed.SentAt))
			require.NoError(t, err, createdAt)
			assert.Equal(t, 1, f.posted(), createdAt)
			assert.Equal(t, f.market.Messages(f.chat)[1].ID, message.ID)
		})
	}
}

// The machine that made the earlier attempt may have a clock that is ahead of this one's.
func TestConfirmResume_TimeMayBeSlightlyAhead(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{time.Nanosecond, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, noRetry)
			f.market.Fail(chats.OpSendMessageToChat, chatstest.ProcessLate(10*time.Second))
			var failed *chats.Error
			require.ErrorAs(t, f.client.SendText(t.Context(), f.chat, "Завтра"), &failed)
			resume := chats.ConfirmResume(failed.SentAt.Add(ahead))
			_, err := newClient(t, f.market).SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(f.first), resume)
			require.NoError(t, err)
			assert.Equal(t, 1, f.posted())
		})
	}
}

func TestConfirmResume_InvalidTimeIsArgumentError(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, attempted := range []time.Time{{}, time.Now().Add(2 * time.Minute)} {
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmResume(attempted))
		require.ErrorIs(t, err, chats.ErrInvalidArgument)
		require.ErrorContains(t, err, "ConfirmResume")
		_, err = f.client.SendFileConfirmed(t.Context(), f.chat, "a.txt", strings.NewReader("a"), chats.ConfirmResume(attempted))
		require.ErrorIs(t, err, chats.ErrInvalidArgument)
	}
	_, err := f.client.SendFileConfirmed(t.Context(), f.chat, "a.txt", strings.NewReader("a"), nil)
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
	_, err = f.client.SendFileConfirmed(t.Context(), f.chat, "a.txt", nil)
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
	_, err = f.client.SendTextConfirmed(t.Context(), f.chat, "\u200b &nbsp;\a")
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
	assert.Zero(t, f.market.Calls(chats.OpGetChatHistory)+f.posted())
}

// As long as the earlier attempt is not ruled out, no error may look as if nothing was
// posted.
func TestConfirmResume_EveryErrorBeforeTheSearchIsUnknown(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*fixture) context.Context{
		"history forbidden": func(f *fixture) context.Context {
			f.market.Fail(chats.OpGetChatHistory, times(9, chatstest.Status(403, envelope))...)
			return context.Background()
		},
		"history down": func(f *fixture) context.Context {
			f.market.Fail(chats.OpGetChatHistory, times(999, chatstest.Status(503, ""))...)
			return context.Background()
		},
		"context is canceled": func(*fixture) context.Context {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(3*time.Second, cancel)
			return ctx
		},
		"context is done": func(*fixture) context.Context {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx
		},
	}
	for name, prepare := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				_, err := f.client.SendTextConfirmed(prepare(f), f.chat, "Завтра", chats.ConfirmAfter(f.first), chats.ConfirmResume(time.Now()))
				assert.Equal(t, "ErrOutcomeUnknown", outcomeOf(t, err), err)
				assert.Zero(t, f.posted())
			})
		})
	}
}

func TestConfirmAfter_ReturnsWhatWasPosted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		first, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(f.first))
		require.NoError(t, err)
		for _, client := range []*chats.Client{f.client, newClient(t, f.market)} {
			again, err := client.SendTextConfirmed(t.Context(), f.chat, "\u200bЗавтра ", chats.ConfirmAfter(f.first))
			require.NoError(t, err)
			assert.Equal(t, first.ID, again.ID)
		}
		assert.Equal(t, 1, f.posted())
		wanted, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(first.ID))
		require.NoError(t, err)
		assert.Greater(t, wanted.ID, first.ID, "a newer id repeats it")
		assert.Equal(t, 2, f.posted())
	})
}

// An exhausted quota of sends is no reason not to find what was posted.
func TestConfirmAfter_FindsWithoutAQuotaOfSends(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		posted, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
		require.NoError(t, err)
		f.market.Fail(chats.OpSendMessageToChat, chatstest.RateLimitedHourly(time.Now().Add(late)))
		require.ErrorIs(t, f.client.SendText(t.Context(), f.chat, "Ещё"), chats.ErrRateLimited)
		found, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(f.first))
		require.NoError(t, err)
		assert.Equal(t, posted.ID, found.ID)
		_, err = f.client.SendTextConfirmed(t.Context(), f.chat, "Нет", chats.ConfirmAfter(f.first))
		require.ErrorIs(t, err, chats.ErrRateLimited)
		assert.Equal(t, "error", outcomeOf(t, err))
	})
}

// A message from the shop with different content may be this one, altered by the server.
func TestConfirmAfter_SendsNothingBesideAnUnexplainedMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		other := f.market.AddMessage(f.chat, chats.SenderPartner, "Другой оператор")
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(f.first))
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
		require.ErrorContains(t, err, fmt.Sprintf("to send anyway, use ConfirmAfter(%d)", other))
		assert.Equal(t, 1, f.posted())
		var e *chats.Error
		require.ErrorAs(t, err, &e)
		assert.Zero(t, e.Attempts)

		message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(other))
		require.NoError(t, err)
		_, err = f.client.SendTextConfirmed(t.Context(), f.chat, "Послезавтра", chats.ConfirmAfter(other))
		require.NoError(t, err, "the client knows what it has posted itself")
		_, err = newClient(t, f.market).SendTextConfirmed(t.Context(), f.chat, "Через неделю", chats.ConfirmAfter(message.ID))
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown, "another client does not")
		assert.Equal(t, 3, f.posted())
	})
}

// A file cannot be an altered text, nor a text an altered file.
func TestConfirmAfter_TellsFilesFromTexts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.market.AddMessage(f.chat, chats.SenderPartner, "", f.market.AddFile("b.txt", []byte("b")))
		text, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(f.first))
		require.NoError(t, err)
		f.market.AddMessage(f.chat, chats.SenderPartner, "Другой оператор")
		_, err = f.client.SendFileConfirmed(t.Context(), f.chat, "a.txt", strings.NewReader("a"), chats.ConfirmAfter(text.ID))
		require.NoError(t, err)
		assert.Equal(t, 4, f.posted())

		f.market.AddMessage(f.chat, chats.SenderPartner, "Подпись", f.market.AddFile("c.txt", []byte("b")))
		last := f.market.Messages(f.chat)[4].ID
		_, err = f.client.SendTextConfirmed(t.Context(), f.chat, "Нет", chats.ConfirmAfter(last))
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown, "a message with both may be either")
		_, err = f.client.SendFileConfirmed(t.Context(), f.chat, "d.txt", strings.NewReader("a"), chats.ConfirmAfter(last))
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
		assert.Equal(t, 5, f.posted())
	})
}

func TestConfirmAfter_ZeroIsAnEmptyChat(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(0))
	require.NoError(t, err)
	again, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(0))
	require.NoError(t, err)
	assert.Equal(t, first.ID, again.ID)
	assert.Equal(t, 1, f.posted())
}

// The server accepts only IDs of messages that the chat has.
func TestConfirmAfter_StrictServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithStrictSince()))
		for n, fault := range []chatstest.Fault{chatstest.OK(), chatstest.DropAfter(), chatstest.DropBefore()} {
			f.market.Fail(chats.OpSendMessageToChat, fault)
			last := f.market.CustomerSays(f.chat, "?")
			for _, id := range []chats.MessageID{last, last} {
				message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(id))
				require.NoError(t, err)
				assert.Greater(t, message.ID, last)
			}
			assert.Equal(t, n+1, f.posted())
			time.Sleep(time.Hour)
		}
	})
}

// shiftedIDs is a transport under which the IDs of a sender's messages are ahead of those of
// the others, or behind them.
type shiftedIDs struct {
	next   http.RoundTripper
	sender string
	by     time.Duration
}

func (a shiftedIDs) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := a.next.RoundTrip(req)
	if err != nil || !strings.HasSuffix(req.URL.Path, "/chats/history") || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	var page struct {
		Result map[string]any `json:"result"`
	}
	decoder := json.NewDecoder(resp.Body)
	decoder.UseNumber()
	if err := decoder.Decode(&page); err != nil {
		return nil, err
	}
	messages, _ := page.Result["messages"].([]any)
	for _, item := range messages {
		message, _ := item.(map[string]any)
		if id, ok := message["messageId"].(json.Number); ok && message["sender"] == a.sender {
			n, _ := id.Int64()
			message["messageId"] = n + a.by.Microseconds()
		}
	}
	_ = resp.Body.Close()
	return respond(req, http.StatusOK, okBody(page.Result)), nil
}

// The IDs of the shop's new messages lie below one of another sender.
func TestSendTextConfirmed_OtherSendersClockIsAhead(t *testing.T) {
	t.Parallel()
	clocks := map[string]shiftedIDs{
		"support is hours ahead": {sender: "SUPPORT", by: 3 * time.Hour}, "support is days ahead": {sender: "SUPPORT", by: 72 * time.Hour},
		"the shop is behind": {sender: "PARTNER", by: -3 * time.Hour},
	}
	for name, clock := range clocks {
		for _, strict := range [][]chatstest.Option{nil, {chatstest.WithStrictSince()}} {
			for fate, isLost := range lostResponses {
				t.Run(fmt.Sprintf("%s, strict: %v, response %s", name, strict != nil, fate), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { sendBesideClock(t, clock, strict, isLost) })
				})
			}
		}
	}
}

func sendBesideClock(t *testing.T, clock shiftedIDs, options []chatstest.Option, isLost func(int) bool) {
	t.Helper()
	market := chatstest.NewMarket(options...)
	clock.next = market.Transport()
	f := newFixtureOn(t, market, withContract(t, clock))
	last := f.market.AddMessage(f.chat, chats.SenderSupport, "Здравствуйте")
	shift := chats.MessageID(clock.by.Microseconds())
	if clock.sender == "SUPPORT" {
		last, shift = last+shift, 0
	}
	f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
		if op == chats.OpSendMessageToChat && isLost(n) {
			return chatstest.DropAfter()
		}
		return chatstest.OK()
	})
	for _, option := range [][]chats.ConfirmOption{nil, {chats.ConfirmAfter(last)}} {
		before := f.posted()
		message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", option...)
		require.NoError(t, err)
		assert.Equal(t, before+1, f.posted())
		all := f.market.Messages(f.chat)
		assert.Equal(t, all[len(all)-1].ID+shift, message.ID)
		time.Sleep(time.Minute)
	}
}

// The exchange lasts while the call waits for its slot: another operator's message of the
// same words, posted meanwhile, is not taken for this one.
func TestSendTextConfirmed_BaselineIsNotedAfterTheWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, chats.WithMaxParallel(1))
		f.market.Fail(chats.OpGetChats, chatstest.Delay(20*time.Second))
		var others sync.WaitGroup
		others.Go(func() { assert.NoError(t, f.call(t.Context(), chats.OpGetChats)) })
		synctest.Wait()
		var operator chats.MessageID
		others.Go(func() {
			time.Sleep(10 * time.Second)
			operator = f.market.AddMessage(f.chat, chats.SenderPartner, "Спасибо!")
		})
		message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Спасибо!")
		require.NoError(t, err)
		others.Wait()
		assert.NotEqual(t, operator, message.ID)
		assert.Equal(t, 2, f.posted())
	})
}

// After a send that was certainly not processed, the baseline is noted anew.
func TestSendTextConfirmed_BaselineIsNotedAnewForARetry(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]chatstest.Fault{"420": chatstest.RateLimitedParallel(), "refused": chatstest.Refused()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				var operator chats.MessageID
				f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
					if op == chats.OpSendMessageToChat && n == 1 {
						operator = f.market.AddMessage(f.chat, chats.SenderPartner, "Спасибо!")
						return fault
					}
					return chatstest.OK()
				})
				message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Спасибо!")
				require.NoError(t, err)
				assert.NotEqual(t, operator, message.ID)
				assert.Equal(t, 2, f.posted())
			})
		})
	}
}

// The history is read with the slot of the send: one slot is enough, and no more than the
// maximum are in use.
func TestSendTextConfirmed_BaselineUsesTheSlotOfTheSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := &countingLimiter{wait: func(context.Context) error { return nil }}
		market := chatstest.NewMarket(chatstest.WithLatency(time.Second))
		f := newFixtureOn(t, market, chats.WithMaxParallel(1), chats.WithLimiter(limiter))
		for range 150 {
			f.market.CustomerSays(f.chat, "?")
		}
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
		require.NoError(t, err)
		assert.Equal(t, 1, market.PeakParallel())
		assert.EqualValues(t, 2+1+2, limiter.calls.Load(), "the limiter paces every attempt")
	})
}

// The quota of the history is waited for before the send takes a slot.
func TestSendTextConfirmed_WaitsForTheQuotaOfTheHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, chats.WithMaxParallel(1))
		f.market.Fail(chats.OpGetChatHistory, chatstest.RateLimitedHourly(time.Now().Add(soon)), chatstest.RateLimitedHourly(time.Now().Add(late)))
		var send sync.WaitGroup
		send.Go(func() {
			began := time.Now()
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
			assert.ErrorIs(t, err, chats.ErrRateLimited)
			assert.Equal(t, "error", outcomeOf(t, err))
			assert.Equal(t, soon, time.Since(began))
		})
		time.Sleep(time.Second)
		began := time.Now()
		assert.NoError(t, f.call(t.Context(), chats.OpGetChat))
		assert.Equal(t, began, time.Now(), "the slot is free")
		send.Wait()
		assert.Zero(t, f.posted())
	})
}

// A policy without delays neither spins nor outlives the context.
func TestSendTextConfirmed_PolicyWithoutDelays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, chats.WithRetry(chats.RetryPolicy{MaxAttempts: math.MaxInt, BaseDelay: 1, MaxDelay: 1}))
		f.market.Fail(chats.OpSendMessageToChat, times(3, chatstest.DropBefore())...)
		began := time.Now()
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
		require.NoError(t, err)
		assert.Less(t, f.market.Calls(chats.OpGetChatHistory), 30)
		assert.Equal(t, 3*chats.SearchTime, time.Since(began))

		f.market.Fail(chats.OpSendMessageToChat, chatstest.DropBefore())
		ctx, cancel := context.WithCancel(t.Context())
		defer time.AfterFunc(time.Second, cancel).Stop()
		_, err = f.client.SendTextConfirmed(ctx, f.chat, "Завтра")
		require.ErrorIs(t, err, context.Canceled)
	})
}

// Wherever the context is done, the error is an *Error, and says whether anything was sent.
func TestSendTextConfirmed_ContextErrorsAreErrors(t *testing.T) {
	t.Parallel()
	for n := range 4 {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			ctx, cancel := context.WithCancel(t.Context())
			if n == 0 {
				cancel()
			}
			requests := 0
			f.market.FailFunc(func(chats.Operation, int) chatstest.Fault {
				if requests++; requests == n {
					cancel()
				}
				return chatstest.OK()
			})
			_, err := f.client.SendTextConfirmed(ctx, f.chat, "Завтра")
			require.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, []string{"error", "error", "ErrOutcomeUnknown", "ErrUnconfirmed"}[n], outcomeOf(t, err), n)
			require.Error(t, f.client.SendText(ctx, f.chat, "Завтра"))
			for _, err := range []error{f.client.SendText(ctx, f.chat, "a"), f.client.SendFile(ctx, f.chat, "a", strings.NewReader("a"))} {
				assert.Equal(t, "error", outcomeOf(t, err))
			}
		})
	}
}

// The sends to one chat are made one after the other, so that a SendText and a
// SendTextConfirmed of one text do not take each other's message.
func TestSendText_BesideConfirmedSendOfTheSameText(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.market.Fail(chats.OpSendMessageToChat, chatstest.DropBefore())
		var confirmed sync.WaitGroup
		confirmed.Go(func() {
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "ok")
			assert.NoError(t, err)
		})
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, f.client.SendText(t.Context(), f.market.AddChat(chats.Chat{}), "ok"), "another chat does not wait")
		assert.Zero(t, f.posted())
		require.NoError(t, f.client.SendText(t.Context(), f.chat, "ok"))
		require.NoError(t, f.client.SendFile(t.Context(), f.chat, "a", strings.NewReader("a")))
		confirmed.Wait()
		assert.Equal(t, 3, f.posted())
	})
}

func TestSendFileConfirmed_RewindsToBeSentAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.market.Fail(chats.OpSendFileToChat, chatstest.DropBefore(), chatstest.RateLimitedParallel(), chatstest.DropBefore())
		content := seekTo(t, bytes.NewReader([]byte("0123456789")), 3)
		message, err := f.client.SendFileConfirmed(t.Context(), f.chat, "a.txt", content)
		require.NoError(t, err)
		uploads := f.market.Uploads(f.chat)
		require.Len(t, uploads, 1)
		assert.Equal(t, "3456789", string(uploads[0].Data))
		assert.Equal(t, f.market.Messages(f.chat)[1].ID, message.ID)
		assert.Equal(t, "a.txt", message.Files[0].Name)
		assert.Equal(t, 4, f.market.Calls(chats.OpSendFileToChat))
	})
}

// Another operator posts a file while this one is on its way.
func TestSendFileConfirmed_BesideAnotherFile(t *testing.T) {
	t.Parallel()
	renamed := chatstest.WithStoredFile(func(file chats.File) chats.File { file.Name = "file"; return file })
	tests := []struct {
		name    string
		options []chatstest.Option
		fault   chatstest.Fault
		want    string
		posted  int
	}{
		{"kept name, accepted", nil, chatstest.OK(), "Message", 2},
		{"kept name, lost", nil, chatstest.DropAfter(), "Message", 2},
		{"changed name, accepted", []chatstest.Option{renamed}, chatstest.OK(), "ErrUnconfirmed", 2},
		{"changed name, lost", []chatstest.Option{renamed}, chatstest.DropAfter(), "ErrOutcomeUnknown", 2},
		{"not posted", nil, chatstest.DropBefore(), "ErrOutcomeUnknown", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixtureOn(t, chatstest.NewMarket(tt.options...))
				f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
					if op == chats.OpSendFileToChat {
						f.market.AddMessage(f.chat, chats.SenderPartner, "", f.market.AddFile("other.txt", []byte("b")))
						return tt.fault
					}
					return chatstest.OK()
				})
				message, err := f.client.SendFileConfirmed(t.Context(), f.chat, "a.txt", strings.NewReader("content"))
				assert.Equal(t, tt.want, outcomeOf(t, err), err)
				assert.Equal(t, tt.posted, f.posted())
				if err == nil {
					assert.Equal(t, f.market.Messages(f.chat)[2].ID, message.ID)
				}
			})
		})
	}
}

// A file that was accepted is not shown. A new message counts as it only if it is certainly the
// shop's, has a file, and is the only one that may be it.
func TestSendFileConfirmed_OnlyAFileOfTheShopIsTakenForIt(t *testing.T) {
	t.Parallel()
	type added struct {
		sender chats.Sender
		file   bool
	}
	shop, unknown := chats.SenderPartner, chats.Sender("SHOP_ROBOT")
	tests := []struct {
		name string
		new  []added
		want string
	}{
		{"a file", []added{{shop, true}}, "Message"},
		{"a sticker", []added{{shop, false}}, "ErrUnconfirmed"},
		{"a sticker and a file", []added{{shop, false}, {shop, true}}, "ErrUnconfirmed"}, // the sticker may be what became of it
		{"two files", []added{{shop, true}, {shop, true}}, "ErrUnconfirmed"},
		{"a file of an unknown sender", []added{{unknown, true}}, "ErrUnconfirmed"},
		{"two files, one of an unknown sender", []added{{shop, true}, {unknown, true}}, "ErrUnconfirmed"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			market := chatstest.NewMarket(chatstest.WithVisibility(func(m chats.Message) time.Duration {
				if slices.ContainsFunc(m.Files, func(f chats.File) bool { return f.Name == "a.txt" }) {
					return time.Hour
				}
				return 0
			}))
			f := newFixtureOn(t, market, withContract(t, headerRewriter{market.Transport(), func(h http.Header) {
				h.Set(chatstest.FaultHeader, "unknown sender")
			}}))
			f.market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
				if op == chats.OpSendFileToChat {
					for _, m := range tt.new {
						if m.file {
							f.market.AddMessage(f.chat, m.sender, "", f.market.AddFile("other.txt", []byte("b")))
						} else {
							f.market.AddMessage(f.chat, m.sender, "")
						}
					}
				}
				return chatstest.OK()
			})
			message, err := f.client.SendFileConfirmed(t.Context(), f.chat, "a.txt", strings.NewReader("content"))
			assert.Equal(t, tt.want, outcomeOf(t, err), tt.name)
			if err == nil {
				assert.Len(t, message.Files, 1, tt.name)
			}
		})
	}
}

// After an unknown outcome, nothing is sent again while there is an unexplained message of the shop:
// the server may show a file as a text, such as a link to it, and a long text as a file.
func TestConfirmed_FilesShownAsTextsAndTextsAsFilesAreDoubt(t *testing.T) {
	t.Parallel()
	for _, isLost := range lostResponses {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
				switch {
				case !isSend(op) || !isLost(n):
					return chatstest.OK()
				case op == chats.OpSendFileToChat:
					f.market.AddMessage(f.chat, chats.SenderPartner, "Файл проверяется")
				default:
					f.market.AddMessage(f.chat, chats.SenderPartner, "", f.market.AddFile("message.txt", []byte("content")))
				}
				return chatstest.DropBefore()
			})
			for op, send := range map[chats.Operation]func() (chats.Message, error){
				chats.OpSendFileToChat: func() (chats.Message, error) {
					return f.client.SendFileConfirmed(t.Context(), f.chat, "a.txt", strings.NewReader("content"))
				},
				chats.OpSendMessageToChat: func() (chats.Message, error) { return f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра") },
			} {
				_, err := send()
				assert.Equal(t, isLost(1), errors.Is(err, chats.ErrAmbiguous), "%v", err)
				assert.Equal(t, 1, f.market.Calls(op))
			}
		})
	}
}

func TestConfirmResume_AFileShownAsATextIsDoubt(t *testing.T) {
	t.Parallel()
	const shown = "Файл проверяется"
	for _, resumes := range []bool{true, false} {
		for _, hasID := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithOddItems(func(item map[string]any) {
					if item["message"] == shown && !hasID {
						item["messageId"] = nil
					}
				})))
				f.market.AddMessage(f.chat, chats.SenderPartner, shown)
				options := []chats.ConfirmOption{chats.ConfirmAfter(f.first)}
				if resumes {
					options = append(options, chats.ConfirmResume(time.Now()))
				}
				_, err := f.client.SendFileConfirmed(t.Context(), f.chat, "a.txt", strings.NewReader("content"), options...)
				assert.Equal(t, resumes, errors.Is(err, chats.ErrAmbiguous), "%v", err)
				assert.Equal(t, !resumes, f.market.Calls(chats.OpSendFileToChat) == 1)
			})
		}
	}
}

// A message whose sender is not known may be the shop's, and so may one of Market's with the same
// content.
func TestSendTextConfirmed_UnknownSenderIsDoubt(t *testing.T) {
	t.Parallel()
	for _, sender := range []chats.Sender{"", "SHOP_ROBOT", chats.SenderMarket, chats.SenderSupport} {
		synctest.Test(t, func(t *testing.T) {
			market := chatstest.NewMarket()
			f := newFixtureOn(t, market, withContract(t, headerRewriter{market.Transport(), func(h http.Header) {
				h.Set(chatstest.FaultHeader, "unknown sender")
			}}))
			f.market.FailFunc(func(op chats.Operation, _ int) chatstest.Fault {
				if op == chats.OpSendMessageToChat {
					f.market.AddMessage(f.chat, sender, "Завтра")
					return chatstest.DropBefore()
				}
				return chatstest.OK()
			})
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
			assert.Equal(t, "ErrOutcomeUnknown", outcomeOf(t, err), err)
			assert.Equal(t, 1, f.market.Calls(chats.OpSendMessageToChat))
		})
	}
}

// What Market and its support write, and a customer's words, are no doubt.
func TestSendTextConfirmed_MessagesOfOthersAreNoDoubt(t *testing.T) {
	t.Parallel()
	for sender, text := range map[chats.Sender]string{
		chats.SenderMarket: "Оцените ответ", chats.SenderSupport: "Мы подключились к чату", chats.SenderCustomer: "Завтра",
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			for _, earlier := range []chats.Sender{chats.SenderMarket, chats.SenderCustomer} {
				f.market.AddMessage(f.chat, earlier, "Завтра")
			}
			f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
				if op == chats.OpSendMessageToChat && n == 1 {
					f.market.AddMessage(f.chat, sender, text)
					return chatstest.DropBefore()
				}
				return chatstest.OK()
			})
			message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
			require.NoError(t, err, sender)
			assert.Equal(t, chats.SenderPartner, message.Sender)
			assert.Equal(t, 2, f.market.Calls(chats.OpSendMessageToChat))
		})
	}
}

// Whatever the server does to a text: the error names the message that may be it.
func TestSendTextConfirmed_ErrorsNameTheNewMessage(t *testing.T) {
	t.Parallel()
	for want, fault := range map[error]chatstest.Fault{chats.ErrUnconfirmed: chatstest.OK(), chats.ErrOutcomeUnknown: chatstest.DropAfter()} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithStoredText(strings.ToUpper)))
			f.market.Fail(chats.OpSendMessageToChat, fault)
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
			require.ErrorIs(t, err, want)
			assert.Contains(t, err.Error(), fmt.Sprintf("new message %d may be this one", f.market.Messages(f.chat)[1].ID))
			var e *chats.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, 1, e.Attempts)
		})
	}
}

// The shop's message comes without a readable ID: it is never sent again. One that was there
// before is no doubt.
func TestSendTextConfirmed_UnreadableNewMessageIsDoubt(t *testing.T) {
	t.Parallel()
	noID := func(text string) chatstest.Option {
		return chatstest.WithOddItems(func(item map[string]any) {
			if item["message"] == text {
				delete(item, "messageId")
			}
		})
	}
	for fate, isLost := range lostResponses {
		for _, tt := range []struct {
			unreadable, want string
			posted           int
		}{
			{"Завтра", "ErrUnconfirmed", 1}, {"?", "Message", 1},
		} {
			t.Run(tt.unreadable+", response "+fate, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					f := newFixtureOn(t, chatstest.NewMarket(noID(tt.unreadable)))
					f.market.CustomerSays(f.chat, "?")
					f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
						switch {
						case op != chats.OpSendMessageToChat || !isLost(n):
							return chatstest.OK()
						case n == 1 && tt.want == "Message":
							return chatstest.DropBefore()
						}
						return chatstest.DropAfter()
					})
					want := tt.want
					if isLost(1) && want == "ErrUnconfirmed" {
						want = "ErrOutcomeUnknown"
					}
					_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
					assert.Equal(t, want, outcomeOf(t, err), err)
					assert.Equal(t, tt.posted, f.posted())
				})
			})
		}
	}
}

// A message without a readable ID, from before the send, hides none that is new.
func TestSendTextConfirmed_OldUnreadableMessageHidesNoNewOne(t *testing.T) {
	t.Parallel()
	files := func(n int) []any {
		return slices.Repeat([]any{map[string]any{"name": "f", "url": "https://example.com/f"}}, n)
	}
	for name, c := range map[string]struct {
		old, later, sent map[string]any // what the server makes of the old message before the send and after it, and of the one sent
		replay           bool           // the first page comes twice before the send
	}{
		"its page came twice": {
			old: map[string]any{"messageId": nil, "message": "***"}, later: map[string]any{"messageId": nil, "message": "***"},
			sent: map[string]any{"messageId": nil, "message": "***"}, replay: true,
		},
		"the number of files is like the end of the text": {
			old: map[string]any{"messageId": nil, "message": "a1", "payload": files(2)}, later: map[string]any{"sender": "CUSTOMER"},
			sent: map[string]any{"messageId": nil, "message": "a", "payload": files(12)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var isSent atomic.Bool
				f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithOddItems(func(item map[string]any) {
					switch text := item["message"]; {
					case text == "old" && isSent.Load():
						maps.Copy(item, c.later)
					case text == "old":
						maps.Copy(item, c.old)
					case text == "Завтра":
						maps.Copy(item, c.sent)
					default:
						return
					}
					delete(item, "createdAt")
				})))
				f.market.AddMessage(f.chat, chats.SenderPartner, "old")
				for range 150 {
					f.market.CustomerSays(f.chat, "?")
				}
				f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
					switch {
					case op == chats.OpSendMessageToChat:
						isSent.Store(true)
						return chatstest.DropAfter()
					case op == chats.OpGetChatHistory && n == 2 && c.replay:
						return chatstest.Replay()
					}
					return chatstest.OK()
				})
				_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
				require.ErrorIs(t, err, chats.ErrAmbiguous)
				assert.Equal(t, 2, f.posted(), "the old one and this one")
			})
		})
	}
}

// A SendText that is on its way when a confirmed send of the same text begins.
func TestSendTextConfirmed_WaitsForASendTextOfTheSameText(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.market.Fail(chats.OpSendMessageToChat, chatstest.Delay(5*time.Second))
		var plain sync.WaitGroup
		plain.Go(func() { assert.NoError(t, f.client.SendText(t.Context(), f.chat, "ok")) })
		synctest.Wait()
		message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "ok")
		require.NoError(t, err)
		plain.Wait()
		require.Equal(t, 2, f.posted())
		assert.Equal(t, f.market.Messages(f.chat)[2].ID, message.ID)
	})
}

// The process that sent has died, and the shop's message has no readable ID.
func TestConfirmAfter_UnreadableMessageOfAnEarlierAttemptIsDoubt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		odd     map[string]any // what the server makes of the shop's message
		before  bool           // it was posted before the message that the caller names
		resumes []bool
		want    string
	}{
		{"an id of another form", map[string]any{"messageId": "m-8f3c"}, false, []bool{false, true}, "ErrOutcomeUnknown"},
		{"no time", map[string]any{"messageId": nil, "createdAt": nil}, false, []bool{false, true}, "ErrOutcomeUnknown"},
		{"another text", map[string]any{"messageId": nil, "message": "***"}, false, []bool{false, true}, "ErrOutcomeUnknown"},
		{"no sender", map[string]any{"messageId": nil, "sender": nil}, false, []bool{false, true}, "ErrOutcomeUnknown"},
		{"the customer's", map[string]any{"messageId": nil, "sender": "CUSTOMER"}, false, []bool{false}, "Message"},
		{"nothing readable", map[string]any{"messageId": nil, "createdAt": nil, "sender": nil, "message": nil}, false, []bool{false}, "Message"},
		{"older than the named one", map[string]any{"messageId": nil}, true, []bool{false, true}, "Message"},
	}
	for _, tt := range tests {
		for _, resume := range tt.resumes {
			t.Run(fmt.Sprintf("%s, resume: %v", tt.name, resume), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithOddItems(func(item map[string]any) {
						if item["message"] == "Завтра" {
							maps.Copy(item, tt.odd)
						}
					})))
					attempted := time.Now()
					f.market.AddMessage(f.chat, chats.SenderPartner, "Завтра")
					options := []chats.ConfirmOption{chats.ConfirmAfter(f.first)}
					if tt.before {
						time.Sleep(time.Second)
						options = []chats.ConfirmOption{chats.ConfirmAfter(f.market.CustomerSays(f.chat, "?"))}
					}
					if resume {
						options = append(options, chats.ConfirmResume(attempted))
					}
					_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", options...)
					if tt.want == "Message" { // this one cannot be read either
						assert.Equal(t, 2, f.posted(), err)
						return
					}
					assert.Equal(t, tt.want, outcomeOf(t, err), err)
					require.ErrorIs(t, err, chats.ErrAmbiguous)
					assert.Equal(t, 1, f.posted())
				})
			})
		}
	}
}

// The IDs of the shop's messages lie below that of the message which the caller named.
func TestConfirmResume_OtherSendersClockIsAhead(t *testing.T) {
	t.Parallel()
	for name, clock := range map[string]shiftedIDs{
		"support is hours ahead": {sender: "SUPPORT", by: 3 * time.Hour}, "support is days ahead": {sender: "SUPPORT", by: 72 * time.Hour},
		"the shop is behind": {sender: "PARTNER", by: -3 * time.Hour}, "in step": {sender: "PARTNER"},
	} {
		for fate, fault := range map[string]chatstest.Fault{"posted": chatstest.DropAfter(), "not posted": chatstest.DropBefore()} {
			t.Run(name+", "+fate, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					market, clock := chatstest.NewMarket(), clock
					clock.next = market.Transport()
					f := newFixtureOn(t, market, withContract(t, clock))
					f.market.AddMessage(f.chat, chats.SenderPartner, "Другой оператор")
					if time.Sleep(100 * time.Millisecond); clock.by != 0 {
						time.Sleep(time.Second) // the precision of the times, by which messages are compared
					}
					last := f.market.AddMessage(f.chat, chats.SenderSupport, "Здравствуйте")
					if clock.sender == "SUPPORT" {
						last += chats.MessageID(clock.by.Microseconds())
					}
					for n := range 2 { // the second time it is a wanted repetition
						f.market.Fail(chats.OpSendMessageToChat, fault)
						var failed *chats.Error
						require.ErrorAs(t, f.client.SendText(t.Context(), f.chat, "Завтра"), &failed)
						restarted := f.market.Client(withContract(t, clock))
						_, err := restarted.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(last), chats.ConfirmResume(failed.SentAt))
						require.NoError(t, err)
						assert.Equal(t, 2+n, f.posted())
						if clock.by == 0 { // an ID above last counts at any time
							return
						}
						time.Sleep(10 * time.Minute)
					}
				})
			})
		}
	}
}

// The client that made an earlier attempt knows when it was, also after the search time.
func TestConfirmAfter_OtherSendersClockIsAhead(t *testing.T) {
	t.Parallel()
	for _, later := range []time.Duration{0, 20 * time.Second, 50 * time.Minute} {
		for name, sender := range map[string]string{"that message is shown": "SUPPORT", "it is not": ""} {
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				f := newFixtureOn(t, market, withContract(t, shiftedIDs{sender: sender, by: 3 * time.Hour, next: market.Transport()}))
				time.Sleep(time.Second)
				last := f.market.AddMessage(f.chat, chats.SenderSupport, "Здравствуйте") + chats.MessageID((3 * time.Hour).Microseconds())
				time.Sleep(time.Second)
				f.market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
				require.ErrorIs(t, f.client.SendText(t.Context(), f.chat, "Завтра"), chats.ErrOutcomeUnknown)
				time.Sleep(later)
				_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(last))
				require.NoError(t, err)
				assert.Equal(t, 1, f.posted(), "%s later, %s", later, name)
			})
		}
	}
}

// What SendText has posted is not visible yet. It is not mistaken for the message of a confirmed
// send, even if there are several within the precision of the times, or after a wait.
func TestSendTextConfirmed_SeveralSendsOfTheSameTextBefore(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(context.Context, *fixture) (posted int, err error){
		"three SendTexts": func(ctx context.Context, f *fixture) (int, error) {
			var all error
			for range 3 {
				all = errors.Join(all, f.client.SendText(ctx, f.chat, "Да"))
				time.Sleep(100 * time.Millisecond)
			}
			return 3, all
		},
		"a SendText that waited": func(ctx context.Context, f *fixture) (int, error) {
			f.market.Fail(chats.OpSendMessageToChat, chatstest.RateLimitedHourly(time.Now().Add(25*time.Second)))
			return 1, f.client.SendText(ctx, f.chat, "Да")
		},
		"a SendText after a confirmed send": func(ctx context.Context, f *fixture) (int, error) {
			f.market.SetOptions(chatstest.WithLatency(20 * time.Millisecond))
			_, err := f.client.SendTextConfirmed(ctx, f.chat, "Да")
			f.market.SetOptions(chatstest.WithLatency(20*time.Millisecond), visibleAfter(870*time.Millisecond))
			return 2, errors.Join(err, f.client.SendText(ctx, f.chat, "Да"))
		},
		"a confirmed send that ended early": func(ctx context.Context, f *fixture) (int, error) {
			ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
			_, err := f.client.SendTextConfirmed(ctx, f.chat, "Да")
			if errors.Is(err, chats.ErrUnconfirmed) {
				err = nil
			}
			return 1, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithLatency(20*time.Millisecond), visibleAfter(870*time.Millisecond)))
				posted, err := before(t.Context(), f)
				require.NoError(t, err)
				f.market.Fail(chats.OpSendMessageToChat, chatstest.DropBefore())
				message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Да")
				require.NoError(t, err)
				time.Sleep(time.Minute)
				assert.Equal(t, posted+1, f.posted())
				all := f.market.Messages(f.chat)
				assert.Equal(t, all[len(all)-1].ID, message.ID)
			})
		})
	}
}

// A send lasted for 20 s under a policy with the longest search time, at the end of which another
// text is sent. When it began is remembered for as long as when it ended.
func TestSendTextConfirmed_ALongSendOfTheSameTextBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithLatency(20*time.Second), visibleAfter(10*time.Minute)))
		client := f.market.Client(chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1000, BaseDelay: time.Second, MaxDelay: time.Minute}))
		began := time.Now()
		require.NoError(t, client.SendText(t.Context(), f.chat, "Да"))
		f.market.SetOptions(visibleAfter(0))
		time.Sleep(time.Until(began.Add(10*time.Minute - time.Second)))
		f.market.SetOptions(chatstest.WithLatency(0))
		time.Sleep(2 * time.Second)
		require.NoError(t, client.SendText(t.Context(), f.chat, "Нет"))
		f.market.Fail(chats.OpSendMessageToChat, chatstest.DropBefore())
		_, err := client.SendTextConfirmed(t.Context(), f.chat, "Да")
		require.NoError(t, err)
		time.Sleep(time.Hour)
		assert.Equal(t, 3, f.posted())
	})
}

// visibleAfter shows the shop's messages d after they were posted.
func visibleAfter(d time.Duration) chatstest.Option {
	return chatstest.WithVisibility(func(m chats.Message) time.Duration {
		if m.Sender == chats.SenderPartner {
			return d
		}
		return 0
	})
}

// The client remembers an unknown outcome for an hour. After that, it does not matter to a call that
// names a newer message, whether or not the client has made other calls in the meantime.
func TestConfirmAfter_AnUnknownOutcomeIsForgottenAfterAnHour(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]error{59 * time.Minute: chats.ErrAmbiguous, 61 * time.Minute: nil} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			f.market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
			require.ErrorIs(t, f.client.SendText(t.Context(), f.chat, "Завтра"), chats.ErrOutcomeUnknown)
			last := f.market.CustomerSays(f.chat, "Точно?")
			time.Sleep(wait)
			f.market.AddMessage(f.chat, chats.SenderPartner, "", f.market.AddFile("a.jpg", []byte("content")))
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", chats.ConfirmAfter(last))
			require.ErrorIs(t, err, want, wait)
		})
	}
}
