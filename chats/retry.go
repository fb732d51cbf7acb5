package chats

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// RetryPolicy says how often and how patiently a call is repeated. A zero field
// means its default.
type RetryPolicy struct {
	// MaxAttempts is how many requests one call may make, the first included.
	// Default 6; 1 repeats nothing.
	MaxAttempts int
	// BaseDelay bounds the first pause; each further one may be twice as long. The
	// pause itself is drawn at random from zero to its bound, so that many clients
	// do not come back at one moment. Default 500 ms.
	BaseDelay time.Duration
	// MaxDelay bounds every pause, and how long a call waits for a used-up hour to
	// end before it gives up instead. Default 30 s.
	MaxDelay time.Duration
	// AttemptTimeout bounds one request, from the connection to the last byte of
	// the answer. Default 30 s: Market itself gives up after 10, and a file of
	// 5 MB takes its time on a thin line.
	AttemptTimeout time.Duration
}

func (p RetryPolicy) check() error {
	if p.MaxAttempts < 0 || p.BaseDelay < 0 || p.MaxDelay < 0 || p.AttemptTimeout < 0 {
		return badArgument("retry policy", "a negative field; leave it zero for its default")
	}
	return nil
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	p.MaxAttempts = cmp.Or(p.MaxAttempts, 6)
	p.BaseDelay = cmp.Or(p.BaseDelay, 500*time.Millisecond)
	p.MaxDelay = cmp.Or(p.MaxDelay, 30*time.Second)
	p.AttemptTimeout = cmp.Or(p.AttemptTimeout, 30*time.Second)
	return p
}

func (p RetryPolicy) backoff() backoff { return backoff{base: p.BaseDelay, limit: p.MaxDelay} }

// link repeats what may be repeated. What comes out of it is final.
func (p RetryPolicy) middleware(l *limits, next doFunc) doFunc {
	return func(ctx context.Context, c *call) (*response, error) {
		var last *response
		var lastErr error
		for n := 0; ; n++ {
			before := c.attempts
			resp, err := next(ctx, c)
			if n > 0 && c.attempts == before {
				return withStopReason(last, lastErr, err) // not let in: what the last attempt failed with counts
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

// mayRepeat is the rule of the whole library: a read is repeated after every
// passing failure, a send only when it is certain that nothing was processed.
func (c *call) shouldRetry(resp *response, err error) bool {
	if c.attempts >= c.maxAttempts || !c.rewindable() {
		return false
	}
	if resp != nil {
		transient := resp.status >= 500 || resp.ok() && resp.truncated()
		return isRateLimited(resp.status) || transient && c.rule.repeatable
	}
	var broken *transportError
	if !errors.As(err, &broken) {
		return false // refused before anything was sent
	}
	return !broken.permanent && (c.rule.repeatable || broken.unsent)
}

// rest waits before the next attempt. For an hour that ends soon the wait is in
// limits, where everybody waits for it.
func (p RetryPolicy) awaitRetry(ctx context.Context, l *limits, c *call, resp *response, n int) error {
	if resp != nil && isRateLimited(resp.status) && resp.limit.Kind == LimitHourly {
		if b, blocked := l.blocked(c.op); blocked {
			if remaining := time.Until(b.until); remaining > l.maxWait {
				return errQuotaExhausted
			}
			return nil
		}
	}
	return wait(ctx, p.backoff().jitter(n))
}

// errHourOver ends the repeating; the answer itself says all there is to say.
var errQuotaExhausted = errors.New("the hour's allowance is used up")

// gaveUp keeps the last failure and adds why it was not repeated.
func withStopReason(resp *response, err, stopReason error) (*response, error) {
	switch {
	case stopReason == errQuotaExhausted:
		return resp, nil
	case resp != nil:
		resp.stopReason = stopReason
		return resp, nil
	default:
		return nil, joinCause(err, stopReason)
	}
}
