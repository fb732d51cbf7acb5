// Package recent remembers recent keys and times in bounded memory.
package recent

import (
	"maps"
	"sync"
	"time"
)

// minKeys is the minimum number of keys that a Set remembers.
const minKeys = 1024

// Set holds the keys that were added last. The zero Set is ready to use. It is safe for
// concurrent use.
type Set[K comparable] struct {
	mu             sync.Mutex
	newest, before map[K]bool
}

// Add adds a key.
func (s *Set[K]) Add(key K) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil || len(s.newest) >= minKeys {
		s.newest, s.before = map[K]bool{}, s.newest
	}
	s.newest[key] = true
}

// Has reports whether the set has a key.
func (s *Set[K]) Has(key K) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest[key] || s.before[key]
}

// Times holds a time for each key, and forgets times older than MaxAge. It is safe for
// concurrent use.
type Times[K comparable] struct {
	MaxAge time.Duration

	mu sync.Mutex
	at map[K]time.Time
}

// Set sets the time of a key.
func (t *Times[K]) Set(key K, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.at, func(_ K, at time.Time) bool { return t.isOld(at) })
	if t.at == nil {
		t.at = map[K]time.Time{}
	}
	t.at[key] = at
}

// Get returns the time of a key, or the zero time.
func (t *Times[K]) Get(key K) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.at[key]
	if t.isOld(at) {
		return time.Time{}
	}
	return at
}

func (t *Times[K]) isOld(at time.Time) bool { return time.Since(at) > t.MaxAge }

// Remove removes a key.
func (t *Times[K]) Remove(key K) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.at, key)
}
