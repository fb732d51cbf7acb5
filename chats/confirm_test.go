package chats_test

import (
	"context"
	"math"
	"slices"
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
	f := newFixture(t)
	var last chats.MessageID
	for range 350 {
		last = f.market.CustomerSays(f.chat, "?")
	}
	// The same words stand there already, after the message that the caller knows:
	// they are not what this call posts.
	require.NoError(t, f.client.SendText(t.Context(), f.chat, "Спасибо!"))
	earlier := f.market.Messages(f.chat)[351].ID

	message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Спасибо!", chats.ConfirmAfter(last))
	require.NoError(t, err)
	assert.Greater(t, message.ID, earlier)
	assert.Equal(t, 2, f.market.Calls(chats.OpGetChatHistory))
	assert.Equal(t, 2, f.posted())
}

func TestSendTextConfirmed_SearchesBeforeRetry(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		faults []chatstest.Fault
		sends  int
	}{
		{"posted, the answer lost", []chatstest.Fault{chatstest.DropAfter()}, 1},
		{"posted, and a 500", []chatstest.Fault{chatstest.StatusAfter(500, "")}, 1},
		{"posted, and an answer nobody can read", []chatstest.Fault{chatstest.Malformed("<html>")}, 1},
		{"posted at the end of the server's ten seconds", []chatstest.Fault{chatstest.ProcessLate(10 * time.Second)}, 1},
		{"not posted", []chatstest.Fault{chatstest.DropBefore()}, 2},
		{"not posted, and a 500", []chatstest.Fault{chatstest.Status(500, "")}, 2},
		{"not posted twice", []chatstest.Fault{chatstest.DropBefore(), chatstest.HTML(502)}, 3},
		{"limits on the way", []chatstest.Fault{chatstest.RateLimitedParallel(), chatstest.DropAfter()}, 2},
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
		// What the server stores is not what was sent: another post with the trimmed
		// text stands in for it, and the request itself gets lost.
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

func TestSendTextConfirmed_Failures(t *testing.T) {
	t.Parallel()
	t.Run("a refusal is final, and nothing is posted", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.market.FinishChat(f.chat)
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Поздно")
		var e *chats.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, 400, e.StatusCode)
		assert.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
		assert.Equal(t, 1, f.market.Calls(chats.OpSendMessageToChat))
	})
	t.Run("the history cannot be read afterwards", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			f.market.Fail(chats.OpGetChatHistory, append([]chatstest.Fault{chatstest.OK()}, times(500, chatstest.Status(503, ""))...)...)
			f.market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Здесь?")
			require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
			require.ErrorIs(t, err, chats.ErrServer)
			assert.Equal(t, 1, f.market.Calls(chats.OpSendMessageToChat), "it never sends blindly")
		})
	})
	t.Run("the history cannot be read for minutes", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, noRetry)
			f.market.Fail(chats.OpGetChatHistory, append([]chatstest.Fault{chatstest.OK()}, times(500, chatstest.Status(503, ""))...)...)
			f.market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
			began := time.Now()
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Здесь?")
			require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
			assert.Equal(t, 1+5+6, f.market.Calls(chats.OpGetChatHistory), "six looks after the 15.5 s of a look")
			assert.Equal(t, 15500*time.Millisecond+(16+4*30)*time.Second, time.Since(began))
		})
	})
	t.Run("the history cannot be read beforehand", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.market.Fail(chats.OpGetChatHistory, chatstest.Status(403, ""))
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Здесь?")
		require.ErrorIs(t, err, chats.ErrForbidden)
		assert.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
		assert.Zero(t, f.market.Calls(chats.OpSendMessageToChat))
	})
	t.Run("accepted, but it never shows", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			// 200 from a gateway that passes nothing on.
			f.market.Fail(chats.OpSendMessageToChat, chatstest.Status(200, `{"status":"OK"}`))
			began := time.Now()
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Здесь?")
			require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
			assert.Contains(t, err.Error(), "accepted")
			assert.Equal(t, 15500*time.Millisecond, time.Since(began))
			assert.Equal(t, 1+6, f.market.Calls(chats.OpGetChatHistory), "one before, and one after each pause")
			assert.Equal(t, 1, f.market.Calls(chats.OpSendMessageToChat), "what was accepted is not sent again")
		})
	})
	t.Run("never through", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, chats.WithRetry(chats.RetryPolicy{MaxAttempts: 3}))
			f.market.Fail(chats.OpSendMessageToChat, times(9, chatstest.DropBefore())...)
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Здесь?")
			var e *chats.Error
			require.ErrorAs(t, err, &e)
			require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
			assert.Equal(t, 3, e.Attempts)
			assert.Equal(t, 3, f.market.Calls(chats.OpSendMessageToChat), "MaxAttempts counts the sends")
		})
	})
	t.Run("pauses that do not add up to the time of a look", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, chats.WithRetry(chats.RetryPolicy{MaxAttempts: 2, BaseDelay: 10 * time.Second}))
			f.market.Fail(chats.OpSendMessageToChat, chatstest.Status(200, `{"status":"OK"}`))
			began := time.Now()
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Здесь?")
			require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
			assert.Equal(t, 15500*time.Millisecond, time.Since(began))
		})
	})
	t.Run("limited after it was lost once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, chats.WithRetry(chats.RetryPolicy{MaxAttempts: 3}))
			f.market.Fail(chats.OpSendMessageToChat, append([]chatstest.Fault{chatstest.DropBefore()}, times(9, chatstest.RateLimitedParallel())...)...)
			_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Здесь?")
			require.ErrorIs(t, err, chats.ErrRateLimited)
			require.NotErrorIs(t, err, chats.ErrOutcomeUnknown, "it was looked for")
			assert.Equal(t, 3, f.market.Calls(chats.OpSendMessageToChat), "MaxAttempts counts the sends")
		})
	})
	t.Run("the context ends while it looks", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			f.market.Fail(chats.OpSendMessageToChat, chatstest.DropBefore())
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(3*time.Second, cancel)
			_, err := f.client.SendTextConfirmed(ctx, f.chat, "Здесь?")
			require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
			require.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, 1, f.market.Calls(chats.OpSendMessageToChat))
		})
	})
	t.Run("bad arguments", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, " \n ")
		require.ErrorIs(t, err, chats.ErrInvalidArgument)
		_, err = f.client.SendTextConfirmed(t.Context(), f.chat, "a", chats.ConfirmAfter(-1))
		require.ErrorIs(t, err, chats.ErrInvalidArgument)
		_, err = f.client.SendTextConfirmed(t.Context(), 0, "a")
		require.ErrorIs(t, err, chats.ErrInvalidArgument)
		assert.Zero(t, f.market.Calls(chats.OpGetChatHistory))
	})
}

