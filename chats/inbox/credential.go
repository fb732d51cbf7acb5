package inbox

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
)

// refusals decides when the refusal of a credential is final. A single refusal may be temporary:
// a new key takes time to become known everywhere, and the source of an expired OAuth token
// replaces it.
type refusals struct {
	end func(error)

	mu    sync.Mutex
	since time.Time // the first refusal
	last  time.Time
	poll  error // the refusal of the last poll, for Step; nil after an acceptance
}

// refusedFor is how long the credential may be refused before the run ends.
const refusedFor = time.Minute

// maxRefusedGap is the maximum delay between two list requests while the credential is refused.
const maxRefusedGap = 15 * time.Second

// add records an error if it is a refusal of the credential, and reports whether it is. It ends the
// run if the refusals have lasted too long. A 403 counts only if it is for the list, because a 403
// for a single chat says nothing about the credential.
func (r *refusals) add(err error, isList bool) bool {
	if !errors.Is(err, chats.ErrUnauthorized) && (!isList || !errors.Is(err, chats.ErrForbidden)) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Sub(r.last) > refusedFor { // after an acceptance, or an outage
		r.since = now
	}
	if r.last = now; !isList {
		r.poll = err
	}
	if now.Sub(r.since) >= refusedFor {
		r.end(leasing.Final(fmt.Errorf("inbox: the credential is refused: %w", err)))
	}
	return true
}

func (r *refusals) accepted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.poll = time.Time{}, nil
}
