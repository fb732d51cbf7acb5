package chats_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

func TestSendTextConfirmed_ReturnsStoredMessage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра после обеда")
	require.NoError(t, err)
	all := f.market.Messages(f.chat)
	assert.Equal(t, all[len(all)-1].ID, message.ID)
	assert.Equal(t, chats.SenderPartner, message.Sender)
	assert.Equal(t, "Завтра после обеда", message.Text)
	assert.Equal(t, 2, f.market.Calls(chats.OpGetChatHistory))
	assert.Equal(t, 1, f.market.Calls(chats.OpSendMessageToChat))
}

func TestSendTextConfirmed_ConfirmAfterSkipsOlderHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for range 350 {
			f.market.CustomerSays(f.chat, "?")
		}
		time.Sleep(25 * time.Hour)
		last := f.market.CustomerSays(f.chat, "?")
		message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Спасибо!", chats.ConfirmAfter(last))
		require.NoError(t, err)
		assert.Greater(t, message.ID, last)
		assert.Equal(t, 2, f.market.Calls(chats.OpGetChatHistory))
		assert.Equal(t, 1, f.posted())
	})
}

func TestSendTextConfirmed_SearchesBeforeRetry(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		faults []chatstest.Fault
		sends  int
	}{
		{"posted, response lost", []chatstest.Fault{chatstest.DropAfter()}, 1},
		{"posted, response 500", []chatstest.Fault{chatstest.StatusAfter(500, "")}, 1},
		{"posted, unreadable response", []chatstest.Fault{chatstest.Malformed("<html>")}, 1},
		{"posted at the end of the server's ten seconds", []chatstest.Fault{chatstest.ProcessLate(10 * time.Second)}, 1},
		{"not posted", []chatstest.Fault{chatstest.DropBefore()}, 2},
		{"not posted, response 500", []chatstest.Fault{chatstest.Status(500, "")}, 2},
		{"not posted twice", []chatstest.Fault{chatstest.DropBefore(), chatstest.HTML(502)}, 3},
		{"rate limited, then posted", []chatstest.Fault{chatstest.RateLimitedParallel(), chatstest.DropAfter()}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.market.Fail(chats.OpSendMessageToChat, tt.faults...)
				message, err := f.client.SendTextConfirmed(t.Context(), f.chat, " Завтра\n после  обеда ")
				require.NoError(t, err)
				assert.Equal(t, tt.sends, f.market.Calls(chats.OpSendMessageToChat))
				time.Sleep(time.Minute) // until late requests are processed
				all := f.market.Messages(f.chat)
				require.Len(t, all, 2)
				assert.Equal(t, all[1].ID, message.ID)
			})
		})
	}
}

func TestSendTextConfirmed_IgnoresWhitespaceDifferences(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		// The request is lost, and a message with the trimmed text is added instead: to
		// the client it looks as if the server had trimmed the text.
		f.market.Fail(chats.OpSendMessageToChat, chatstest.DropBefore())
		go func() {
			time.Sleep(2 * time.Second)
			f.market.AddMessage(f.chat, chats.SenderPartner, "Доброе утро")
		}()
		message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "  Доброе утро\n")
		require.NoError(t, err)
		assert.Equal(t, "Доброе утро", message.Text)
		assert.Equal(t, 1, f.market.Calls(chats.OpSendMessageToChat))
	})
}

func TestSendTextConfirmed_IgnoresCustomerMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.market.Fail(chats.OpSendMessageToChat, chatstest.DropBefore())
		go func() {
			time.Sleep(time.Second)
			f.market.CustomerSays(f.chat, "Спасибо!")
		}()
		message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Спасибо!")
		require.NoError(t, err)
		assert.Equal(t, chats.SenderPartner, message.Sender)
		assert.Equal(t, 1, f.posted())
	})
}