// A program that retries until its context ends.
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
			assert.Equal(t, 1, f.posted(), "a short policy looks long enough, too")
			all := f.market.Messages(f.chat)
			assert.Equal(t, all[len(all)-1].ID, message.ID)
		})
	}
}

func TestSendTextConfirmed_ConfirmAfterUnknownIDPostsOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for _, made := range []chats.MessageID{f.first + 1, f.first + 86_400_000_000, math.MaxInt64} {
			before := f.posted()
			f.market.Fail(chats.OpSendMessageToChat, times(3, chatstest.DropAfter())...)
			message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Один раз", chats.ConfirmAfter(made))
			require.NoError(t, err)
			assert.Equal(t, before+1, f.posted())
			all := f.market.Messages(f.chat)
			assert.Equal(t, all[len(all)-1].ID, message.ID, "and not the same words of an earlier call")
			f.market.Fail(chats.OpSendMessageToChat)
		}
	})
}

// Two goroutines with the same words: neither takes the other's message for its own.
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
		require.NoError(t, err, "other words do not wait")
		first.Wait()
		assert.Equal(t, 2, f.posted())
	})
}

// What cannot succeed is not tried for minutes.
func TestSendTextConfirmed_SearchStopsOnRefusal(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]chatstest.Fault{
		"forbidden": chatstest.Status(403, ""), "not there": chatstest.Status(404, ""),
		"a used-up hour": chatstest.RateLimitedHourly(time.Date(2000, 1, 1, 0, 50, 0, 0, time.UTC)), // the bubble begins at midnight
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
				assert.Equal(t, 2, f.market.Calls(chats.OpGetChatHistory))
				assert.Less(t, time.Since(began), time.Second)
			})
		})
	}
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
		assert.Equal(t, 3, e.Attempts, "MaxAttempts counts all sends, those that were certainly not processed, too")
		assert.Equal(t, 3, f.market.Calls(chats.OpSendMessageToChat))
	})
}
