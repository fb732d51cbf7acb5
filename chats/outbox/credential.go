package outbox

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// refusals decides when the refusal of a credential is final. A single refusal may be temporary,
// because a new key takes time to become known everywhere.
type refusals struct {
	mu       sync.Mutex
	since    time.Time
	last     time.Time
	n        int       // consecutive refusals
	listedAt time.Time // when the list of chats was last accepted
}

// refusedFor is how long the credential may be refused before the run ends.
const refusedFor = time.Minute

// maxRefusedPause is the maximum delay after a refused request.
const maxRefusedPause = 15 * time.Second

// forgottenAfter is the time after which a new refusal is unrelated to the last one. A refused
// item is posted again sooner, unless it has expired.
const forgottenAfter = 2 * wait.Max

// recheckAfter is how long an accepted list of chats proves that the credential is accepted.
const recheckAfter = time.Minute

// verify reports whether the credential is accepted although there was a 403 for one chat. Only a 403
// for the list of chats is a refusal of the credential. verify calls list unless the list was
// accepted recently.
func (r *refusals) verify(list func() error) bool {
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

// add records a refusal. It returns how long to wait, and an error if the refusals have lasted
// too long.
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
		return 0, leasing.Final(fmt.Errorf("outbox: the credential is refused: %w", err))
	}
	return wait.Backoff(r.n, maxRefusedPause), nil
}

// reset records a response that was not a refusal.
func (r *refusals) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n = 0
}
