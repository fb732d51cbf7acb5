package inbox

import (
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// ChatState is one chat's row in the [Store]. Times are kept to the microsecond, in UTC.
type ChatState struct {
	Chat    chats.ChatID
	Version int64 // kept by the store, which raises it with every Save; 0 before the first
	Wakes   int64 // kept by the store: how often Wake has named the chat

	Snapshot   chats.Chat        // as last listed or read; ID 0 if only Wake has named the chat so far
	SeenWakes  int64             // the Wakes that a poll has followed; while it differs from Wakes a push is waiting
	Open       bool              // the incremental sweep is expected to list the chat
	Read       bool              // the history has been read to its end once; from then on no message is old
	Checkpoint chats.MessageID   // every message up to it is handled
	Handled    []chats.MessageID // and these above it, ascending; as many as WithLookback says
	UpdatedAt  time.Time         // of the chat, the newest that is accounted for or scheduled
	SeenAt     time.Time         // when that, or the last push, was first seen, by our clock
	Explained  bool              // a message has been read that explains UpdatedAt
	DueAt      time.Time         // when to poll next; zero: nothing is to be done

	Attempts     int       // failed attempts to handle the message at the head
	FailingSince time.Time // of the chat: its handler's or its history's; zero while all is well
	Failure      string    // the last error: valid UTF-8 without control characters, 512 bytes at most
}

// BusinessState is one business's row in the [Store]. A store may keep it as one JSON
// document next to Version.
type BusinessState struct {
	Version int64 `json:"-"` // kept by the store, as a chat's

	// StartTime is when the business was first followed, by Market's clock: in a chat
	// that has not been read yet, a message created before it is old. Zero until then.
	StartTime   time.Time
	Incremental SweepState                // of the chats that are not finished
	Full        SweepState                // of all chats
	Usage       map[chats.Operation]Usage // requests of the inbox itself in the current quota window
	LastError   string                    // the last failure that was not one chat's
	LastErrorAt time.Time
}

// SweepState is where a sweep stands.
type SweepState struct {
	StartedAt  time.Time // of the sweep under way; zero between two sweeps
	Token      string    // its next page
	Pages      int       // read so far
	Restarts   int       // in a row without coming to an end, as page tokens were refused
	NextAt     time.Time // when its next page, or the next sweep, is due
	FinishedAt time.Time // of the last one that listed everything
	Cost       int       // its requests
}

// Usage is what the inbox has used of an operation's quota.
type Usage struct {
	Window   time.Time // the window's end, by our clock
	Requests int
}

// clone returns a copy that shares nothing with s.
func (s ChatState) clone() ChatState {
	s.Handled = append([]chats.MessageID(nil), s.Handled...)
	return s
}
