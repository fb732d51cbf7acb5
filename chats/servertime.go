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
	at   time.Time // when it was received, by the local clock
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
