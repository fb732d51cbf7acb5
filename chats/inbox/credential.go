package inbox

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// mostForbidden is how many 403 in a row end a run, each counted no sooner than the
// pause after the one before: half a minute in all.
const mostForbidden = 6

// credential watches whether Market still takes it. A 401 is final. A 403 may pass:
// an OAuth token that has expired is exchanged by its source, and Market is known
// to answer some calls with a 403 now and then.
type credential struct {
	mu        sync.Mutex
	forbidden int
	counts    time.Time // when the next one counts
}

// accepted: a call succeeded.
func (c *credential) accepted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forbidden = 0
}

// refused says whether the error is the end of the run.
func (c *credential) refused(err error, now time.Time) bool {
	if errors.Is(err, chats.ErrUnauthorized) {
		return true
	}
	if !errors.Is(err, chats.ErrForbidden) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forbidden > 0 && now.Before(c.counts) {
		return false
	}
	c.forbidden++
	c.counts = now.Add(backoff(c.forbidden, longestPause))
	return c.forbidden >= mostForbidden
}

// refused ends the run where the credential is refused for good.
func (s *session) refused(err error) bool {
	if !s.credential.refused(err, time.Now()) {
		return false
	}
	s.end(&finalError{fmt.Errorf("inbox: the credential is refused: %w", err)})
	return true
}

// finalError is what a run returns.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }
