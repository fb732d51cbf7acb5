package chats

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/callerctx"
	"github.com/ymchats/ymchats-go/chats/internal/servertime"
)

// RetryPolicy configures retries. Zero fields take their default values.
type RetryPolicy struct {
	// MaxAttempts is the maximum number of requests per call, including the first. The default
	// is 6; 1 disables retries.
	MaxAttempts int
	// BaseDelay is the upper bound of the delay before the first retry. The bound doubles
	// with each further retry. The delay is random, between zero and the bound (full
	// jitter), so that many clients do not retry at the same moment. The default is 500 ms.
	BaseDelay time.Duration
	// MaxDelay is the upper bound of every delay. It also bounds how long a call waits for the
	// next hourly quota window, or for the Retry-After of a response; if the wait would be
	// longer, the call fails. The default is 30 s.
	MaxDelay time.Duration
	// AttemptTimeout is the timeout of one request, from dialing to the last byte of the response. The
	// default is 30 s: Market itself gives up after 10 s, but uploading a large file over a slow
	// connection may take longer.
	AttemptTimeout time.Duration
}

// delayCap returns the upper bound of the delay after failure n, counted from 0.
func (p RetryPolicy) delayCap(n int) time.Duration {
	d := p.BaseDelay
	for range n {
		if d >= p.MaxDelay/2 {
			return p.MaxDelay
		}
		d *= 2
	}
	return min(d, p.MaxDelay)
}

// middleware retries failed attempts. Its result is final.
func (p RetryPolicy) middleware(l *limits, next doFunc) doFunc {
	return func(ctx context.Context, c *call) (*response, error) {
		var last *response
		var lastErr error
		for n := 0; ; n++ {
			before := c.attempts
			resp, err := next(ctx, c)
			if n > 0 && c.attempts == before {
				return withStopReason(last, lastErr, callerctx.HideOthers(ctx, err)) // no attempt was made, so the last failure counts
			}
			last.release()
			if !c.shouldRetry(resp, err) {
				return resp, err
			}
			began := time.Now()
			if stopReason := p.awaitRetry(ctx, l, c, resp, n); stopReason != nil {
				return withStopReason(resp, err, stopReason)
			}
			c.waited += time.Since(began)
			last, lastErr = resp, err
		}
	}
}

// shouldRetry implements the retry rule: reads and OpenChat are retried after every transient
// failure, a send only if the request was certainly not processed.
func (c *call) shouldRetry(resp *response, err error) bool {
	if c.attempts == 0 || c.attempts >= c.maxAttempts || !c.rewindable() {
		return false
	}
	if resp != nil {
		transient := resp.status >= 500 || resp.ok() && resp.truncated() || resp.isGatewayNotFound()
		return isRateLimited(resp.status) || transient && c.repeatable || resp.status >= 500 && resp.unsent
	}
	failed, ok := as[*transportError](err) // any other error is a refusal before anything was sent
	return ok && !failed.permanent && (c.repeatable || failed.unsent)
}

// awaitRetry waits before the next attempt. It does not wait for an exhausted quota to reset;
// limits does that for all calls to the operation, or refuses the attempt.
func (p RetryPolicy) awaitRetry(ctx context.Context, l *limits, c *call, resp *response, n int) error {
	delay := rand.N(max(p.delayCap(n), 1)) // full jitter
	if resp == nil {
		return callerctx.Wait(ctx, delay)
	}
	if _, blocked := l.blocked(c.op); blocked && isRateLimited(resp.status) {
		return nil
	}
	after := servertime.RetryAfter(resp.header, time.Now(), quotaWindow)
	if after > p.MaxDelay {
		return fmt.Errorf("the server's Retry-After ends at %s, which is beyond RetryPolicy.MaxDelay", clockTime(time.Now().Add(after)))
	}
	return callerctx.Wait(ctx, max(delay, after))
}

// withStopReason returns the last failure with the reason for not retrying it.
func withStopReason(resp *response, err, stopReason error) (*response, error) {
	if resp == nil {
		return nil, joinCause(err, stopReason)
	}
	resp.stopReason = stopReason
	return resp, nil
}
