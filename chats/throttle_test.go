package chats_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
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

func TestLimits_HourlyWaitIsAtMostMaxDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for untilReset, waits := range map[time.Duration]bool{30 * time.Second: true, 31 * time.Second: false} {
			f := newFixture(t)
			began := time.Now()
			f.market.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(began.Add(untilReset)))
			_, err := f.client.Chat(t.Context(), f.chat)
			assert.Equal(t, waits, err == nil, "%s: %v", untilReset, err)
			assert.Equal(t, waits, time.Since(began) == untilReset, "%s", untilReset)
		}
	})
}

func TestLimits_ExhaustedQuotaIsRefusedLocallyUntilReset(t *testing.T) {
	t.Parallel()
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		until := time.Now().Add(59 * time.Minute)
		f.market.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(until))

		_, err := f.client.Chat(t.Context(), f.chat)
		var e *chats.Error
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, chats.ErrRateLimited)
		assert.Equal(t, 420, e.StatusCode)
		assert.Equal(t, 1, e.Attempts)
		assert.True(t, until.Equal(e.Limit.Until), "%s", e.Limit.Until)
		assert.Equal(t, chats.LimitHourly, e.Limit.Kind)
		assert.Contains(t, err.Error(), "try again at "+until.UTC().Format("15:04:05Z"))

		// Until then that operation, and no other, is refused without a request.
		time.Sleep(58 * time.Minute)
		_, err = f.client.Chat(t.Context(), f.chat)
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, chats.ErrRateLimited)
		assert.Zero(t, e.StatusCode)
		assert.Zero(t, e.Attempts, "nothing was sent")
		assert.True(t, until.Equal(e.Limit.Until))
		assert.Equal(t, 1, f.market.Calls(chats.OpGetChat))
		for _, op := range chats.Operations() {
			if op != chats.OpGetChat {
				require.NoError(t, f.call(t.Context(), op), op)
			}
		}

		// Within MaxDelay of the reset the call waits for it.
		time.Sleep(40 * time.Second)
		_, err = f.client.Chat(t.Context(), f.chat)
		require.NoError(t, err)
		assert.False(t, time.Now().Before(until))
		assert.Equal(t, 2, f.market.Calls(chats.OpGetChat))
	})
	assert.Less(t, time.Since(began), 10*time.Second, "an hour of synctest time takes no real hour")
}

func TestLimits_DeadlineBeforeResetFailsImmediately(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.market.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(time.Now().Add(20*time.Second)))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		_, err := f.client.Chat(ctx, f.chat)
		require.ErrorIs(t, err, chats.ErrRateLimited)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Contains(t, err.Error(), "after the context's deadline")
		assert.Zero(t, time.Since(began))
	})
}

