package inbox

import (
	"sync"

	"github.com/ymchats/ymchats-go/chats"
)

// maxWakes bounds the chats that were woken and not looked at yet. What is beyond
// it is left to the sweep.
const maxWakes = 10_000

// wakes is where pushes wait for the run to fetch them.
type wakes struct {
	arrived chan struct{} // holds one element when there is something to take

	mu  *sync.Mutex
	ids map[chats.ChatID]struct{}
}

func newWakes() wakes {
	return wakes{arrived: make(chan struct{}, 1), mu: new(sync.Mutex), ids: map[chats.ChatID]struct{}{}}
}

func (w wakes) add(id chats.ChatID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.ids) < maxWakes {
		w.ids[id] = struct{}{}
		signal(w.arrived)
	}
}

func (w wakes) take() []chats.ChatID {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]chats.ChatID, 0, len(w.ids))
	for id := range w.ids {
		ids = append(ids, id)
	}
	clear(w.ids)
	return ids
}

// signal leaves a message in a channel of one element.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
