package inbox

import (
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// ChatState is one chat's row in the [Store]. Times are kept to the microsecond, in UTC.
type ChatState struct {
	Chat    chats.ChatID
	Version int64 // set by the store, which increments it with every Save; 0 before the first
	Wakes   int64 // set by the store: how often Wake has named the chat

	Snapshot   chats.Chat        // as last listed or read; ID 0 if only Wake has named the chat so far
	SeenWakes  int64             // the value of Wakes that the last poll covered; if it differs from Wakes, a push is pending
	Open       bool              // the incremental sweep is expected to list the chat
	Read       bool              // the history has been read to its end, at the StartTime or later; from then on, no message is old
	Checkpoint chats.MessageID   // every message up to this one is handled
	Handled    []chats.MessageID // the handled messages above Checkpoint, ascending; at most WithLookback (1 if that is 0), or 1000 until a poll has reached the end of the history
	// UpdatedAt is the time up to which past or scheduled polls cover the chat's activity. It may be
	// later than the list's UpdatedAt. While Read is false, the field holds the UpdatedAt with which
	// the chat was first listed or, if the StartTime was still in the future, the StartTime.
	UpdatedAt   time.Time
	SeenAt      time.Time // when the activity at UpdatedAt or the last push was first seen, or a message was found, whichever was last; by the local clock
	Explained   bool      // a message that accounts for that activity or push was found: see Rechecks in chats/docs/inbox.md
	Unexplained int       // consecutive changes of UpdatedAt or the status for which no message was found
	DueAt       time.Time // when to poll next; zero if no poll is scheduled

	Head         chats.MessageID // the message whose handling failed last; 0 if none is failing
	Attempts     int             // failed attempts to handle Head
	FailingSince time.Time       // when handling or reading the chat began to fail; zero if neither fails
	RefusedSince time.Time       // start of the current series of refused reads or invalid responses; zero if there is none
	Failure      string          // the last error: valid UTF-8 without control characters, 512 bytes at most
}

// BusinessState is one business's row in the [Store]. A store may keep it as one JSON
// document, apart from Version.
type BusinessState struct {
	Version int64     `json:"-"` // set by the store, like ChatState.Version
	DueAt   time.Time `json:"-"` // earliest DueAt of the business's chats when the row was loaded; zero if none was set

	// StartTime determines which messages are old: see First run in the package documentation. It is
	// in whole seconds, and zero until a page has been listed.
	StartTime   time.Time
	Incremental SweepState                // of the chats that are not finished
	Full        SweepState                // of all chats
	Newest      SweepState                // of the first pages only, while a sweep takes longer than the poll interval
	Usage       map[chats.Operation]Usage // the inbox's own requests in the current quota window
	Handlers    BreakerState              // breaker for failures of the handler
	Reads       BreakerState              // breaker for failures to read histories
	LastError   string                    // the last failure to list the chats
	LastErrorAt time.Time
}

// SweepState is the progress of a sweep.
type SweepState struct {
	StartedAt  time.Time    // of the current sweep, or later if its pages are more than 10 min behind schedule; zero between sweeps
	Token      string       // of its next page
	Pages      int          // listed so far
	Head       chats.ChatID // last chat of the page that later pages are compared with
	Same       int          // later pages that ended with the same chat
	Empty      int          // consecutive pages without chats
	Restarts   int          // 1 after a page token was refused; the sweep then lists its pages without delays
	Failures   int          // consecutive failures to list its next page
	Plain      bool         // the sweep lists all chats, because the server refused the statuses
	NextAt     time.Time    // when its next page, or the next sweep, is due
	FinishedAt time.Time    // when the last sweep ended
	Cost       int          // pages listed by the last sweep, plus 18 for the failed requests if a page could not be listed
	CutShort   bool         // the last sweep was cut short, because the list did not end or a page could not be listed

	// Digests are hashes of a full sweep's first pages, 0 for a page whose chats must be compared with their rows again.
	Digests [10]uint64 `json:",omitzero"`
}

// adjust corrects the times if the previous process's clock was ahead of this one's.
func (s *SweepState) adjust(now time.Time) {
	ahead := wait.Later(s.StartedAt, s.FinishedAt).Sub(now)
	for _, at := range []*time.Time{&s.StartedAt, &s.NextAt, &s.FinishedAt} {
		if ahead > 0 && !at.IsZero() {
			*at = at.Add(-ahead)
		}
	}
	if s.Failures > 0 && s.NextAt.After(now.Add(2*window)) {
		s.NextAt = now
	}
}

// adjust makes a chat due if its times come from a clock that was ahead, and reports whether
// they do.
func (s *ChatState) adjust(now time.Time) bool {
	isLate := !s.FailingSince.IsZero() && s.DueAt.After(now.Add(window+maxHandlerBackoff))
	isAhead := wait.Later(s.SeenAt, s.FailingSince).After(now.Add(time.Minute))
	for _, at := range []*time.Time{&s.DueAt, &s.SeenAt, &s.FailingSince, &s.RefusedSince} {
		if (isLate || isAhead) && at.After(now) {
			*at = now
		}
	}
	return isLate || isAhead
}

// BreakerState is the state of a circuit breaker.
type BreakerState struct {
	Failures int       // consecutive first failures, each of a different chat; once this reaches 3, chats are tried one at a time
	Probes   int       // failed attempts to handle or read a chat since Failures reached 3
	RetryAt  time.Time // when the next chat is tried
}

// Usage is the inbox's use of an operation's quota.
type Usage struct {
	Window   time.Time // end of the window, by the local clock
	Requests int
}

// clone returns a copy that shares nothing with s.
func (s *ChatState) clone() ChatState {
	copied := *s
	copied.Handled = append([]chats.MessageID(nil), s.Handled...)
	return copied
}