func TestLimits_HeadersAreReadTolerantly(t *testing.T) {
	t.Parallel()
	const until = "X-RateLimit-Resource-Until"
	tests := []struct {
		name   string
		change func(http.Header)
		waits  time.Duration // before the second attempt; -1: the call fails immediately
	}{
		{"as documented", func(http.Header) {}, 20 * time.Second},
		{"wrong weekday", func(h http.Header) { h.Set(until, "Mon"+h.Get(until)[3:]) }, 20 * time.Second},
		{"no weekday", func(h http.Header) { h.Set(until, h.Get(until)[3:]) }, 20 * time.Second},
		{"our clock is an hour slow", func(h http.Header) {
			h.Set("Date", shiftDate(h.Get("Date"), time.Hour))
			h.Set(until, shiftDate(h.Get(until), time.Hour))
		}, 20 * time.Second},
		{"our clock is an hour fast", func(h http.Header) {
			h.Set("Date", shiftDate(h.Get("Date"), -time.Hour))
			h.Set(until, shiftDate(h.Get(until), -time.Hour))
		}, 20 * time.Second},
		{"no date", func(h http.Header) { h.Del("Date") }, 20 * time.Second},
		{"date of three days ago", func(h http.Header) { h.Set("Date", shiftDate(h.Get("Date"), -72*time.Hour)) }, 20 * time.Second},
		{"date in three days", func(h http.Header) { h.Set("Date", shiftDate(h.Get("Date"), 72*time.Hour)) }, 20 * time.Second},
		{"date is no date", func(h http.Header) { h.Set("Date", "now") }, 20 * time.Second},
		{"RFC 850", reformat(until, "Monday, 02-Jan-06 15:04:05 GMT"), 20 * time.Second},
		{"ANSI C", reformat(until, time.ANSIC), 20 * time.Second},
		{"numeric zone", func(h http.Header) {
			at, _ := http.ParseTime(h.Get(until))
			h.Set(until, at.In(time.FixedZone("", 3*3600)).Format(time.RFC1123Z))
		}, 20 * time.Second},
		{"zone of RFC 822", reformat(until, "Mon, 02 Jan 2006 15:04:05 UT"), 20 * time.Second},
		{"joined by a proxy", func(h http.Header) {
			for _, name := range []string{"Date", until, "X-RateLimit-Resource-Limit", "X-RateLimit-Resource-Remaining"} {
				h.Set(name, h.Get(name)+", "+h.Get(name))
			}
		}, 20 * time.Second},
		{"seconds since 1970", func(h http.Header) {
			at, _ := http.ParseTime(h.Get(until))
			h.Set(until, strconv.FormatInt(at.Unix(), 10))
		}, 20 * time.Second},
		{"milliseconds since 1970", func(h http.Header) {
			at, _ := http.ParseTime(h.Get(until))
			h.Set(until, strconv.FormatInt(at.UnixMilli(), 10))
		}, 20 * time.Second},
		{"garbage", func(h http.Header) { h.Set(until, "soon") }, 0},
		{"a number of seconds", func(h http.Header) { h.Set(until, "1800") }, 0},
		{"a number that is no time", func(h http.Header) { h.Set(until, "99999999999999") }, 0},
		{"no until", func(h http.Header) { h.Del(until) }, 0},
		{"in the past", func(h http.Header) { h.Set(until, "Sat, 01 Jan 1994 00:00:00 GMT") }, 0},
		{"in the year 9999", func(h http.Header) { h.Set(until, "Fri, 31 Dec 9999 23:59:59 GMT") }, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				transport := headerRewriter{market.Transport(), func(h http.Header) {
					if h.Get("X-RateLimit-Resource-Remaining") == "0" {
						tt.change(h)
					}
				}}
				f := newFixtureOn(t, market, chats.WithHTTPClient(&http.Client{Transport: transport}),
					chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Millisecond}))
				market.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(time.Now().Add(20*time.Second)))
				began := time.Now()
				_, err := f.client.Chat(t.Context(), f.chat)
				if tt.waits < 0 {
					require.ErrorIs(t, err, chats.ErrRateLimited)
					// No Until blocks an operation for longer than a window.
					time.Sleep(time.Hour + time.Second)
					_, err = f.client.Chat(t.Context(), f.chat)
					require.NoError(t, err)
					return
				}
				require.NoError(t, err)
				assert.InDelta(t, tt.waits.Seconds(), time.Since(began).Seconds(), 0.002)
			})
		})
	}
}

// An Until that is no time, or not within an hour, reaches no caller: a program would wait
// for it.
func TestLimits_ImplausibleUntilIsNotReported(t *testing.T) {
	t.Parallel()
	for until, hour := range map[string]bool{
		"20": false, "0": false, "-5": false, "99999999999999": false, "soon": false, "Fri, 31 Dec 9999 23:59:59 GMT": true, "9999999999": true,
	} {
		for _, status := range []int{420, 200} {
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				f := newFixtureOn(t, market, noRetry, withContract(t, headerRewriter{market.Transport(), func(h http.Header) {
					h.Set("X-RateLimit-Resource-Remaining", "0")
					h.Set("X-RateLimit-Resource-Until", until)
				}}))
				if status == 420 {
					market.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(time.Now().Add(20*time.Second)))
				}
				err := f.call(t.Context(), chats.OpGetChat)
				limit, _ := f.client.Limit(chats.OpGetChat)
				var e *chats.Error
				if status == 420 && assert.ErrorAs(t, err, &e) {
					assert.Equal(t, limit.Until, e.Limit.Until)
				}
				if !hour {
					assert.Zero(t, limit.Until, until)
					require.NoError(t, f.call(t.Context(), chats.OpGetChat), "nothing is blocked")
					return
				}
				assert.LessOrEqual(t, time.Until(limit.Until), time.Hour, until)
				require.ErrorIs(t, f.call(t.Context(), chats.OpGetChat), chats.ErrRateLimited)
			})
		}
	}
}

