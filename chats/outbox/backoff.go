package outbox

import (
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// maxPostDelay is the maximum delay between two attempts of an item. It must be less than
// maxForbiddenDelay: what is due later than that counts as the work of a wrong clock, see dueAt.
const maxPostDelay = wait.Max

// maxForbiddenDelay is the maximum delay between two attempts in a chat for which the server
// responds with 403.
const maxForbiddenDelay = 15 * time.Minute

// maxReportDelay is the maximum delay between two calls to the WithSettled function for an
// item, because a failure may need human attention.
const maxReportDelay = 5 * time.Minute

// dueAt returns when postponed work is due. A time further ahead than maxDelay comes from a wrong
// clock; dueAt then returns the zero time, which means now.
func dueAt(at, now time.Time, maxDelay time.Duration) time.Time {
	if at.Sub(now) > maxDelay {
		return time.Time{}
	}
	return at
}
