package chats

import "sync"

// maxRecentMessages is the minimum number of messages that recentMessages remembers.
const maxRecentMessages = 1024

// recentMessages are the messages that confirmed sends of a client have returned: none of
// them can be an altered copy of another message.
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
