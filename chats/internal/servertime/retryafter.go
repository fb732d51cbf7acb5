package servertime

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter is the longest Retry-After in seconds. It is longer than any wait.
const maxRetryAfter = 1 << 32

// RetryAfter returns the delay of the Retry-After header of a response, or 0. If the header is a
// date, the delay is computed by [Until]. A number close to the current Unix time is a date.
func RetryAfter(h http.Header, now time.Time, longest time.Duration) time.Duration {
	text := strings.Trim(h.Get("Retry-After"), "\t \"';s")
	if at, ok := Parse(text); ok && at.After(now.AddDate(0, 0, -1)) {
		return max(Until(at, h, now, longest), 0)
	}
	text, _, _ = strings.Cut(text, ",") // a proxy may have joined several
	if seconds, err := strconv.ParseFloat(text, 64); seconds >= 0 && (err == nil || errors.Is(err, strconv.ErrRange)) {
		return time.Duration(min(seconds, maxRetryAfter) * float64(time.Second))
	}
	return 0
}