// confirmFailure is a confirmed send that ends in an error.
type confirmFailure struct {
	name    string
	options []chats.Option
	sends   []chatstest.Fault // of sendMessageToChat
	reads   []chatstest.Fault // of getChatHistory
	cancel  time.Duration     // when the context is cancelled; 0: never

	wantErrs     []error // exactly these of ErrOutcomeUnknown, ErrUnconfirmed, ErrServer, ErrForbidden, ErrRateLimited and context.Canceled
	wantText     string  // part of the error's text
	wantSends    int
	wantAttempts int           // of the error; 0: not checked
	wantReads    int           // 0: not checked
	wantTime     time.Duration // 0: not checked
}

func confirmFailures() []confirmFailure {
	lost := []chatstest.Fault{chatstest.DropAfter()}
	accepted := []chatstest.Fault{chatstest.Status(200, `{"status":"OK"}`)} // by a gateway that passes nothing on
	unreadable := append([]chatstest.Fault{chatstest.OK()}, times(500, chatstest.Status(503, ""))...)
	retry := func(policy chats.RetryPolicy) []chats.Option { return []chats.Option{chats.WithRetry(policy)} }
	unknown, unconfirmed, server, forbidden, limited := chats.ErrOutcomeUnknown, chats.ErrUnconfirmed, chats.ErrServer, chats.ErrForbidden, chats.ErrRateLimited
	const search = chats.SearchTime
	return []confirmFailure{
		{
			name: "history cannot be read after the send", sends: lost, reads: unreadable,
			wantErrs: []error{unknown, server}, wantSends: 1, // it is never sent again blindly
		},
		{
			name: "history cannot be read for minutes", options: []chats.Option{noRetry}, sends: lost, reads: unreadable,
			wantErrs: []error{unknown, server}, wantSends: 1,
			wantReads: 1 + 5 + 6, wantTime: search + (16+4*30)*time.Second, // six more reads after the search
		},
		{
			name: "history cannot be read before the send", reads: times(9, chatstest.Status(403, "")),
			wantErrs: []error{forbidden}, wantSends: 0, wantReads: 2,
		},
		{
			name: "history cannot be read before the send for a while", reads: times(500, chatstest.Status(503, "")),
			wantErrs: []error{server}, wantSends: 0, wantReads: 1 + 6,
		},
		{
			name: "accepted but never visible", sends: accepted,
			wantErrs: []error{unconfirmed}, wantText: "accepted", wantSends: 1, // what was accepted is not sent again
			wantReads: 1 + 6, wantTime: search, // one before the send, and one after each delay
		},
		{
			name: "delays that do not add up to the search time", sends: accepted,
			options:  retry(chats.RetryPolicy{MaxAttempts: 2, BaseDelay: 10 * time.Second}),
			wantErrs: []error{unconfirmed}, wantSends: 1, wantTime: search,
		},
		{
			name: "every attempt is lost", sends: times(9, chatstest.DropBefore()),
			options:  retry(chats.RetryPolicy{MaxAttempts: 3}),
			wantErrs: []error{unknown}, wantSends: 3, wantAttempts: 3, // MaxAttempts counts the sends
		},
		{
			name:     "rate limited after a lost attempt that the search did not find",
			sends:    append([]chatstest.Fault{chatstest.DropBefore()}, times(9, chatstest.RateLimitedParallel())...),
			options:  retry(chats.RetryPolicy{MaxAttempts: 3}),
			wantErrs: []error{unknown, limited}, wantSends: 3, // MaxAttempts counts the sends
		},
		{
			name: "context is done during the search", sends: []chatstest.Fault{chatstest.DropBefore()}, cancel: 3 * time.Second,
			wantErrs: []error{unknown, context.Canceled}, wantSends: 1,
		},
	}
}

func TestSendTextConfirmed_Failures(t *testing.T) {
	t.Parallel()
	for _, tt := range confirmFailures() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, tt.options...)
				f.market.Fail(chats.OpSendMessageToChat, tt.sends...)
				f.market.Fail(chats.OpGetChatHistory, tt.reads...)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.cancel > 0 {
					defer time.AfterFunc(tt.cancel, cancel).Stop()
				}
				began := time.Now()
				_, err := f.client.SendTextConfirmed(ctx, f.chat, "Здесь?")
				tt.check(t, f, err, time.Since(began))
			})
		})
	}
}

