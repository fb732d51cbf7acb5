package outbox

import (
	"errors"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// resolutions are the transitions that Resolve can make.
var resolutions = map[State][]State{
	Queued:    {Discarded},
	Uncertain: {Sent, Discarded, Queued},
}

// ErrState is returned by [Outbox.Resolve] if the item's state, or for [ResendAfter] its number of
// attempts, does not allow the resolution.
var ErrState = errors.New("outbox: the item's state does not allow the resolution")

// Resolution is a person's decision about an item.
type Resolution struct {
	to       State
	message  chats.MessageID
	attempts int // -1: any number
}

// Resend puts an [Uncertain] item back into the queue, at its original place in its chat, on
// the assumption that it has not been posted. The item is posted no matter how long ago its last
// attempt was, unless its NotAfter has passed. Resend does nothing if the item is already [Queued].
// If the item becomes Uncertain again, each further Resend posts it once more. Use [ResendAfter] if
// the call may be retried.
func Resend() Resolution { return Resolution{to: Queued, attempts: -1} }

// ResendAfter is a [Resend] that may be retried. Pass the [Result].Attempts on which the decision
// was based: the Resend is carried out only if the item's number of attempts is still the same. If
// the item has had more attempts since, the call does nothing and returns nil.
func ResendAfter(attempts int) Resolution { return Resolution{to: Queued, attempts: max(attempts, 0)} }

// Discard changes an [Uncertain] item to [Discarded], leaving open whether it was posted, or
// removes a [Queued] item from the queue.
func Discard() Resolution { return Resolution{to: Discarded} }

// MarkSent changes an [Uncertain] item to [Sent]. The message with the given ID is recorded as the
// item's message.
func MarkSent(message chats.MessageID) Resolution { return Resolution{to: Sent, message: message} }

// resolve carries out a resolution. It reports whether the record has changed.
func (r *Record) resolve(as Resolution, now time.Time) (changed bool, err error) {
	switch {
	case as.to == r.State && as.message == r.Message.ID, as.to == Queued && as.attempts >= 0 && r.Attempts > as.attempts:
		return false, nil // the resolution was carried out before
	case r.Attempts < as.attempts, !slices.Contains(resolutions[r.State], as.to):
		return false, ErrState
	}
	if r.State = as.to; as.to == Queued {
		*r = Record{
			Business: r.Business, Item: r.Item, Position: r.Position, Version: r.Version, QueuedAt: r.QueuedAt,
			FileSize: r.FileSize, Attempts: r.Attempts, State: Queued,
		}
		return true, nil
	}
	r.Message = chats.Message{ID: as.message}
	r.SettledAt, r.DueAt, r.Reported, r.Reports = now, time.Time{}, false, 0
	if as.to == Sent {
		r.Failure = nil
	}
	return true, nil
}
