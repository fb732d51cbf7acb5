package chats

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	orDefault(&p.MaxAttempts, 6)
	orDefault(&p.BaseDelay, 500*time.Millisecond)
	orDefault(&p.MaxDelay, 30*time.Second)
	orDefault(&p.AttemptTimeout, 30*time.Second)
	return p
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// bound is how long the pause after the n-th failure may be, n from 0.
func (p RetryPolicy) bound(n int) time.Duration {
	d := p.BaseDelay
	for range n {
		if d >= p.MaxDelay/2 {
			return p.MaxDelay
		}
		d *= 2
	}
	return min(d, p.MaxDelay)
}

// pause is the pause after the n-th failure: full jitter below its bound.
func (p RetryPolicy) pause(n int) time.Duration {
	return rand.N(max(p.bound(n), 1))
}

// wait returns when d is over. It ends at once with the context, and does not
// begin where the context's deadline comes first.
func wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return &tooLateError{d}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tooLateError: there is no use in waiting until the deadline only to fail then.
type tooLateError struct{ wait time.Duration }

func (e *tooLateError) Error() string {
	return fmt.Sprintf("the next attempt is due in %s, after the context's deadline", e.wait.Round(time.Millisecond))
}

func (*tooLateError) Unwrap() error { return context.DeadlineExceeded }

// link repeats what may be repeated. What comes out of it is final.
func (p RetryPolicy) link(l *limits, next handler) handler {
	return func(ctx context.Context, c *call) (*answer, error) {
		var last *answer
		var lastErr error
		for n := 0; ; n++ {
			made := c.attempts
			a, err := next(ctx, c)
			if n > 0 && c.attempts == made {
				return gaveUp(last, lastErr, err) // not let in: what the last attempt failed with counts
			}
			last.release()
			if !c.mayRepeat(a, err) {
				return a, err
			}
			began := time.Now()
			if stop := p.rest(ctx, l, c, a, n); stop != nil {
				return gaveUp(a, err, stop)
			}
			c.waited += time.Since(began)
			last, lastErr = a, err
		}
	}
}

// mayRepeat is the rule of the whole library: a read is repeated after every
// passing failure, a send only when it is certain that nothing was processed.
func (c *call) mayRepeat(a *answer, err error) bool {
	if c.attempts >= c.maxAttempts || !c.rewindable() {
		return false
	}
	if a != nil {
		passing := a.status >= 500 || a.ok() && a.cut()
		return isRateLimited(a.status) || passing && c.rule.repeatable
	}
	var broken *transportError
	if !errors.As(err, &broken) {
		return false // refused before anything was sent
	}
	return !broken.fatal && (c.rule.repeatable || broken.unsent)
}

// rest waits before the next attempt. For an hour that ends soon the wait is in
// limits, where everybody waits for it.
func (p RetryPolicy) rest(ctx context.Context, l *limits, c *call, a *answer, n int) error {
	if a != nil && isRateLimited(a.status) && a.limit.Kind == LimitHourly {
		if b, blocked := l.blocked(c.op); blocked {
			if left := time.Until(b.ends); left > l.near {
				return errHourOver
			}
			return nil
		}
	}
	return wait(ctx, p.pause(n))
}

// errHourOver ends the repeating; the answer itself says all there is to say.
var errHourOver = errors.New("the hour's allowance is used up")

// gaveUp keeps the last failure and adds why it was not repeated.
func gaveUp(a *answer, err, stop error) (*answer, error) {
	switch {
	case stop == errHourOver:
		return a, nil
	case a != nil:
		a.stopped = stop
		return a, nil
	default:
		return nil, because(err, stop)
	}
}

// because is a failure and why nothing more was tried.
func because(last, stop error) error {
	switch {
	case last == nil:
		return stop
	case stop == nil:
		return last
	}
	return &stoppedError{last: last, stop: stop}
}

type stoppedError struct{ last, stop error }

func (e *stoppedError) Error() string   { return e.last.Error() + "; " + e.stop.Error() }
func (e *stoppedError) Unwrap() []error { return []error{e.last, e.stop} }
