package inbox

import (
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// explainedAfter lists when a chat is polled, relative to the time at which its activity
// was first seen. A poll covers all earlier entries of the list.
//
// A second message within the same second does not change a chat's UpdatedAt, because times
// may be truncated to whole seconds. 2 s after a time was first seen, that second is over,
// whatever the clocks show. The later polls find messages that become visible late.
var explainedAfter = []time.Duration{
	0, 2 * time.Second, 10 * time.Minute, 2 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// unexplainedAfter is the list for activity that no message explains: the history lags behind
// the list or the push, or something else has changed the chat.
var unexplainedAfter = []time.Duration{
	0, time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// A chat whose UpdatedAt has changed more than restlessAfter times in a row without a message
// is polled for such changes at most every restlessGap, without the rechecks of the first 2 min.
const (
	restlessAfter = 3
	restlessGap   = 5 * time.Minute
)

// unknownAfter is the list for a chat that a push has named but that the server does not know
// yet.
var unknownAfter = []time.Duration{0, 5 * time.Second, time.Minute}

// The poll intervals of chats that are listed without an UpdatedAt, which do not show changes.
const (
	untimedOpen     = 10 * time.Minute
	untimedFinished = 2 * time.Hour
)

// nextRecheck returns when to poll a chat next, given when its last complete poll began and
// whether the messages that it read explain all of the activity. It returns the zero time if
// no poll is needed until there is new activity.
func nextRecheck(row *ChatState, began time.Time, explained bool) time.Time {
	after := unexplainedAfter
	if explained {
		after = explainedAfter
	}
	at := firstAfter(row.SeenAt, after, began)
	if !row.UpdatedAt.IsZero() {
		return at
	}
	if row.Open {
		return wait.Earliest(at, began.Add(untimedOpen))
	}
	return wait.Earliest(at, began.Add(untimedFinished))
}

// firstAfter returns the first of the moments, relative to from, that is after began.
func firstAfter(from time.Time, moments []time.Duration, began time.Time) time.Time {
	for _, d := range moments {
		if at := from.Add(d); at.After(began) {
			return at
		}
	}
	return time.Time{}
}

// stuckAfter is the number of failures after which a message probably fails for a reason of its own.
// In an outage, hardly any message is tried that many times, because chats are tried one at a time.
const stuckAfter = 10

// reserve returns the share of the quota that is kept for more urgent polls than this one. If less
// is left, a poll that is due waits for the next window.
func (s *ChatState) reserve() float64 {
	waited := s.DueAt.Sub(s.SeenAt)
	switch {
	case s.isWoken():
		return 0
	case s.Attempts >= stuckAfter:
		return 0.5
	case !s.FailingSince.IsZero():
		return 0
	case !s.Read && waited >= baselineAfter: // a baseline
		return 0.75
	case s.Read && waited >= time.Minute: // a recheck
		return 0.25
	}
	return 0
}

// postpone moves a poll that is due into the first quarter of the window that begins at next. The
// order of the polls stays the same, so that none waits forever.
func (s *ChatState) postpone(next time.Time) {
	s.DueAt = next.Add(max(0, window+s.DueAt.Sub(next)) / 4)
}
