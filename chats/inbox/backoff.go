package inbox

import "time"

// The upper bounds of delays after failures that may need human attention.
const (
	maxHandlerBackoff = 5 * time.Minute
	maxRefusedBackoff = time.Hour      // of a chat whose history is refused or cannot be understood
	maxAbsentBackoff  = 24 * time.Hour // of a chat that is not found or forbidden
)

// goneAfter is how long a chat is still polled while it is missing or forbidden.
const goneAfter = 3 * 24 * time.Hour

// backoffSince returns the delay for something that has been failing since a given time. It
// doubles as well, but needs no counter.
func backoffSince(since, now time.Time, longest time.Duration) time.Duration {
	return min(max(now.Sub(since), time.Second), longest)
}
