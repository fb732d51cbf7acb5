package chats

import "sync"

// maxRecentMessages is how many messages recentMessages remembers at least.
const maxRecentMessages = 1024

// recentMessages are the messages that confirmed sends of a client have returned: they
// cannot be another message, stored otherwise.
type recentMessages struct {
	mu             sync.Mutex
	newest, before map[messageKey]bool
}

type messageKey struct {
	chat    ChatID
	message MessageID
}

func (r *recentMessages) add(chat ChatID, message MessageID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newest == nil || len(r.newest) >= maxRecentMessages {
		r.newest, r.before = map[messageKey]bool{}, r.newest
	}
	r.newest[messageKey{chat, message}] = true
}

func (r *recentMessages) has(chat ChatID, message MessageID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := messageKey{chat, message}
	return r.newest[key] || r.before[key]
}
