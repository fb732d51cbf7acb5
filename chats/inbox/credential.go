package inbox

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/tenure"
)

// refusals decides when a refused credential is final: a single refusal may be temporary,
// because a new key is not known everywhere at once, and an expired OAuth token is replaced
// by its source.
type refusals struct {
	end func(error)

	mu    sync.Mutex
	since time.Time
}

// refusedFor is how long refusals may last.
const refusedFor = time.Minute

// refused records an error. A 403 counts only if it is for a list, because a 403 for a
// single chat says nothing about the credential.
func (r *refusals) refused(err error, isList bool) bool {
	if !errors.Is(err, chats.ErrUnauthorized) && (!isList || !errors.Is(err, chats.ErrForbidden)) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.since.IsZero() {
		r.since = now
	}
	if now.Sub(r.since) >= refusedFor {
		r.end(tenure.Final(fmt.Errorf("inbox: the credential is refused: %w", err)))
	}
	return true
}

// accepted records a success.
func (r *refusals) accepted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = time.Time{}
}