func reformat(header, layout string) func(http.Header) {
	return func(h http.Header) {
		at, err := http.ParseTime(h.Get(header))
		if err != nil {
			panic(err)
		}
		h.Set(header, at.Format(layout))
	}
}

func shiftDate(date string, d time.Duration) string {
	at, err := http.ParseTime(date)
	if err != nil {
		panic(err)
	}
	return at.Add(d).Format(http.TimeFormat)
}

func TestLimits_LimitReturnsReportedQuota(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, known := f.client.Limit(chats.OpGetChat)
	assert.False(t, known)
	require.NoError(t, f.call(t.Context(), chats.OpGetChat))
	limit, known := f.client.Limit(chats.OpGetChat)
	require.True(t, known)
	assert.Equal(t, chats.LimitHourly, limit.Kind)
	assert.Equal(t, 1000, limit.Max)
	assert.Equal(t, 999, limit.Remaining)
	assert.WithinDuration(t, time.Now(), limit.Until, time.Hour)
	_, known = f.client.Limit(chats.OpGetChats)
	assert.False(t, known, "the other operation has had no response")
}

func TestLimits_AtMostFourRequestsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(100*time.Millisecond), chatstest.WithParallelLimit(0))
		f := newFixtureOn(t, market)
		var calls sync.WaitGroup
		var done [64]atomic.Int32
		for i := range done {
			own := *f
			own.chat = market.AddChat(chats.Chat{}) // the sends to one chat are made one after the other
			calls.Go(func() {
				for _, op := range []chats.Operation{chats.OpGetChat, chats.OpSendMessageToChat, chats.OpGetChatHistory} {
					assert.NoError(t, own.call(t.Context(), op))
					done[i].Add(1)
				}
			})
		}
		began := time.Now()
		calls.Wait()
		assert.Equal(t, 4, market.PeakParallel())
		assert.Equal(t, 64*3/4*100*time.Millisecond, time.Since(began), "all four slots are in use while calls are waiting")
	})
}

func TestLimits_SlotsAreFair(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(100 * time.Millisecond))
		f := newFixtureOn(t, market)
		ctx, stop := context.WithCancel(t.Context())
		var calls sync.WaitGroup
		for range 16 { // callers that never back off
			calls.Go(func() {
				for ctx.Err() == nil {
					_ = f.call(ctx, chats.OpGetChat)
				}
			})
		}
		time.Sleep(time.Second)
		began := time.Now()
		require.NoError(t, f.call(t.Context(), chats.OpGetChats))
		assert.LessOrEqual(t, time.Since(began), time.Second, "slots are assigned in the order of the calls")
		stop()
		calls.Wait()
	})
}

func TestLimits_QuotaIsExceededByAtMostTheSlots(t *testing.T) {
	t.Parallel()
	for _, waits := range []bool{true, false} {
		t.Run(fmt.Sprintf("waits for the reset: %t", waits), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const n = 40
				market := chatstest.NewMarket(chatstest.WithLatency(10*time.Millisecond), chatstest.WithHourlyLimit(chats.OpGetChat, n))
				retry := chats.RetryPolicy{MaxAttempts: 20}
				if waits {
					retry.MaxDelay = time.Hour
				}
				f := newFixtureOn(t, market, chats.WithRetry(retry))
				time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(30 * time.Minute)))
				before := market.Calls(chats.OpGetChat)
				var calls sync.WaitGroup
				var good, limited atomic.Int32
				for range 64 {
					calls.Go(func() {
						switch err := f.call(t.Context(), chats.OpGetChat); {
						case err == nil:
							good.Add(1)
						case errors.Is(err, chats.ErrRateLimited):
							limited.Add(1)
						default:
							assert.NoError(t, err)
						}
					})
				}
				time.Sleep(time.Minute)
				assert.LessOrEqual(t, market.Calls(chats.OpGetChat)-before, n+4)
				calls.Wait()
				if waits {
					assert.EqualValues(t, 64, good.Load(), "the others succeed in the next window")
					return
				}
				assert.EqualValues(t, n, good.Load())
				assert.EqualValues(t, 64-n, limited.Load())
			})
		})
	}
}

func TestLimits_SlotIsFreeDuringBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, chats.WithMaxParallel(1), chats.WithRetry(chats.RetryPolicy{BaseDelay: 20 * time.Second}))
		f.market.Fail(chats.OpGetChat, times(3, chatstest.Status(500, ""))...)
		var slow sync.WaitGroup
		slow.Go(func() { assert.NoError(t, f.call(t.Context(), chats.OpGetChat)) })
		synctest.Wait() // the first attempt has failed and the call backs off

		began := time.Now()
		require.NoError(t, f.call(t.Context(), chats.OpGetChats))
		assert.Zero(t, time.Since(began))

		// Nor is a slot held between the pages of a sequence.
		for range 150 {
			f.market.CustomerSays(f.chat, "?")
		}
		for _, err := range f.client.History(t.Context(), f.chat, 0) {
			require.NoError(t, err)
			require.NoError(t, f.call(t.Context(), chats.OpGetChats))
		}
		slow.Wait()
	})
}

func TestLimits_SlotIsHeldUntilBodyIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, chats.WithMaxParallel(1))
		f.market.Fail(chats.OpGetChat, chatstest.SlowBody(5*time.Second))
		var slow sync.WaitGroup
		slow.Go(func() { assert.NoError(t, f.call(t.Context(), chats.OpGetChat)) })
		synctest.Wait()
		began := time.Now()
		require.NoError(t, f.call(t.Context(), chats.OpGetChats))
		assert.Equal(t, 5*time.Second, time.Since(began))
		slow.Wait()
	})
}

func TestLimits_WaitForSlotEndsWithContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(10 * time.Second))
		f := newFixtureOn(t, market, chats.WithMaxParallel(1))
		var busy sync.WaitGroup
		busy.Go(func() { assert.NoError(t, f.call(t.Context(), chats.OpGetChat)) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := f.call(ctx, chats.OpSendMessageToChat)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotErrorIs(t, err, chats.ErrOutcomeUnknown, "nothing was sent")
		assert.Equal(t, time.Second, time.Since(began))
		assert.Zero(t, market.Calls(chats.OpSendMessageToChat))
		busy.Wait()
	})
}

func TestLimiter_IsCalledOncePerAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := &countingLimiter{wait: func(context.Context) error { return nil }}
		f := newFixture(t, chats.WithLimiter(limiter))
		f.market.Fail(chats.OpGetChat, chatstest.Status(500, ""), chatstest.RateLimitedParallel(),
			chatstest.RateLimitedHourly(time.Now().Add(10*time.Second)))
		require.NoError(t, f.call(t.Context(), chats.OpGetChat))
		assert.EqualValues(t, 4, limiter.calls.Load())

		// A call that is refused locally is not an attempt.
		f.market.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(time.Now().Add(30*time.Minute)))
		require.ErrorIs(t, f.call(t.Context(), chats.OpGetChat), chats.ErrRateLimited)
		require.ErrorIs(t, f.call(t.Context(), chats.OpGetChat), chats.ErrRateLimited)
		assert.EqualValues(t, 5, limiter.calls.Load())

		// An error of the limiter fails the call, and nothing is sent.
		limiter.wait = func(context.Context) error { return errLimiter }
		err := f.call(t.Context(), chats.OpSendMessageToChat)
		require.ErrorIs(t, err, errLimiter)
		assert.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
		assert.Zero(t, f.market.Calls(chats.OpSendMessageToChat))
	})
}

