package chats

import (
	"fmt"
	"net/http"
	"time"
)

// LimitKind tells Market's two limits apart.
type LimitKind string

// The kinds of limits.
const (
	LimitHourly   LimitKind = "hourly"   // requests of one operation per hour, per business
	LimitParallel LimitKind = "parallel" // requests at once, per business
)

// Limit is what the server said of a limit. Everything that uses the business
// shares it, not this client alone.
type Limit struct {
	Kind      LimitKind
	Max       int       // requests per window; 0 when not told
	Remaining int       // of Max
	Until     time.Time // end of the window, by the server's clock; zero when not told
}

// reached is the text of an error.
func (l Limit) describe() string {
	text := string(l.Kind) + " limit"
	if l.Max > 0 {
		text += fmt.Sprintf(" of %d", l.Max)
	}
	text += " reached"
	if !l.Until.IsZero() {
		text += ", open again at " + l.Until.UTC().Format("15:04:05Z")
	}
	return text
}

// 420 is Market's status for both limits; it never sends 429, a proxy may.
func isRateLimited(status int) bool { return status == 420 || status == http.StatusTooManyRequests }
