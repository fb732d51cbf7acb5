package outbox

import (
	"fmt"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/tenure"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// refusals decides when a refused credential is final: one refusal may pass, as a new key
// is not known everywhere at once.
type refusals struct {
	mu    sync.Mutex
	since time.Time
	n     int // in a row
}

// refusedFor is how long refusals may last.
const refusedFor = time.Minute

// maxRefusedPause bounds the pause between two refused requests.
const maxRefusedPause = 15 * time.Second

// add records a refusal. It returns how long to pause, and an error if the refusals have
// lasted too long.
func (r *refusals) add(err error) (pause time.Duration, final error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.n++; r.n == 1 {
		r.since = now
	}
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