func TestLimits_ParallelIsRecognizedByTextWhateverTheHeaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		exhausted := chatstest.Respond(420, http.Header{
			"X-Ratelimit-Resource-Remaining": {"0"},
			"X-Ratelimit-Resource-Until":     {time.Now().Add(40 * time.Minute).UTC().Format(http.TimeFormat)},
		}, `{"errors":[{"code":"METHOD_FAILURE","message":"Hit rate limit of 4 parallel requests for business"}]}`)
		f := newFixtureOn(t, market, chats.WithRetry(chats.RetryPolicy{MaxAttempts: 2}))
		market.Fail(chats.OpGetChat, exhausted)
		require.NoError(t, f.call(t.Context(), chats.OpGetChat))

		market.Fail(chats.OpGetChat, exhausted, exhausted)
		err := f.call(t.Context(), chats.OpGetChat)
		var e *chats.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, chats.Limit{Kind: chats.LimitParallel, Max: 4}, *e.Limit)
		assert.Contains(t, err.Error(), "parallel limit of 4 reached")
		require.NoError(t, f.call(t.Context(), chats.OpGetChat), "a parallel limit blocks nothing")
	})
}

func TestLimits_HeadersOfAParallelLimitReportNoQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		require.NoError(t, f.call(t.Context(), chats.OpGetChat))
		quota, _ := f.client.Limit(chats.OpGetChat)
		f.market.Fail(chats.OpGetChat, chatstest.Respond(420, http.Header{
			"X-Ratelimit-Resource-Limit": {"4"}, "X-Ratelimit-Resource-Remaining": {"0"}, "X-Ratelimit-Resource-Until": nil,
		}, `{"errors":[{"message":"Hit rate limit of 4 parallel requests for business"}]}`), chatstest.HTML(400))
		require.Error(t, f.call(t.Context(), chats.OpGetChat))
		limit, _ := f.client.Limit(chats.OpGetChat)
		assert.Equal(t, quota, limit)
	})
}

func TestLimits_ExhaustedQuotaIsReportedWithoutRemainingHeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		silent := headerRewriter{market.Transport(), func(h http.Header) {
			if h.Get("X-RateLimit-Resource-Remaining") == "0" {
				h.Del("X-RateLimit-Resource-Remaining")
			}
		}}
		f := newFixtureOn(t, market, chats.WithHTTPClient(&http.Client{Transport: silent}))
		require.NoError(t, f.call(t.Context(), chats.OpGetChat))
		market.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(time.Now().Add(50*time.Minute)))
		require.ErrorIs(t, f.call(t.Context(), chats.OpGetChat), chats.ErrRateLimited)
		limit, reported := f.client.Limit(chats.OpGetChat)
		assert.True(t, reported)
		assert.Equal(t, 1000, limit.Max)
		assert.Zero(t, limit.Remaining)
		require.ErrorContains(t, f.call(t.Context(), chats.OpGetChat), "hourly limit of 1000 reached", "without a request")
	})
}

// Two calls run at once. One is refused because of the quota, then the other because of the parallel
// limit. The other cannot be repeated before the quota resets, and its error says so.
func TestLimits_ParallelLimitAfterTheQuotaIsExhausted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		f := newFixtureOn(t, market, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			resp, err := market.Transport().RoundTrip(req)
			if resp.Header.Get("X-RateLimit-Resource-Until") == "" { // the parallel limit
				time.Sleep(time.Second)
			}
			return resp, err
		})}))
		until := time.Now().Add(50 * time.Minute)
		market.Fail(chats.OpGetChat, chatstest.RateLimitedParallel(), chatstest.RateLimitedHourly(until))
		var calls sync.WaitGroup
		for range 2 {
			calls.Go(func() {
				var failed *chats.Error
				require.ErrorAs(t, f.call(t.Context(), chats.OpGetChat), &failed)
				require.NotNil(t, failed.Limit)
				assert.Equal(t, chats.LimitHourly, failed.Limit.Kind)
				assert.True(t, until.Equal(failed.Limit.Until))
				assert.Equal(t, 420, failed.StatusCode)
			})
		}
		calls.Wait()
		assert.Equal(t, 2, market.Calls(chats.OpGetChat))
	})
}

