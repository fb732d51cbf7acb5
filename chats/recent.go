package chats

import (
	"maps"
	"sync"
	"time"
)

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

// doubts are the sends of a client whose outcome is unknown, each with the time at which its
// last attempt ended. They are forgotten when they can no longer become visible.
type doubts struct {
	mu    sync.Mutex
	ended map[doubtKey]time.Time
}

type doubtKey struct {
	chat    ChatID
	op      Operation
	content string
}

func (d *doubts) add(send doubtKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.ended, func(_ doubtKey, at time.Time) bool { return time.Since(at) > maxSearchTime })
	if d.ended == nil {
		d.ended = map[doubtKey]time.Time{}
	}
	d.ended[send] = time.Now()
}

// get returns the zero time if there is no doubt.
func (d *doubts) get(send doubtKey) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ended[send]
}

func (d *doubts) remove(send doubtKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.ended, send)
}
