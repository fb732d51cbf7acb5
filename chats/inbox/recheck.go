package inbox

import "time"

// When a chat is polled, counted from when its activity was first seen. A poll counts for
// all moments before it began.
//
// A message in the second of the last one does not move a chat's UpdatedAt, as times may
// be cut to the second; 2 s after a time was first seen its second is over, whatever the
// clocks say. The later moments find messages that become visible late.
var explainedAfter = []time.Duration{
	0, 2 * time.Second, 10 * time.Minute, 2 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// If no message explains the activity, the history lags behind the list or the push, or
// something else has changed the chat.
var unexplainedAfter = []time.Duration{
	0, time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// A chat that a push has named and that the server does not know may be about to appear.
var unknownAfter = []time.Duration{0, 5 * time.Second, time.Minute}

// A chat that is listed without a time does not show that it has moved.
const (
	untimedOpen     = 10 * time.Minute
	untimedFinished = 2 * time.Hour
)

// nextRecheck returns when a chat is to be polled after a complete poll that began at a
// time, zero if not before something happens.
func nextRecheck(row *ChatState, began time.Time) time.Time {
	after := unexplainedAfter
	if row.Explained {
		after = explainedAfter
	}
	at := firstAfter(row.SeenAt, after, began)
	if !row.UpdatedAt.IsZero() || row.Snapshot.ID == 0 {
		return at
	}
	if row.Open {
		return earliest(at, began.Add(untimedOpen))
	}
	return earliest(at, began.Add(untimedFinished))
}

// firstAfter returns the first of the moments that is after a time.
func firstAfter(from time.Time, moments []time.Duration, began time.Time) time.Time {
	for _, d := range moments {
		if at := from.Add(d); at.After(began) {
			return at
		}
	}
	return time.Time{}
}

// isPatient reports whether a due poll is a recheck that may wait until there is more quota.
func isPatient(row *ChatState) bool {
	return row.Read && !row.isWoken() && row.FailingSince.IsZero() && row.DueAt.Sub(row.SeenAt) >= time.Minute
}
