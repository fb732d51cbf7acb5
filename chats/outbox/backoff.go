package outbox

import "time"

// maxForbiddenDelay bounds the delay between two attempts in a chat for which the server
// responds 403.
const maxForbiddenDelay = 15 * time.Minute

// maxReportDelay bounds the delay between two calls of the WithSettled function for an
// item, which may need human attention.
const maxReportDelay = 5 * time.Minute

// dueAt returns when something is due that a process has put off. A time that is further
// ahead than any delay is by a wrong clock: it is due at once.
func dueAt(at, now time.Time, maxDelay time.Duration) time.Time {
	if at.Sub(now) > maxDelay {
		return time.Time{}
	}
	return at
}
