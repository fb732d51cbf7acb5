package chats_test

import (
	"context"
	"math"
	"net/http"
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

func TestRetry_BackoffGrowsIsJitteredAndBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		maxDelays := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second}
		longest := make([]time.Duration, len(maxDelays))
		shortest := make([]time.Duration, len(maxDelays))
		f := newFixture(t,
			chats.WithRetry(chats.RetryPolicy{MaxAttempts: 6, BaseDelay: time.Second, MaxDelay: 5 * time.Second}),
			chats.WithHook(func(_ context.Context, attempt chats.Attempt) {
				if i := attempt.Number - 2; i >= 0 {
					longest[i] = max(longest[i], attempt.Wait)
					shortest[i] = min(shortest[i], attempt.Wait)
				}
			}))
		copy(shortest, maxDelays)
		for range 200 {
			f.market.Fail(chats.OpGetChat, times(6, chatstest.Status(500, ""))...)
			require.ErrorIs(t, f.call(t.Context(), chats.OpGetChat), chats.ErrServer)
		}
		for i, maxDelay := range maxDelays {
			assert.LessOrEqual(t, longest[i], maxDelay)
			assert.Greater(t, longest[i], maxDelay*9/10, "one of 200 delays is close to the maximum")
			assert.Less(t, shortest[i], maxDelay/10, "one of 200 delays is close to zero")
		}
	})
}

func TestRetry_BackoffEndsWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Hour, MaxDelay: time.Hour}))
		f.market.Fail(chats.OpGetChat, chatstest.Status(500, envelope))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		err := f.call(ctx, chats.OpGetChat)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, chats.ErrServer, "the failure before the backoff is kept")
		assert.LessOrEqual(t, time.Since(began), time.Second)
	})
}

func TestRetry_NoBackoffBeyondDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, chats.WithRetry(chats.RetryPolicy{BaseDelay: 1000 * time.Hour, MaxDelay: 1000 * time.Hour}))
		f.market.Fail(chats.OpGetChat, chatstest.Status(500, envelope))
		f.market.Fail(chats.OpGetChats, chatstest.Refused())
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		for _, op := range []chats.Operation{chats.OpGetChat, chats.OpGetChats} {
			began := time.Now()
			err := f.call(ctx, op)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Contains(t, err.Error(), "after the context's deadline")
			assert.Zero(t, time.Since(began), "fails now, not at the deadline")
			var e *chats.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, 1, e.Attempts)
		}
	})
}

func TestContext_EndedBeforeCallSendsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, op := range chats.Operations() {
		err := f.call(ctx, op)
		require.ErrorIs(t, err, context.Canceled, op)
		assert.NotErrorIs(t, err, chats.ErrOutcomeUnknown, op)
		assert.Zero(t, f.market.Calls(op), op)
	}
}

func TestSendText_CancelledInFlightIsOutcomeUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.market.Fail(chats.OpSendMessageToChat, chatstest.SlowHeaders(10*time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := f.call(ctx, chats.OpSendMessageToChat)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
		assert.Equal(t, 1, f.posted())
	})
}

func TestContext_CauseIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.market.Fail(chats.OpGetChat, chatstest.Delay(10*time.Second))
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errLimiter) })
		err := f.call(ctx, chats.OpGetChat)
		require.ErrorIs(t, err, context.Canceled)
	})
	// net/http returns the cause only.
	ctx, cancel := context.WithCancelCause(t.Context())
	client := chatstest.NewMarket().Client(chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		cancel(errLimiter)
		return nil, context.Cause(req.Context())
	})}))
	err := client.SendText(ctx, 1, "Да")
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errLimiter)
}

func TestContext_CancelledReadIsNotErrProtocol(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.market.Fail(chats.OpGetChat, chatstest.SlowBody(10*time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := f.call(ctx, chats.OpGetChat)
		require.ErrorIs(t, err, context.Canceled)
		assert.NotErrorIs(t, err, chats.ErrProtocol)
	})
}

