package servertime

import (
	"net/http"
	"sync"
	"time"
)

// Clock is the server's clock. The zero Clock is ready to use. It is safe for concurrent use.
type Clock struct {
	mu   sync.Mutex
	date time.Time // of the last response
	at   time.Time // when it was received, by the local clock
}

// Observe sets the clock by the Date of a response, if it has one.
func (c *Clock) Observe(h http.Header) {
	date, ok := Parse(h.Get("Date"))
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.date, c.at = date, time.Now()
}

// Now returns the Date of the last response plus the time elapsed since. ok is false until a
// response has had a Date.
func (c *Clock) Now() (now time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.date.Add(time.Since(c.at)), !c.at.IsZero()
}
