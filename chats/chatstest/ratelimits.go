package chatstest

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// statusRateLimited is the vendor's status for both limits.
const statusRateLimited = 420

// documentedQuotas has the number of requests per hour for each operation.
var documentedQuotas = map[chats.Operation]int{
	chats.OpGetChats:          5_000,
	chats.OpGetChat:           1_000,
	chats.OpGetChatHistory:    10_000,
	chats.OpGetChatMessage:    1_000,
	chats.OpCreateChat:        1_000,
	chats.OpSendMessageToChat: 1_000,
	chats.OpSendFileToChat:    1_000,
}

// limits counts requests. Quota windows are full hours of the clock, as on the
// real Market.
type limits struct {
	business chats.BusinessID

	maxParallel int
	parallel    int
	peak        int

	quotas   map[chats.Operation]int
	enforced map[chats.Operation]int
	used     map[chats.Operation]int
	window   time.Time // when it began
}

func newLimits(s settings) *limits {
	l := &limits{used: map[chats.Operation]int{}}
	l.configure(s)
	return l
}

// configure sets the limits and keeps the counts.
func (l *limits) configure(s settings) {
	quotas := maps.Clone(documentedQuotas)
	maps.Copy(quotas, s.hourly)
	l.business, l.maxParallel, l.quotas, l.enforced = s.business, s.parallel, quotas, s.hourly
}

// acquire counts a concurrent request and reports whether it is within the limit. The caller
// must call release in either case.
func (l *limits) acquire() bool {
	l.parallel++
	l.peak = max(l.peak, l.parallel)
	return l.maxParallel <= 0 || l.parallel <= l.maxParallel
}

func (l *limits) release() { l.parallel-- }

// charge uses one request of the quota and reports whether one was left.
func (l *limits) charge(op chats.Operation, now time.Time) bool {
	l.startWindow(now)
	quota, enforced := l.enforced[op]
	if enforced && l.used[op] >= quota {
		return false
	}
	l.used[op]++
	return true
}

func (l *limits) startWindow(now time.Time) {
	if hour := now.Truncate(time.Hour); hour.After(l.window) {
		l.window = hour
		clear(l.used)
	}
}

// withHeaders adds the limit headers that every response has. A quota that is not enforced never
// runs out, because a client that reads a zero stops making requests.
func (l *limits) withHeaders(resp response, op chats.Operation, now time.Time) response {
	l.startWindow(now)
	least := 1
	if _, enforced := l.enforced[op]; enforced {
		least = 0
	}
	resp.header.Set("X-RateLimit-Resource-Limit", strconv.Itoa(l.quotas[op]))
	resp.header.Set("X-RateLimit-Resource-Remaining", strconv.Itoa(max(l.quotas[op]-l.used[op], least)))
	resp.header.Set("X-RateLimit-Resource-Until", l.window.Add(time.Hour).UTC().Format(http.TimeFormat))
	return resp
}

func (l *limits) parallelExceeded(op chats.Operation, now time.Time) response {
	limit := l.maxParallel
	if limit <= 0 {
		limit = defaultParallel
	}
	resp := l.exceeded(op, now, fmt.Sprintf("Hit rate limit of %d parallel requests for business %d", limit, l.business))
	resp.header.Del("X-RateLimit-Resource-Until")
	return resp
}

func (l *limits) quotaExceeded(op chats.Operation, now time.Time) response {
	return l.exceeded(op, now, fmt.Sprintf("Hit rate limit of %d requests per hour for resource %s for business %d",
		l.quotas[op], op, l.business))
}

func (l *limits) exceeded(op chats.Operation, now time.Time, text string) response {
	return l.withHeaders((&problem{statusRateLimited, "METHOD_FAILURE", text}).response(), op, now)
}