func (tt *confirmFailure) check(t *testing.T, f *fixture, err error, took time.Duration) {
	t.Helper()
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	for _, sentinel := range []error{
		chats.ErrOutcomeUnknown, chats.ErrUnconfirmed, chats.ErrServer, chats.ErrForbidden, chats.ErrRateLimited, context.Canceled,
	} {
		assert.Equal(t, slices.Contains(tt.wantErrs, sentinel), errors.Is(err, sentinel), "%v: %v", sentinel, err)
	}
	assert.Contains(t, err.Error(), tt.wantText)
	assert.Equal(t, tt.wantSends, f.market.Calls(chats.OpSendMessageToChat))
	if tt.wantAttempts > 0 {
		assert.Equal(t, tt.wantAttempts, e.Attempts)
	}
	if tt.wantReads > 0 {
		assert.Equal(t, tt.wantReads, f.market.Calls(chats.OpGetChatHistory))
	}
	if tt.wantTime > 0 {
		assert.Equal(t, tt.wantTime, took)
	}
}

func TestSendTextConfirmed_RefusalIsFinal(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.market.FinishChat(f.chat)
	_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Поздно")
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, 400, e.StatusCode)
	assert.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
	assert.Equal(t, 1, f.market.Calls(chats.OpSendMessageToChat))
}

func TestSendTextConfirmed_InvalidArgumentSendsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.client.SendTextConfirmed(t.Context(), f.chat, " \n ")
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
	_, err = f.client.SendTextConfirmed(t.Context(), f.chat, "a", chats.ConfirmAfter(-1))
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
	_, err = f.client.SendTextConfirmed(t.Context(), 0, "a")
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
	assert.Zero(t, f.market.Calls(chats.OpGetChatHistory))
}

func TestSendTextConfirmed_SearchesBeforeRetryUnderAnyPolicy(t *testing.T) {
	t.Parallel()
	for _, policy := range []chats.RetryPolicy{
		{MaxAttempts: math.MaxInt}, {MaxAttempts: 3}, {MaxAttempts: 2, BaseDelay: time.Millisecond, MaxDelay: time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, chats.WithRetry(policy))
			f.market.Fail(chats.OpSendMessageToChat, chatstest.ProcessLate(9*time.Second))
			message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Один раз")
			require.NoError(t, err)
			assert.Less(t, f.market.Calls(chats.OpGetChatHistory), 20)
			time.Sleep(time.Minute) // until late requests are processed
			assert.Equal(t, 1, f.posted(), "even a short policy searches long enough")
			all := f.market.Messages(f.chat)
			assert.Equal(t, all[len(all)-1].ID, message.ID)
		})
	}
}

func TestSendTextConfirmed_ConfirmAfterUnknownIDPostsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for _, unknown := range []chats.MessageID{f.first + 1, f.first + 86_400_000_000, math.MaxInt64} {
			before := f.posted()
			f.market.Fail(chats.OpSendMessageToChat, times(3, chatstest.DropAfter())...)
			message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Один раз", chats.ConfirmAfter(unknown))
			require.NoError(t, err)
			assert.Equal(t, before+1, f.posted())
			all := f.market.Messages(f.chat)
			assert.Equal(t, all[len(all)-1].ID, message.ID, "not the same text of an earlier call")
			f.market.Fail(chats.OpSendMessageToChat)
		}
	})
}

// Each of three goroutines that send the same text must find its own message.
func TestSendTextConfirmed_ConcurrentSameTextIsPostedEachTime(t *testing.T) {
	t.Parallel()
	for _, fault := range []chatstest.Fault{chatstest.OK(), chatstest.DropBefore(), chatstest.DropAfter()} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixtureOn(t, chatstest.NewMarket(chatstest.WithLatency(50*time.Millisecond)))
			f.market.Fail(chats.OpSendMessageToChat, fault)
			var calls sync.WaitGroup
			ids := make([]chats.MessageID, 3)
			for i := range ids {
				calls.Go(func() {
					message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Спасибо!")
					assert.NoError(t, err)
					ids[i] = message.ID
				})
			}
			calls.Wait()
			assert.Equal(t, 3, f.posted())
			slices.Sort(ids)
			assert.Len(t, slices.Compact(ids), 3)
		})
	}
}

