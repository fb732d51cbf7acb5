package outbox

import (
	"errors"

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
// the assumption that it has not been posted. It is posted no matter how long ago its last
// attempt was, unless its NotAfter has passed. If the item becomes Uncertain again, each
// further Resend posts it once more. Use [ResendAfter] where a call may be retried.
func Resend() Resolution { return Resolution{to: Queued, attempts: -1} }

// ResendAfter is a [Resend] that may be retried. Pass the [Result].Attempts on which the decision
// was based: the Resend is carried out only if the item's number of attempts is still the same. If
// the item has had more attempts since, the call does nothing and returns nil.
func ResendAfter(attempts int) Resolution { return Resolution{to: Queued, attempts: max(attempts, 0)} }

// Discard settles an [Uncertain] item, leaving open whether it was posted, or removes a [Queued]
// one from the queue.
func Discard() Resolution { return Resolution{to: Discarded} }

// MarkSent settles an [Uncertain] item as [Sent] and records the message with the given ID as the
// one that was posted.
func MarkSent(message chats.MessageID) Resolution { return Resolution{to: Sent, message: message} }
