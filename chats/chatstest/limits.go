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

// parallelLimit is the documented number of requests of a business at once.
const parallelLimit = 4

// documentedLimits are the requests per hour of each operation.
var documentedLimits = map[chats.Operation]int{
	chats.OpGetChats:          5_000,
	chats.OpGetChat:           1_000,
	chats.OpGetChatHistory:    10_000,
	chats.OpGetChatMessage:    1_000,
	chats.OpCreateChat:        1_000,
	chats.OpSendMessageToChat: 1_000,
	chats.OpSendFileToChat:    1_000,
}

// limits counts requests, all under the Market's lock. Hours are those of the
// clock, as on the real Market.
type limits struct {
	parallel     int
	underWay     int
	mostUnderWay int

	hourly   map[chats.Operation]int
	enforced map[chats.Operation]int
	used     map[chats.Operation]int
	hour     time.Time
}

func newLimits(s settings) limits {
	hourly := maps.Clone(documentedLimits)
	maps.Copy(hourly, s.hourly)
	return limits{parallel: s.parallel, hourly: hourly, enforced: s.hourly, used: map[chats.Operation]int{}}
}

// enter counts a request in and says whether there was room for it.
func (l *limits) enter() bool {
	l.underWay++
	l.mostUnderWay = max(l.mostUnderWay, l.underWay)
	return l.parallel <= 0 || l.underWay <= l.parallel
}

func (l *limits) leave() { l.underWay-- }

// charge takes one of the hour's requests, if there is one left.
func (l *limits) charge(op chats.Operation, now time.Time) bool {
	l.roll(now)
	limit, enforced := l.enforced[op]
	if enforced && l.used[op] >= limit {
		return false
	}
	l.used[op]++
	return true
}

func (l *limits) roll(now time.Time) {
	if hour := now.Truncate(time.Hour); hour.After(l.hour) {
		l.hour = hour
		clear(l.used)
	}
}

// tell writes the headers that every answer has.
func (l *limits) tell(header http.Header, op chats.Operation, now time.Time) {
	l.roll(now)
	header.Set("X-RateLimit-Resource-Limit", strconv.Itoa(l.hourly[op]))
	header.Set("X-RateLimit-Resource-Remaining", strconv.Itoa(max(l.hourly[op]-l.used[op], 0)))
	header.Set("X-RateLimit-Resource-Until", l.hour.Add(time.Hour).UTC().Format(http.TimeFormat))
}

func (m *Market) parallelReply(op chats.Operation, now time.Time) reply {
	limit := m.limits.parallel
	if limit <= 0 {
		limit = parallelLimit
	}
	rep := m.limitReply(op, now, fmt.Sprintf("Hit rate limit of %d parallel requests for business %d",
		limit, m.settings.business))
	rep.header.Del("X-RateLimit-Resource-Until")
	return rep
}

func (m *Market) hourlyReply(op chats.Operation, now time.Time) reply {
	return m.limitReply(op, now, fmt.Sprintf("Hit rate limit of %d requests per hour for resource %s for business %d",
		m.limits.hourly[op], op, m.settings.business))
}

func (m *Market) limitReply(op chats.Operation, now time.Time, text string) reply {
	rep := (&problem{statusRateLimited, "LIMIT_EXCEEDED", text}).reply()
	m.limits.tell(rep.header, op, now)
	return rep
}
