package chats

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	headerLimit     = "X-Ratelimit-Resource-Limit"
	headerRemaining = "X-Ratelimit-Resource-Remaining"
	headerUntil     = "X-Ratelimit-Resource-Until"
)

// parseLimit returns the hourly quota from the headers. ok is false if they do not report
// it; the limit may have an Until all the same.
func parseLimit(h http.Header) (limit Limit, ok bool) {
	maximum, err1 := strconv.Atoi(strings.TrimSpace(h.Get(headerLimit)))
	remaining, err2 := strconv.Atoi(strings.TrimSpace(h.Get(headerRemaining)))
	until, _ := httpDate(h.Get(headerUntil))
	limit = Limit{Kind: LimitHourly, Until: until}
	if err1 != nil || err2 != nil || maximum < 0 || remaining < 0 {
		return limit, false
	}
	limit.Max, limit.Remaining = maximum, remaining
	return limit, true
}

// httpDate parses an HTTP date. It ignores the name of the day, which Market is known to
// get wrong.
func httpDate(text string) (time.Time, bool) {
	_, date, found := strings.Cut(text, ",")
	if !found {
		return time.Time{}, false
	}
	t, err := time.Parse("02 Jan 2006 15:04:05 GMT", strings.TrimSpace(date))
	return t, err == nil
}

// maxBlock bounds how long a header can block an operation.
const maxBlock = 24 * time.Hour

// resetIn returns how long the quota window still lasts. It goes by the Date of the
// response if there is one, because the clocks may differ.
func resetIn(until time.Time, h http.Header, now time.Time) time.Duration {
	if date, ok := httpDate(h.Get("Date")); ok {
		now = date
	}
	return min(until.Sub(now), maxBlock)
}

// reachedLimit returns the limit behind a 420. The text of the response decides, not its
// headers, which report the hourly quota on every response. Without a text, a quota of
// which something remains cannot be the one that was reached.
func reachedLimit(details []Detail, hourly Limit) Limit {
	for _, d := range details {
		switch text := strings.ToLower(d.Message); {
		case strings.Contains(text, "parallel"):
			parallel := Limit{Kind: LimitParallel}
			_, _ = fmt.Sscanf(d.Message, "Hit rate limit of %d", &parallel.Max) // stays 0 if the text differs
			return parallel
		case strings.Contains(text, "requests per"):
			return hourly
		}
	}
	if hourly.Remaining > 0 {
		return Limit{Kind: LimitParallel}
	}
	return hourly
}

// Limiter paces outgoing requests. Wait is called once per attempt. It returns nil when
// the attempt may begin; an error fails the call. A *rate.Limiter of
// golang.org/x/time/rate implements it.
type Limiter interface{ Wait(context.Context) error }

// limits holds the quotas that Market has reported, and bounds the concurrent requests of
// the client.
type limits struct {
	slots   chan struct{} // a semaphore
	limiter Limiter       // may be nil
	maxWait time.Duration // a call waits for a block that ends within it
	clock   serverClock

	mu     sync.Mutex
	quotas map[Operation]Limit
	blocks map[Operation]block
}

// block is the time during which an operation is refused without a request.
type block struct {
	limit Limit
	until time.Time // by the local clock
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

// middleware holds a slot while next runs, and not while the call waits.
func (l *limits) middleware(next doFunc) doFunc {
	return func(ctx context.Context, c *call) (*response, error) {
		began := time.Now()
		if err := l.admit(ctx, c.op); err != nil {
			return nil, err
		}
		defer func() { <-l.slots }()
		c.waited += time.Since(began)

		resp, err := next(ctx, c)
		if resp != nil {
			l.observe(resp)
			l.clock.observe(resp.header)
		}
		return resp, err
	}
}

// admit returns nil once it holds a slot. It checks the quota again with the slot held,
// because the requests before may have exhausted it.
func (l *limits) admit(ctx context.Context, op Operation) error {
	if err := l.awaitQuota(ctx, op); err != nil {
		return err
	}
	if l.limiter != nil {
		if err := l.limiter.Wait(ctx); err != nil {
			return err
		}
	}
	for {
		if err := l.awaitQuota(ctx, op); err != nil {
			return err
		}
		select {
		case l.slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, blocked := l.blocked(op); !blocked {
			return nil
		}
		<-l.slots
	}
}

// awaitQuota waits for the end of a block, or returns a quotaError if that is too far away.
func (l *limits) awaitQuota(ctx context.Context, op Operation) error {
	for {
		b, blocked := l.blocked(op)
		if !blocked {
			return ctx.Err()
		}
		remaining := time.Until(b.until)
		if remaining > l.maxWait {
			return &quotaError{limit: b.limit}
		}
		if err := wait(ctx, remaining); err != nil {
			return &quotaError{b.limit, err}
		}
	}
}

func (l *limits) blocked(op Operation) (block, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.blocks[op]
	if ok && !time.Now().Before(b.until) {
		delete(l.blocks, op)
		return block{}, false
	}
	return b, ok
}

// observe records the limit that a response reports, and blocks the operation if its
// hourly quota is exhausted.
func (l *limits) observe(resp *response) {
	limit, reported := parseLimit(resp.header)
	if reported {
		resp.limit = limit
		l.setReported(resp.op, limit)
	}
	if !isRateLimited(resp.status) {
		return
	}
	if resp.limit = reachedLimit(resp.details(), limit); resp.limit.Kind != LimitHourly {
		return
	}
	if !reported && !limit.Until.IsZero() { // keeps the known maximum and records that none remain
		known, _ := l.reported(resp.op)
		resp.limit.Max = known.Max
		l.setReported(resp.op, resp.limit)
	}
	if in := resetIn(limit.Until, resp.header, time.Now()); !limit.Until.IsZero() && in > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.blocks[resp.op] = block{limit: limit, until: time.Now().Add(in)}
	}
}

func (l *limits) setReported(op Operation, limit Limit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.quotas[op] = limit
}

func (l *limits) reported(op Operation) (Limit, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit, ok := l.quotas[op]
	return limit, ok
}