// The context may end while the credential source runs.
func TestSendText_CancelledBeforeSendingIsNotOutcomeUnknown(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	for name, transport := range map[string]http.RoundTripper{"market": market.Transport(), "net/http": &http.Transport{}} {
		ctx, cancel := context.WithCancel(t.Context())
		attempts := 0
		client, err := chats.New(market.Business(), chats.APIKeySource(func(context.Context) (string, error) {
			cancel()
			return market.Key(), nil
		}), chats.WithHTTPClient(&http.Client{Transport: transport}), chats.WithBaseURL("http://127.0.0.1:1"),
			chats.WithHook(func(context.Context, chats.Attempt) { attempts++ }))
		require.NoError(t, err)
		err = client.SendText(ctx, 1, "?")
		require.ErrorIs(t, err, context.Canceled, name)
		require.NotErrorIs(t, err, chats.ErrOutcomeUnknown, name)
		assert.Zero(t, attempts)
	}
}

// The error describes the last attempt even if the next one is refused locally.
func TestRetry_ErrorKeepsLastResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.market.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(time.Now().Add(20*time.Second)))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var e *chats.Error
		err := f.call(ctx, chats.OpGetChat)
		require.ErrorAs(t, err, &e)
		assert.Equal(t, 420, e.StatusCode)
		assert.NotEmpty(t, e.TraceParent)
		assert.NotEmpty(t, e.Details)
		assert.Equal(t, 1, strings.Count(err.Error(), "limit of 1000 reached"), "%v", err)
	})
	synctest.Test(t, func(t *testing.T) {
		for status, fault := range map[int]chatstest.Fault{500: chatstest.Status(500, envelope), 0: chatstest.DropBefore()} {
			limiter := &countingLimiter{}
			limiter.wait = func(context.Context) error {
				if limiter.calls.Load() > 1 {
					return errLimiter
				}
				return nil
			}
			f := newFixture(t, chats.WithLimiter(limiter))
			f.market.Fail(chats.OpGetChat, fault)
			err := f.call(t.Context(), chats.OpGetChat)
			require.ErrorIs(t, err, errLimiter)
			var e *chats.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, 1, e.Attempts)
			assert.Equal(t, status, e.StatusCode)
		}
	})
	// Another call exhausts the quota while this one backs off.
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Second, MaxDelay: time.Second}))
		until := time.Now().Add(40 * time.Minute)
		for _, fault := range []chatstest.Fault{chatstest.Status(500, envelope), chatstest.DropBefore()} {
			f.market.Fail(chats.OpGetChat, fault, chatstest.RateLimitedHourly(until))
			var other sync.WaitGroup
			other.Go(func() { time.Sleep(time.Nanosecond); _ = f.call(t.Context(), chats.OpGetChat) })
			err := f.call(t.Context(), chats.OpGetChat)
			other.Wait()
			require.ErrorIs(t, err, chats.ErrRateLimited)
			var e *chats.Error
			require.ErrorAs(t, err, &e)
			require.NotNil(t, e.Limit)
			assert.True(t, until.Equal(e.Limit.Until))
			assert.Equal(t, 1, strings.Count(err.Error(), "reached"), "%v", err)
			time.Sleep(time.Hour)
			until = until.Add(time.Hour)
		}
	})
}

func TestRetry_MaximumDelaysDoNotOverflow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, chats.WithRetry(chats.RetryPolicy{BaseDelay: math.MaxInt64, MaxDelay: math.MaxInt64, MaxAttempts: math.MaxInt}))
		f.market.Fail(chats.OpGetChat, times(3, chatstest.Status(500, ""))...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, f.call(ctx, chats.OpGetChat), chats.ErrServer)
	})
}

// Only the caller's own deadline is context.DeadlineExceeded.
func TestRetry_AttemptTimeoutIsNotDeadlineExceeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, fault := range []chatstest.Fault{chatstest.SlowHeaders(time.Minute), chatstest.SlowBody(time.Minute)} {
			f := newFixture(t, noRetry)
			f.market.Fail(chats.OpGetChat, fault)
			err := f.call(t.Context(), chats.OpGetChat)
			require.ErrorContains(t, err, "RetryPolicy.AttemptTimeout")
			assert.NotErrorIs(t, err, context.DeadlineExceeded)
		}
	})
}

func TestSendTextAndSendFile_CancelledWhileReadingResponseIsOutcomeUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, op := range []chats.Operation{chats.OpSendMessageToChat, chats.OpSendFileToChat} {
			f := newFixture(t)
			f.market.Fail(op, chatstest.SlowBody(10*time.Second))
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			err := f.call(ctx, op)
			require.ErrorIs(t, err, context.Canceled, op)
			require.ErrorIs(t, err, chats.ErrOutcomeUnknown, op)
			assert.Equal(t, 1, f.posted())
		}
	})
}
