package inbox

import (
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// flights holds the rows that are being polled. A row has one user at a time: if a sweep lists
// a chat in flight, the listed chat is applied when the poll ends.
type flights struct {
	loading chan struct{} // a mutex held during calls to the store, see load

	mu   sync.Mutex
	held map[chats.ChatID]*flight
}

// flight is a row in flight.
type flight struct {
	row      ChatState
	listed   *chats.Chat // the chat as listed during the flight, if it was
	listedAt time.Time
}

func newFlights() *flights {
	return &flights{loading: make(chan struct{}, 1), held: map[chats.ChatID]*flight{}}
}

// load begins loading rows that will be saved or taken into flight, and done ends it. Only one
// goroutine loads at a time, so that no row is saved with an outdated version.
func (f *flights) load() (done func()) {
	f.loading <- struct{}{}
	return func() { <-f.loading }
}

func (f *flights) take(row ChatState) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := &flight{row: row}
	f.held[row.Chat] = taken
	return taken
}

func (f *flights) isHeld(id chats.ChatID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[id] != nil
}

// list passes a listed chat to its flight and reports whether it is in flight.
func (f *flights) list(chat chats.Chat, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	flight := f.held[chat.ID]
	if flight != nil && (flight.listed == nil || !chat.UpdatedAt.Before(flight.listed.UpdatedAt)) {
		flight.listed, flight.listedAt = &chat, now
	}
	return flight != nil
}

// land ends a flight, unless its row was saved and its chat was listed meanwhile; it then returns
// the listed chat. It waits for a goroutine that is loading rows, because that may have loaded this
// row before it was saved.
func (f *flights) land(flight *flight, isSaved bool) (listed *chats.Chat, at time.Time) {
	defer f.load()()
	f.mu.Lock()
	defer f.mu.Unlock()
	if listed, flight.listed = flight.listed, nil; listed == nil || !isSaved {
		delete(f.held, flight.row.Chat)
	}
	return listed, flight.listedAt
}

func (f *flights) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.held)
}
