package inbox

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/attempts"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// window is the length of Market's quota windows.
const window = time.Hour

// documentedQuota is the number of requests per window that is assumed until the server
// reports the quota.
var documentedQuota = map[chats.Operation]int{
	chats.OpGetChats: 5_000, chats.OpGetChat: 1_000, chats.OpGetChatHistory: 10_000,
}

// defaultReserve is the fraction of the quota that is left to other programs; see [WithQuotaReserve].
const defaultReserve = 0.5

// quota counts the inbox's own requests and keeps them within its share of Market's quota.
// Requests from other programs are ignored until the quota is exhausted.
type quota struct {
	client  *chats.Client
	reserve float64 // the fraction left unused

	mu      sync.Mutex
	usage   map[chats.Operation]Usage
	blocked map[chats.Operation]time.Time
	last    map[chats.Operation]time.Time // time of the last request
}

func newQuota(client *chats.Client, reserve float64, usage map[chats.Operation]Usage) *quota {
	return &quota{
		client: client, reserve: reserve, usage: maps.Collect(maps.All(usage)), // not nil
		blocked: map[chats.Operation]time.Time{}, last: map[chats.Operation]time.Time{},
	}
}

// budget returns how many requests of an operation the inbox may make per window.
func (q *quota) budget(op chats.Operation) float64 {
	allowed := documentedQuota[op]
	if limit, ok := q.client.Limit(op); ok && limit.Max > 0 && !limit.Until.IsZero() {
		allowed = limit.Max
	}
	return max(1, (1-q.reserve)*float64(allowed))
}

func (q *quota) count(op chats.Operation, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.countLocked(op, n, time.Now())
}

func (q *quota) countLocked(op chats.Operation, n int, now time.Time) {
	u := q.current(op, now)
	u.Requests = max(0, u.Requests+n)
	q.usage[op], q.last[op] = u, now
	if n < 0 { // the last request was not made, so the next one need not wait
		delete(q.last, op)
	}
}

// prepaid returns a context under which the client's requests are counted, except the first one of
// an operation, which has been counted already. refund takes that request off the count if it was
// not made. For each request, skipped is called with the number of items that the client has skipped.
func (q *quota) prepaid(ctx context.Context, op chats.Operation, skipped func(int)) (counting context.Context, refund func()) {
	var used atomic.Bool
	counting = attempts.WithCounter(ctx, func(made string, n int) {
		skipped(n)
		if made != string(op) || used.Swap(true) {
			q.count(chats.Operation(made), 1)
		}
	})
	return counting, func() {
		if !used.Swap(true) {
			q.count(op, -1)
		}
	}
}

// current returns the usage of the window that contains a time.
func (q *quota) current(op chats.Operation, now time.Time) Usage {
	u, end := q.usage[op], now.Truncate(window).Add(window)
	if _, reported := q.reported(op, now); !reported.IsZero() {
		end = reported
	}
	if !now.Before(u.Window) {
		u = Usage{Window: end}
	}
	if end.Before(u.Window) {
		u.Window = end
	}
	return u
}

// reported returns the limit that the server has reported for the current window, and when the
// window ends by the local clock, or the zero time if that is not known.
func (q *quota) reported(op chats.Operation, now time.Time) (limit chats.Limit, end time.Time) {
	limit, ok := q.client.Limit(op)
	if !ok || limit.Until.IsZero() {
		return limit, time.Time{}
	}
	end = q.local(limit.Until, now)
	if !end.After(now) || end.After(now.Add(window+time.Minute)) {
		return limit, time.Time{}
	}
	return limit, end
}

// local converts a time by the server's clock to the local clock.
func (q *quota) local(t, now time.Time) time.Time {
	if server, ok := q.client.ServerTime(); ok {
		return t.Add(now.Sub(server))
	}
	return t
}

func (q *quota) used(op chats.Operation) Usage {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.current(op, time.Now())
}

// left returns how many requests the inbox may still make in this window.
func (q *quota) left(op chats.Operation) int { return int(q.budget(op)) - q.used(op).Requests }

// share returns the share of the budget that is left in this window.
func (q *quota) share(op chats.Operation) float64 { return float64(q.left(op)) / q.budget(op) }

func (q *quota) end(op chats.Operation) time.Time { return q.used(op).Window }

// next returns when the next request may be made; a time that is not after now means now.
func (q *quota) next(op chats.Operation) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.nextLocked(op, time.Now())
}

func (q *quota) nextLocked(op chats.Operation, now time.Time) time.Time {
	if limit, end := q.reported(op, now); limit.Remaining == 0 && limit.Max > 0 && !end.IsZero() {
		return end
	}
	u := q.current(op, now)
	if float64(u.Requests+1) > q.budget(op) {
		return u.Window
	}
	return q.blocked[op]
}

// take counts a request if it may be made now; otherwise it returns when it may be.
func (q *quota) take(op chats.Operation) (next time.Time, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if next = q.nextLocked(op, now); next.After(now) {
		return next, false
	}
	q.countLocked(op, 1, now)
	return now, true
}

// nextSpaced is next for polls: the last quarter of the budget is spread over the rest of the
// window, so that a message waits for minutes at worst, not until the end of the window.
func (q *quota) nextSpaced(op chats.Operation) time.Time {
	at, left := q.next(op), q.left(op)
	if left < 1 || q.share(op) >= 0.25 {
		return at
	}
	end := q.end(op)
	q.mu.Lock()
	defer q.mu.Unlock()
	return wait.Later(at, q.last[op].Add(time.Until(end)/time.Duration(left)))
}

// refuse records a 420 and returns when to try again. The client itself refuses requests until
// the window is over, so trying every minute costs nothing and does not depend on a clock.
func (q *quota) refuse(op chats.Operation, err error) time.Time {
	now := time.Now()
	delay := wait.Max
	var failed *chats.Error
	if errors.As(err, &failed) && failed.Limit != nil {
		switch until := q.local(failed.Limit.Until, now); {
		case failed.Limit.Kind == chats.LimitParallel:
			delay = time.Second
		case until.After(now):
			delay = min(until.Sub(now), wait.Max)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.blocked[op] = now.Add(delay)
	return q.blocked[op]
}

// state returns the usage to be stored in the business's row.
func (q *quota) state() map[chats.Operation]Usage {
	q.mu.Lock()
	defer q.mu.Unlock()
	return maps.Clone(q.usage)
}
