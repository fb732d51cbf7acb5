package inbox

import "time"

// The maximum delays after failures that may need human attention.
const (
	maxHandlerBackoff = 5 * time.Minute // also for a chat that cannot be read, unless it is refused
	maxRefusedBackoff = time.Hour       // for a chat whose history is refused or cannot be understood, or that is missing or forbidden
)

// goneAfter is how long a missing or forbidden chat is still polled.
const goneAfter = 3 * 24 * time.Hour

// backoffSince returns the delay for something that has been failing since a given time. The
// delay equals that time, so it doubles with each attempt, without a counter.
func backoffSince(since, now time.Time, longest time.Duration) time.Duration {
	return min(max(now.Sub(since), time.Second), longest)
}
