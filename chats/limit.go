package chats

import (
	"cmp"
	"fmt"
	"net/http"
	"time"
)

// LimitKind is one of Market's two kinds of limits. It is empty if the response, such as one
// from a gateway, names neither.
type LimitKind string

// The kinds of limits.
const (
	LimitHourly   LimitKind = "hourly"   // the quota: requests of one operation per hour and business
	LimitParallel LimitKind = "parallel" // concurrent requests per business
)

// Limit is a limit as reported by the server. All programs that call the API for the same
// business share it.
type Limit struct {
	Kind      LimitKind
	Max       int       // requests per quota window, or concurrent ones; 0 if not reported
	Remaining int       // requests left in the window
	Until     time.Time // end of the window by the server's clock, or of Retry-After, at most an hour ahead; zero if not reported
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
