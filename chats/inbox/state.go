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

	Head         chats.MessageID // the message whose handling failed last; 0 while none does
	Attempts     int             // failed attempts to handle it
	FailingSince time.Time       // of the chat: its handler's or its history's; zero while all is well
	Failure      string          // the last error: valid UTF-8 without control characters, 512 bytes at most
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
	Newest      SweepState                // of the first page alone, while a sweep takes long
	Usage       map[chats.Operation]Usage // requests of the inbox itself in the current quota window
	Handlers    BreakerState              // the handler failing for one chat after the other
	Reads       BreakerState              // and the reading of histories
	LastError   string                    // the last failure that was not one chat's
	LastErrorAt time.Time
}

// SweepState is where a sweep stands.
type SweepState struct {
	StartedAt  time.Time // of the sweep under way; zero between two sweeps
	Token      string    // its next page
	Pages      int       // read so far
	Restarts   int       // in a row, because a page could not be read; such a sweep does not pause
	Failures   int       // of its next page, in a row
	Plain      bool      // it lists all chats, because the server refused the statuses
	NextAt     time.Time // when its next page, or the next sweep, is due
	FinishedAt time.Time // of the last one that came to its end
	Cost       int       // its requests
}

// BreakerState is where a circuit breaker stands.
type BreakerState struct {
	Failures int       // in a row, each of another chat; from 3 on only one chat at a time is tried
	Probes   int       // failed since then
	RetryAt  time.Time // when the next one is tried
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
