package chats

import (
	"net/http"
	"sync"
	"time"
)

// serverClock is the Date of the last response.
type serverClock struct {
	mu   sync.Mutex
	date time.Time
	at   time.Time // when it came, by our clock
}

func (c *serverClock) observe(h http.Header) {
	date, ok := httpDate(h.Get("Date"))
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.date, c.at = date, time.Now()
}

func (c *serverClock) now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.date.Add(time.Since(c.at)), !c.at.IsZero()
}

// ServerTime returns the time by the server's clock: the Date of the last response plus
// the time since. It is behind by up to a second, as a Date is cut to whole seconds, and by
// the time that the response took. ok is false until a response had a Date.
func (c *Client) ServerTime() (now time.Time, ok bool) { return c.limits.clock.now() }