func TestSendTextConfirmed_WaitForSameTextEndsWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.market.Fail(chats.OpSendMessageToChat, chatstest.SlowHeaders(20*time.Second))
		var first sync.WaitGroup
		first.Go(func() { _, _ = f.client.SendTextConfirmed(t.Context(), f.chat, "Спасибо!") })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := f.client.SendTextConfirmed(ctx, f.chat, "Спасибо!")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
		_, err = f.client.SendTextConfirmed(t.Context(), f.chat, "Пожалуйста!")
		require.NoError(t, err, "another text does not wait")
		first.Wait()
		assert.Equal(t, 2, f.posted())
	})
}

// A search that cannot succeed ends at once instead of going on for minutes.
func TestSendTextConfirmed_SearchStopsOnRefusal(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]chatstest.Fault{
		"forbidden": chatstest.Status(403, ""), "not found": chatstest.Status(404, envelope),
		"quota exhausted": chatstest.RateLimitedHourly(time.Date(2000, 1, 1, 0, 50, 0, 0, time.UTC)), // the bubble begins at midnight
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.market.Fail(chats.OpGetChatHistory, append([]chatstest.Fault{chatstest.OK()}, times(500, fault)...)...)
				f.market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
				began := time.Now()
				_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Здесь?")
				require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
				assert.LessOrEqual(t, f.market.Calls(chats.OpGetChatHistory), 3, "a since that is not found is tried without it")
				assert.Less(t, time.Since(began), time.Second)
				var e *chats.Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, errors.Is(err, chats.ErrRateLimited), e.Limit != nil, "the limit of the search is that of the call")
				assert.LessOrEqual(t, strings.Count(err.Error(), "reached, try again"), 1)
			})
		})
	}
}

// A gateway's 404 during a deployment says nothing about the history.
func TestSendTextConfirmed_SearchOutlastsADeployment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.market.Fail(chats.OpGetChatHistory, append([]chatstest.Fault{chatstest.OK()}, times(8, chatstest.HTML(404))...)...)
		f.market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
		message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Здесь?")
		require.NoError(t, err)
		assert.Equal(t, "Здесь?", message.Text)
		assert.Equal(t, 1, f.posted())
	})
}

func TestSendTextConfirmed_ErrorDescribesLastAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, chats.WithRetry(chats.RetryPolicy{MaxAttempts: 3}))
		f.market.Fail(chats.OpSendMessageToChat, chatstest.Refused(), chatstest.RateLimitedParallel(), chatstest.Status(200, "<html>"))
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Здесь?")
		var e *chats.Error
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
		require.ErrorIs(t, err, chats.ErrProtocol)
		assert.Equal(t, 200, e.StatusCode)
		assert.NotEmpty(t, e.TraceParent)
		assert.Equal(t, 3, e.Attempts, "MaxAttempts also counts the sends that were certainly not processed")
		assert.Equal(t, 3, f.market.Calls(chats.OpSendMessageToChat))
	})
}

// A gateway whose rule refuses the text refuses it every time.
func TestSendTextConfirmed_GatewaysRefusalIsRepeatedOnce(t *testing.T) {
	t.Parallel()
	for status, sends := range map[int]int{400: 2, 405: 2, 451: 2, 404: 6, 408: 6, 499: 6, 500: 6} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			f.market.Fail(chats.OpSendMessageToChat, times(sends, chatstest.HTML(status))...)
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
			require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
			assert.Equal(t, sends, f.market.Calls(chats.OpSendMessageToChat), status)

			f.market.Fail(chats.OpSendMessageToChat, chatstest.HTML(status))
			_, err = f.client.SendTextConfirmed(t.Context(), f.chat, "Послезавтра")
			require.NoError(t, err, "one refusal may be a whim")
		})
	}
}
