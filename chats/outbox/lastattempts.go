package outbox

import (
	"sync"
	"time"
)

// lastAttempts holds the last attempts of items that may have been posted, each with a time by
// which it had certainly ended, by the clock of this process. They outlive the lease, because
// every step has a new one.
type lastAttempts struct {
	mu    sync.Mutex
	known map[string]attempt
}

type attempt struct {
	token, at int64 // identify the attempt: the lease's token, and the time by the clock of its process
	ended     time.Time
	accepted  bool // by the server
}

// maxAttempts limits the memory used for items that other processes have settled.
const maxAttempts = 10_000

func attemptOf(r *Record, ended time.Time) attempt {
	return attempt{token: r.Token, at: r.LastAttempt.UnixMicro(), ended: ended, accepted: r.Accepted}
}

// ended returns a time by which the record's last attempt had certainly ended. If this process
// does not know the attempt yet, it returns latest and remembers it.
func (a *lastAttempts) ended(r *Record, latest time.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	found := attemptOf(r, latest)
	if known, ok := a.known[r.Item.Key]; ok && known.token == found.token && known.at == found.at {
		return known.ended
	}
	a.put(r.Item.Key, found)
	return latest
}

// isAccepted reports whether the server has accepted the record's last attempt, which may not
// have been saved in the store.
func (a *lastAttempts) isAccepted(r *Record) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	known := a.known[r.Item.Key]
	return known.accepted && known.token == r.Token && known.at == r.LastAttempt.UnixMicro()
}

// add records an attempt of this process that has ended.
func (a *lastAttempts) add(r *Record, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put(r.Item.Key, attemptOf(r, now))
}

func (a *lastAttempts) put(key string, last attempt) {
	if a.known == nil || len(a.known) >= maxAttempts {
		a.known = map[string]attempt{} // a forgotten attempt only causes another search
	}
	a.known[key] = last
}

func (a *lastAttempts) remove(r *Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.known, r.Item.Key)
}
