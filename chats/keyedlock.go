package chats

import (
	"context"
	"sync"
)

// keyedMutex serializes the sends of one client to one chat, so that no call mistakes the
// message of another for its own.
type keyedMutex struct {
	mu   sync.Mutex
	held map[ChatID]chan struct{} // closed on unlock
}

// lock waits until it holds the chat, or until ctx ends.
func (m *keyedMutex) lock(ctx context.Context, chat ChatID) (unlock func(), err error) {
	for {
		held, acquired := m.tryLock(chat)
		if held == nil {
			return func() { m.unlock(chat, acquired) }, nil
		}
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryLock acquires the chat, or returns the channel of the current holder.
func (m *keyedMutex) tryLock(chat ChatID) (held, acquired chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if held = m.held[chat]; held != nil {
		return held, nil
	}
	if m.held == nil {
		m.held = map[ChatID]chan struct{}{}
	}
	acquired = make(chan struct{})
	m.held[chat] = acquired
	return nil, acquired
}

func (m *keyedMutex) unlock(chat ChatID, acquired chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held, chat)
	close(acquired)
}