// A caller may recover from a panic of a transport or a credential source, as the
// server of net/http does. The slot must not be lost.
func TestLimits_PanicReleasesSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		panics := 4
		f := newFixtureOn(t, market, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			if panics > 0 {
				panics--
				panic("in the transport")
			}
			return market.Transport().RoundTrip(req)
		})}))
		for range 4 {
			assert.Panics(t, func() { _ = f.call(t.Context(), chats.OpGetChat) })
		}
		require.NoError(t, f.call(t.Context(), chats.OpGetChat))
	})
}

// The response that uses up the quota closes the window like a 420.
func TestLimits_GoodResponseWithNothingRemainingClosesTheWindow(t *testing.T) {
	t.Parallel()
	for _, op := range chats.Operations() {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			until := time.Now().Add(40 * time.Minute)
			nothingLeft := func(until time.Time) chatstest.Fault {
				return chatstest.Rewrite(func(r *chatstest.Response) {
					r.Header.Set("X-RateLimit-Resource-Remaining", "0")
					r.Header.Set("X-RateLimit-Resource-Until", until.UTC().Format(http.TimeFormat))
				})
			}
			f.market.Fail(op, nothingLeft(until))
			require.NoError(t, f.call(t.Context(), op))
			err := f.call(t.Context(), op)
			require.ErrorIs(t, err, chats.ErrRateLimited)
			var e *chats.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, chats.Limit{Kind: chats.LimitHourly, Max: e.Limit.Max, Until: until.UTC()}, *e.Limit)
			assert.Equal(t, 1, f.market.Calls(op), "the second call is refused locally")

			time.Sleep(40*time.Minute - 10*time.Second)
			require.NoError(t, f.call(t.Context(), op), "it waits for the end of the window")
			assert.Equal(t, until, time.Now())

			f.market.Fail(op, nothingLeft(time.Now().Add(-time.Second)))
			require.NoError(t, f.call(t.Context(), op))
			require.NoError(t, f.call(t.Context(), op), "the window has ended")
		})
	}
}

func TestLimits_HourlyIsRecognizedByText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"Hit rate limit of 1000 requests per hour for resource chats for business", "Hit rate limit of 600 points per hour",
		"You have used 100 calls PER MINUTE", "Hourly quota exceeded", "Too many requests per 60 seconds", "10 calls per 1 day",
		"Daily limit reached", "1000 requests per 3600s", "Не более 1000 запросов за 1 час", "Лимит: 10 запросов в 5 минут",
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			f.market.Fail(chats.OpGetChat, chatstest.Respond(420, nil, `{"errors":[{"code":"METHOD_FAILURE","message":"`+text+`"}]}`))
			time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(70 * time.Minute))) // not at the end of the fake's window
			err := f.call(t.Context(), chats.OpGetChat)
			var e *chats.Error
			require.ErrorAs(t, err, &e, text)
			assert.Equal(t, chats.LimitHourly, e.Limit.Kind)
			assert.Equal(t, 1, f.market.Calls(chats.OpGetChat), "the headers report requests that remain, but the text decides")
			require.ErrorIs(t, f.call(t.Context(), chats.OpGetChat), chats.ErrRateLimited)
			assert.Equal(t, 1, f.market.Calls(chats.OpGetChat))
		})
	}
}

