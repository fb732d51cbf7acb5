package chats

import (
	"context"
	"sync"
)

// turns lets one call of [Client.SendTextConfirmed] go after the other where they
// could take each other's message for their own.
type keyedMutex struct {
	mu   sync.Mutex
	held map[sendKey]chan struct{} // closed when it is given back
}

type sendKey struct {
	chat ChatID
	text string
}

// take waits for the turn; whoever has it gives it back.
func (m *keyedMutex) lock(ctx context.Context, key sendKey) (unlock func(), err error) {
	for {
		held, acquired := m.tryLock(key)
		if held == nil {
			return func() { m.unlock(key, acquired) }, nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// claim gives the turn, or the one to wait for.
func (m *keyedMutex) tryLock(key sendKey) (held, acquired chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if held = m.held[key]; held != nil {
		return held, nil
	}
	if m.held == nil {
		m.held = map[sendKey]chan struct{}{}
	}
	acquired = make(chan struct{})
	m.held[key] = acquired
	return nil, acquired
}

func (m *keyedMutex) unlock(key sendKey, acquired chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held, key)
	close(acquired)
}
