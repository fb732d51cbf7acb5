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

// limitFrom reads the headers. ok is false where they tell nothing.
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

// httpDate reads an HTTP date without looking at the day's name, which Market has
// been seen to get wrong.
func httpDate(text string) (time.Time, bool) {
	_, date, found := strings.Cut(text, ",")
	if !found {
		return time.Time{}, false
	}
	t, err := time.Parse("02 Jan 2006 15:04:05 GMT", strings.TrimSpace(date))
	return t, err == nil
}

// longestBlock bounds what a header can make the client refuse locally.
const maxBlock = 24 * time.Hour

// reopensIn is how long the window still lasts: by the answer's own Date where
// there is one, for the two clocks may differ.
func resetIn(until time.Time, h http.Header, now time.Time) time.Duration {
	if date, ok := httpDate(h.Get("Date")); ok {
		now = date
	}
	return min(until.Sub(now), maxBlock)
}

// limitOf a 420: its text tells which of the two limits it was, whatever headers it
// carries, for they speak of the hour on every answer. Where the text is lost, an
// hour of which something remains cannot be what was reached.
func reachedLimit(details []Detail, hourly Limit) Limit {
	for _, d := range details {
		switch text := strings.ToLower(d.Message); {
		case strings.Contains(text, "parallel"):
			parallel := Limit{Kind: LimitParallel}
			_, _ = fmt.Sscanf(d.Message, "Hit rate limit of %d", &parallel.Max) // stays 0 in another text
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

// limits is what a client knows of Market's limits, and its own bound on requests
// at once.
type limits struct {
	slots   chan struct{}
	limiter Limiter
	maxWait time.Duration // a block that ends within this is waited for

	mu     sync.Mutex
	quotas map[Operation]Limit
	blocks map[Operation]block
}

type block struct {
	limit Limit
	until time.Time // by our clock
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

// link holds a place for the request while next runs, and only then: not while
// anybody waits. The hour is looked at again with the place in hand, because the
// requests before may have used it up meanwhile.
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
		}
		return resp, err
	}
}

// admit returns with a place in hand, or with an error.
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

// awaitHour waits for a block that ends soon and refuses for one that does not.
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

// note keeps what an answer says of the limits, and blocks the operation where
// its hour is used up.
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
	if !reported && !limit.Until.IsZero() { // how many there are is not news; that none is left, is
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

// Limiter is a pace of the caller's own. Wait is called once per attempt and
// returns when the attempt may begin, or with an error that fails the call.
// *rate.Limiter of golang.org/x/time/rate is one.
type Limiter interface{ Wait(context.Context) error }