func TestLimits_RetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 503} {
		for _, byDate := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, as a date: %t", status, byDate), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					in := func(d time.Duration) chatstest.Fault {
						if byDate {
							return retryLater(status, time.Now().Add(d).UTC().Format(http.TimeFormat))
						}
						return retryLater(status, strconv.Itoa(int(d.Seconds())))
					}
					f := newFixture(t)
					f.market.Fail(chats.OpGetChat, in(30*time.Second))
					began := time.Now()
					require.NoError(t, f.call(t.Context(), chats.OpGetChat))
					assert.Equal(t, 30*time.Second, time.Since(began))

					f.market.Fail(chats.OpGetChat, in(31*time.Second))
					began = time.Now()
					err := f.call(t.Context(), chats.OpGetChat)
					require.Error(t, err)
					assert.Zero(t, time.Since(began))
					assert.Contains(t, err.Error(), began.Add(31*time.Second).UTC().Format("15:04:05Z"), "the error says when")
					assert.NotContains(t, err.Error(), "hour")
					require.Equal(t, status == 429, errors.Is(err, chats.ErrRateLimited))
					require.Equal(t, status == 503, errors.Is(err, chats.ErrServer))

					// A 429 refuses the operation until then, a 503 does not.
					time.Sleep(2 * time.Second)
					require.NoError(t, f.call(t.Context(), chats.OpGetChat))
					wait := map[int]time.Duration{429: 31 * time.Second, 503: 2 * time.Second}[status]
					assert.Equal(t, wait, time.Since(began))
					assert.Equal(t, 4, f.market.Calls(chats.OpGetChat))

					// A deadline before it ends the call at once.
					f.market.Fail(chats.OpGetChat, in(20*time.Second))
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					began = time.Now()
					require.ErrorIs(t, f.call(ctx, chats.OpGetChat), context.DeadlineExceeded)
					assert.Zero(t, time.Since(began))
				})
			})
		}
	}
}

// Our clock may be wrong: the seconds of a Retry-After count from now.
func TestLimits_RetryAfterInSecondsIgnoresClocks(t *testing.T) {
	t.Parallel()
	for _, date := range []string{"Sat, 01 Jan 2000 00:30:00 GMT", "Fri, 31 Dec 1999 23:30:00 GMT", "Sat, 01 Jan 2022 00:00:00 GMT"} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			f.market.Fail(chats.OpGetChat, chatstest.Respond(429, http.Header{"Retry-After": {"20"}, "Date": {date}}, ""))
			began := time.Now()
			require.NoError(t, f.call(t.Context(), chats.OpGetChat))
			assert.Equal(t, 20*time.Second, time.Since(began), date)
		})
	}
}

// What the error says is when the client tries again.
func TestLimits_RetryAfterIsAtMostAnHour(t *testing.T) {
	t.Parallel()
	for _, form := range []string{"7200", "999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			f.market.Fail(chats.OpGetChat, chatstest.Respond(429, http.Header{"Retry-After": {form}}, ""))
			began := time.Now()
			err := f.call(t.Context(), chats.OpGetChat)
			var e *chats.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, began.Add(time.Hour), e.Limit.Until)
			assert.Contains(t, err.Error(), "try again at "+began.Add(time.Hour).UTC().Format("15:04:05Z"))
			time.Sleep(59 * time.Minute)
			require.ErrorIs(t, f.call(t.Context(), chats.OpGetChat), chats.ErrRateLimited)
			time.Sleep(time.Minute)
			require.NoError(t, f.call(t.Context(), chats.OpGetChat))
		})
	}
}

func TestLimits_429WithoutRetryAfterIsRetriedWithBackoff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []string{"", "soon", "-5", "0", "Sat, 01 Jan 1994 00:00:00 GMT"} {
			f := newFixture(t)
			f.market.Fail(chats.OpGetChat, retryLater(429, after))
			began := time.Now()
			require.NoError(t, f.call(t.Context(), chats.OpGetChat), after)
			assert.LessOrEqual(t, time.Since(began), 500*time.Millisecond, after)
		}
	})
}

// A gateway's response without headers and text of Market's says nothing about the hourly quota.
func TestLimits_RefusalWithoutAReasonIsOfNoKind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, fault := range []chatstest.Fault{chatstest.HTML(429), chatstest.HTML(420)} {
			f := newFixture(t)
			f.market.Fail(chats.OpGetChat, times(6, fault)...)
			err := f.call(t.Context(), chats.OpGetChat)
			var e *chats.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, chats.Limit{}, *e.Limit)
			assert.NotContains(t, err.Error(), "hour")

			f.market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
			f.market.Fail(chats.OpGetChatHistory, append([]chatstest.Fault{chatstest.OK()}, times(6, fault)...)...)
			_, err = f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
			require.NoError(t, err, "the search goes on")
		}
	})
}
