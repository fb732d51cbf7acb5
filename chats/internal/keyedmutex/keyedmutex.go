// Package keyedmutex provides a mutex for each of many keys.
package keyedmutex

import (
	"context"
	"sync"
)

// Mutex is a set of mutexes, one for each key. The zero Mutex is ready to use. It stores nothing
// for keys that are not locked.
type Mutex[K comparable] struct {
	mu   sync.Mutex
	held map[K]chan struct{} // closed on unlock
}

// Lock locks the mutex of key. It returns the error of ctx if ctx is done first.
func (m *Mutex[K]) Lock(ctx context.Context, key K) (unlock func(), err error) {
	own := make(chan struct{})
	for {
		held := m.claim(key, own)
		if held == own {
			return func() { m.unlock(key, own) }, nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// claim returns the channel of the holder, which is own if key was free.
func (m *Mutex[K]) claim(key K, own chan struct{}) (held chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if held = m.held[key]; held != nil {
		return held
	}
	if m.held == nil {
		m.held = map[K]chan struct{}{}
	}
	m.held[key] = own
	return own
}

func (m *Mutex[K]) unlock(key K, own chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held, key)
	close(own)
}
