package servertime

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// RetryAfter returns the time until the Retry-After of a response, or 0. If it is a date, it
// is as in [Until].
func RetryAfter(h http.Header, now time.Time, longest time.Duration) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(seconds) * time.Second
	}
	if at, ok := Parse(text); ok {
		return max(Until(at, h, now, longest), 0)
	}
	return 0
}
