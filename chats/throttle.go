package chats

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/callerctx"
	"github.com/ymchats/ymchats-go/chats/internal/servertime"
)

// quotaWindow is the maximum length of a quota window; Market's windows are full hours.
const quotaWindow = time.Hour

// Limiter paces outgoing requests. Wait is called once per attempt. It returns nil when the
// attempt may begin; an error fails the call. A *rate.Limiter from golang.org/x/time/rate
// implements it.
type Limiter interface{ Wait(context.Context) error }

// limits holds the quotas that Market has reported and bounds the number of concurrent
// requests of the client.
type limits struct {
	slots   chan struct{} // a semaphore
	limiter Limiter       // may be nil
	maxWait time.Duration // the maximum time for which a call waits for a block to end
	clock   servertime.Clock

	mu     sync.Mutex
	quotas map[Operation]Limit
	blocks map[Operation]block
}

// block is a period in which calls to an operation are refused without a request.
type block struct {
	op    Operation
	limit Limit
	until time.Time // wall clock time: the monotonic clock stops while the machine sleeps
}

func newLimits(maxParallel int, limiter Limiter, maxWait time.Duration) *limits {
	return &limits{
		slots:   make(chan struct{}, maxParallel),
		limiter: limiter,
		maxWait: maxWait,
		quotas:  map[Operation]Limit{},
		blocks:  map[Operation]block{},
	}
}

// quotaMiddleware waits for the hourly quotas and the caller's limiter. If the quota turns
// out to be exhausted once an attempt holds a slot, the attempt returns here and waits
// again, so that the middleware in between reads the credential after all long waits.
func (l *limits) quotaMiddleware(next doFunc) doFunc {
	return func(ctx context.Context, c *call) (*response, error) {
		began := time.Now()
		if l.limiter != nil {
			if err := l.awaitQuotas(ctx, c); err != nil {
				return nil, err
			}
			if err := l.limiter.Wait(ctx); err != nil {
				return nil, err
			}
		}
		for {
			if err := l.awaitQuotas(ctx, c); err != nil {
				return nil, err
			}
			c.waited += time.Since(began)
			resp, err := next(ctx, c)
			if err != errBlocked { //nolint:errorlint // admit returns it unwrapped
				return resp, err
			}
			began = time.Now()
		}
	}
}

// slotKey marks the context of the requests that prepare a call: they use the slot and the secret of
// that call, if they are made by the same client.
type slotKey struct{ limits *limits }

func (l *limits) usesSlotOfAnother(ctx context.Context) bool { return ctx.Value(slotKey{l}) != nil }

// slotMiddleware holds a slot while next runs, but not while the call waits.
func (l *limits) slotMiddleware(next doFunc) doFunc {
	return func(ctx context.Context, c *call) (*response, error) {
		began := time.Now()
		if !l.usesSlotOfAnother(ctx) {
			if err := l.admit(ctx, c); err != nil {
				return nil, err
			}
			defer l.release()
		}
		c.waited += time.Since(began)
		if c.prepare != nil {
			if err := c.prepare(context.WithValue(ctx, slotKey{l}, c)); err != nil {
				return nil, err
			}
		}

		resp, err := next(ctx, c)
		if resp != nil {
			l.observe(resp)
			l.clock.Observe(resp.header)
		}
		return resp, err
	}
}

var errBlocked = errors.New("the hourly quota was exhausted while the attempt waited for a slot")

// admit returns once it holds a slot, or errBlocked if earlier requests have exhausted a
// quota.
func (l *limits) admit(ctx context.Context, c *call) error {
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, blocked := l.blocked(c.quotas()...); blocked {
		<-l.slots
		return errBlocked
	}
	return nil
}

func (l *limits) release() {
	if <-l.slots; len(l.slots) == cap(l.slots) { // a call that was waiting has the slot: let it send before this one decodes
		runtime.Gosched()
	}
}

// quotas returns the operations whose quotas an attempt uses.
func (c *call) quotas() []Operation {
	if c.prepare != nil {
		return []Operation{c.op, OpGetChatHistory}
	}
	return []Operation{c.op}
}

// awaitQuotas waits until no operation of a call is blocked, or returns a quotaError if that
// takes too long.
func (l *limits) awaitQuotas(ctx context.Context, c *call) error {
	for {
		b, blocked := l.blocked(c.quotas()...)
		if !blocked {
			return ctx.Err()
		}
		remaining := time.Until(b.until)
		if remaining > l.maxWait || l.usesSlotOfAnother(ctx) {
			return &quotaError{op: b.op, limit: b.limit}
		}
		if err := callerctx.Wait(ctx, remaining); err != nil {
			return &quotaError{b.op, b.limit, err}
		}
	}
}

// blocked returns the block that is in effect for one of the operations. A block with more than a
// window left is ignored: the local clock has been set back since it began.
func (l *limits) blocked(ops ...Operation) (b block, blocked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, op := range ops {
		b = l.blocks[op]
		if remaining := time.Until(b.until); remaining > 0 && remaining <= quotaWindow {
			return b, true
		}
	}
	return block{}, false
}

// observe records the limit that a response reports. It blocks the operation if its hourly
// quota is exhausted: after a 420, and after a response that reports a remaining quota of 0.
func (l *limits) observe(resp *response) {
	now, retryAt := time.Now(), time.Time{}
	limit, reported := parseLimit(resp.header)
	limit.Until = servertime.Bound(limit.Until, resp.header, now, quotaWindow)
	exhausted := reported && limit.Max > 0 && limit.Remaining == 0
	if reported {
		resp.limit = limit
	}
	if isRateLimited(resp.status) {
		if in := servertime.RetryAfter(resp.header, now, quotaWindow); in > 0 {
			retryAt = now.Add(min(in, quotaWindow))
		}
		limit = reachedLimit(resp.details(), limit, retryAt)
		resp.limit, exhausted = limit, limit.Kind != LimitParallel
	}
	op := resp.call.op
	l.mu.Lock()
	defer l.mu.Unlock()
	if reported && limit.Kind == LimitHourly { // otherwise the limit that was reached is not the one in the headers
		l.quotas[op] = limit
	}
	if !exhausted || limit.Until.IsZero() {
		return
	}
	if !reported && limit.Kind == LimitHourly { // keep the known maximum and record that none remain
		limit.Max = l.quotas[op].Max
		l.quotas[op], resp.limit = limit, limit
	}
	in := servertime.Until(limit.Until, resp.header, now, quotaWindow)
	if limit.Until.Equal(retryAt) { // which is by the local clock
		in = retryAt.Sub(now)
	}
	l.block(block{op, limit, now.Add(in).Round(0)})
}

// block blocks an operation. Responses may arrive out of order, so the later end counts. The
// caller holds mu.
func (l *limits) block(b block) {
	if b.until.After(l.blocks[b.op].until) {
		l.blocks[b.op] = b
	}
}

func (l *limits) reported(op Operation) (Limit, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit, ok := l.quotas[op]
	return limit, ok
}
