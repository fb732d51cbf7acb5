package outbox

import (
	"sync"

	"github.com/ymchats/ymchats-go/chats"
)

// wakes is the set of chats for which this process has put or resolved items during a
// session. Earlier items are read from the store when the session starts.
type wakes struct {
	signal chan struct{} // holds one element while there are such chats
	mu     sync.Mutex
	chats  map[chats.ChatID]bool // nil without a session
}

func (w *wakes) add(chat chats.ChatID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chats == nil {
		return
	}
	w.chats[chat] = true
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// reset returns the chats added since the last call. If next is nil, no more are recorded.
func (w *wakes) reset(next map[chats.ChatID]bool) map[chats.ChatID]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.chats
	w.chats = next
	return last
}
