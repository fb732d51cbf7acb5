package outbox

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/tenure"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// refusals decides when a refused credential is final: a single refusal may be temporary,
// because a new key is not known everywhere at once.
type refusals struct {
	mu       sync.Mutex
	since    time.Time
	last     time.Time
	n        int       // in a row
	listedAt time.Time // when the list of chats was last accepted
}

// refusedFor is how long refusals may last.
const refusedFor = time.Minute

// maxRefusedPause bounds the pause between two refused requests.
const maxRefusedPause = 15 * time.Second

// forgottenAfter is how long after a refusal another one has nothing to do with it. The item
// that was refused is posted again sooner, unless it has expired.
const forgottenAfter = 2 * wait.Max

// recheckAfter is for how long an accepted list of chats shows that the credential is accepted.
const recheckAfter = time.Minute

// isAccepted reports whether the credential is accepted despite a 403 for one chat, which
// says nothing about the credential. A 403 for the list of chats does.
func (r *refusals) isAccepted(list func() error) bool {
	r.mu.Lock()
	isKnown := !r.listedAt.IsZero() && time.Since(r.listedAt) < recheckAfter
	r.mu.Unlock()
	if isKnown {
		return true
	}
	err := list()
	if err == nil {
		r.mu.Lock()
		r.listedAt, r.n = time.Now(), 0
		r.mu.Unlock()
	}
	return !errors.Is(err, chats.ErrUnauthorized) && !errors.Is(err, chats.ErrForbidden)
}

// add records a refusal. It returns how long to pause, and an error if the refusals have
// lasted too long.
func (r *refusals) add(err error) (pause time.Duration, final error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.last) > forgottenAfter {
		r.n = 0
	}
	if r.n++; r.n == 1 {
		r.since = now
	}
	r.last = now
	if now.Sub(r.since) >= refusedFor {
		return 0, tenure.Final(fmt.Errorf("outbox: the credential is refused: %w", err))
	}
	return wait.Backoff(r.n, maxRefusedPause), nil
}

// reset records a response that was not a refusal.
func (r *refusals) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n = 0
}
