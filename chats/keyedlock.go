package chats

import (
	"context"
	"sync"
)

// keyedMutex serializes calls with the same key: confirmed sends that could mistake each
// other's message for their own. The zero value is unlocked.
type keyedMutex struct {
	mu   sync.Mutex
	held map[sendKey]chan struct{} // closed by unlock
}

type sendKey struct {
	chat ChatID
	text string
}

// lock waits until it holds key and returns the function that releases it.
func (m *keyedMutex) lock(ctx context.Context, key sendKey) (unlock func(), err error) {
	for {
		acquired, holder := m.tryLock(key)
		if acquired != nil {
			return func() { m.unlock(key, acquired) }, nil
		}
		select {
		case <-holder:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryLock acquires key, or returns the channel that its holder closes.
func (m *keyedMutex) tryLock(key sendKey) (acquired, holder chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if holder = m.held[key]; holder != nil {
		return nil, holder
	}
	if m.held == nil {
		m.held = map[sendKey]chan struct{}{}
	}
	acquired = make(chan struct{})
	m.held[key] = acquired
	return acquired, nil
}

func (m *keyedMutex) unlock(key sendKey, acquired chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held, key)
	close(acquired)
}
