package chats

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/servertime"
)

// LimitKind is one of Market's two kinds of limits. It is empty if the response does not show which
// limit was reached, as with a response from a gateway.
type LimitKind string

// The kinds of limits.
const (
	LimitHourly   LimitKind = "hourly"   // the quota: how many requests for one operation a business may make per hour
	LimitParallel LimitKind = "parallel" // how many requests a business may make concurrently
)

// Limit is a limit as reported by the server. All programs that call the API for the same
// business share it.
type Limit struct {
	Kind      LimitKind
	Max       int       // requests per quota window, or concurrent requests; 0 if not reported
	Remaining int       // requests left in the window
	Until     time.Time // end of the window by the server's clock, or of the delay in Retry-After; at most an hour ahead; zero if not reported
}

// describe returns the error text for a limit that was reached.
func (l Limit) describe() string {
	text := cmp.Or(string(l.Kind), "rate") + " limit"
	if l.Max > 0 {
		text += fmt.Sprintf(" of %d", l.Max)
	}
	text += " reached"
	if !l.Until.IsZero() {
		text += ", try again at " + clockTime(l.Until)
	}
	return text
}

// clockTime formats a time, without the date if it is less than a day away.
func clockTime(t time.Time) string {
	if time.Until(t).Abs() < 24*time.Hour {
		return t.UTC().Format("15:04:05Z")
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// isRateLimited reports whether status means that a limit was reached. Market sends 420 for
// both kinds and never 429, but a proxy may.
func isRateLimited(status int) bool { return status == 420 || status == http.StatusTooManyRequests }

const (
	headerLimit     = "X-Ratelimit-Resource-Limit"
	headerRemaining = "X-Ratelimit-Resource-Remaining"
	headerUntil     = "X-Ratelimit-Resource-Until"
)

// parseLimit returns the hourly quota from the headers. ok is false if they do not report it;
// even then the limit may have an Until.
func parseLimit(h http.Header) (limit Limit, ok bool) {
	maximum, err1 := strconv.Atoi(strings.TrimSpace(firstOf(h.Get(headerLimit))))
	remaining, err2 := strconv.Atoi(strings.TrimSpace(firstOf(h.Get(headerRemaining))))
	until, _ := servertime.Parse(h.Get(headerUntil))
	limit = Limit{Kind: LimitHourly, Until: until}
	if err1 != nil || err2 != nil || maximum < 0 || remaining < 0 {
		return limit, false
	}
	limit.Max, limit.Remaining = maximum, remaining
	return limit, true
}

// firstOf returns the value of a header, or the first value if a proxy has joined several.
func firstOf(list string) string { first, _, _ := strings.Cut(list, ", "); return first }

// parallelText and hourlyText match the text of a 420. A text about a quota names its period.
var (
	parallelText = regexp.MustCompile(`(?i)parallel|concurren|simultaneous|in.?flight|at once|at a time|at the same time|параллел|одновремен`)
	hourlyText   = regexp.MustCompile(`(?i)hour|dai?ly|points per|(per |each |every |/ ?)([a-z0-9]+ )?(second|minute|day)|(per |each |every |/ ?)([0-9]+ ?)?([smhd]|sec|mins?|hr)\b|` +
		`часов(ой|ого|ая|ую)|(еже|по)час|суточн|дневн|(\PL(в|за|на)|/) ?(течение )?([0-9]+ )?(час|часа|часов|минут|минуту|минуты|секунд|секунду|секунды|день|дня|дней|сутки|суток)(\PL|$)`)
)

// reachedLimit returns the limit behind a 420 or 429. The kind of limit is determined by the
// text of the response rather than its headers, which report the hourly quota on every
// response. Without such a text, a response with Retry-After or without any quota headers is a
// gateway's and refers to neither limit; any other refers to the parallel limit if the quota
// is not exhausted.
func reachedLimit(details []Detail, hourly Limit, retryAt time.Time) Limit {
	for _, d := range details {
		switch {
		case parallelText.MatchString(d.Message):
			parallel := Limit{Kind: LimitParallel}
			_, _ = fmt.Sscanf(d.Message, "Hit rate limit of %d", &parallel.Max) // stays 0 if the text differs
			return parallel
		case hourlyText.MatchString(d.Message):
			hourly.Until = cmp.Or(hourly.Until, retryAt)
			return hourly
		}
	}
	switch {
	case !retryAt.IsZero() || hourly == Limit{Kind: LimitHourly}:
		return Limit{Until: retryAt}
	case hourly.Remaining > 0:
		return Limit{Kind: LimitParallel}
	}
	return hourly
}
