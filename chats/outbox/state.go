package outbox

import (
	"errors"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// State is the state of an item.
type State string

// The states of an item. All but the first two are settled.
const (
	Queued    State = "queued"    // it certainly has not been posted
	Sending   State = "sending"   // it may have been posted: the history is searched
	Sent      State = "sent"      // it was posted once
	Failed    State = "failed"    // the server refused it; it has not been posted
	Uncertain State = "uncertain" // it may have been posted, and the history is inconclusive; see [Outbox.Resolve]
	Expired   State = "expired"   // its NotAfter has passed; it has not been posted
	Discarded State = "discarded" // Resolve discarded it
)

// IsSettled reports whether the items behind this one in its chat may be posted.
func (s State) IsSettled() bool { return s != Queued && s != Sending }

// isFinal reports whether the state can no longer change.
func (s State) isFinal() bool { return s.IsSettled() && s != Uncertain }

// resolutions are the transitions that Resolve makes.
var resolutions = map[State][]State{
	Queued:    {Discarded},
	Uncertain: {Sent, Discarded, Queued},
}

// ErrState is returned by [Outbox.Resolve] if the item is in a state that does not allow
// the resolution.
var ErrState = errors.New("outbox: the item's state does not allow it")

// Resolution is a person's decision about an item.
type Resolution struct {
	to       State
	message  chats.MessageID
	attempts int // -1: any number
}

// Resend puts an [Uncertain] item back into the queue, at its place in its chat, on the
// assumption that it has not been posted. It is posted no matter how long ago its last
// attempt was, unless its NotAfter has passed. Each Resend of an item that is Uncertain once
// more posts it once more: use [ResendAfter] where a call may be repeated.
func Resend() Resolution { return Resolution{to: Queued, attempts: -1} }

// ResendAfter is a [Resend] that may be repeated: it is carried out only if the item has been
// attempted as often as [Result].Attempts said when the decision was made.
func ResendAfter(attempts int) Resolution { return Resolution{to: Queued, attempts: attempts} }

// Discard settles an [Uncertain] item without knowing whether it was posted, or takes a
// [Queued] one out of the queue.
func Discard() Resolution { return Resolution{to: Discarded} }

// MarkSent settles an [Uncertain] item as posted: it is the message with this ID.
func MarkSent(message chats.MessageID) Resolution { return Resolution{to: Sent, message: message} }

// resolve carries out a resolution. It reports whether the record has changed.
func (r *Record) resolve(as Resolution, now time.Time) (changed bool, err error) {
	switch {
	case as.to == r.State && as.message == r.Message.ID, as.to == Queued && as.attempts >= 0 && r.Attempts > as.attempts:
		return false, nil // it was carried out before
	case !slices.Contains(resolutions[r.State], as.to):
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

// move changes the state. The tests compare it with the transitions in the package
// documentation.
func (r *Record) move(to State, failure *Failure, now time.Time) {
	r.State, r.Failure, r.DueAt = to, failure, time.Time{}
	if to.IsSettled() {
		r.SettledAt = now
	}
}

// begin notes an attempt that is about to be made. shop are the shop's messages before the
// first one.
func (r *Record) begin(token int64, shop []chats.MessageID, now time.Time) {
	if r.State == Queued {
		r.Floor = r.firstFloor(shop, now)
	}
	r.move(Sending, r.Failure, now)
	r.Attempts++
	if r.FirstAttempt.IsZero() {
		r.FirstAttempt = now
	}
	r.LastAttempt, r.Token = now, token
	if cut := len(shop) - maxBaseline; cut > 0 {
		r.Floor, shop = max(r.Floor, shop[cut-1]), shop[cut:]
	}
	r.Baseline = slices.Clone(shop)
}

// maxBaseline is how many of the shop's messages before the first attempt are stored. IDs
// appear to grow within a chat; a baseline of several messages tolerates exceptions.
const maxBaseline = 32

// firstFloor returns the ID above which the history has been read before a first attempt.
// shop are the shop's messages that it showed.
func (r *Record) firstFloor(shop []chats.MessageID, now time.Time) chats.MessageID {
	floor := max(min(r.LastMessage, chats.MessageID(now.UnixMicro()))-confirmMargin, 0)
	if n := len(shop); n > 0 && shop[n-1] <= floor {
		return 0 // all of it has been read, because nothing is above
	}
	return floor
}

// confirmMargin is how far below the message of [chats.ConfirmFirstAttempt] the reading
// begins: IDs appear to be microseconds.
const confirmMargin = chats.MessageID(24 * time.Hour / time.Microsecond)

// isExpired reports whether the item must not be posted any more.
func (r *Record) isExpired(now time.Time) bool {
	return !r.Item.NotAfter.IsZero() && now.After(r.Item.NotAfter)
}

// notAfter is when the item expires, if nothing else has to be found out before.
func (r *Record) notAfter() time.Time {
	if r.State != Queued {
		return time.Time{}
	}
	return r.Item.NotAfter
}

// result is the record as the caller sees it.
func (r *Record) result() Result {
	result := Result{
		Business: r.Business, Item: r.Item, State: r.State, Message: r.Message,
		Attempts: r.Attempts, QueuedAt: r.QueuedAt, SettledAt: r.SettledAt,
	}
	result.Item.File = nil
	if r.Failure != nil {
		result.Err = r.Failure
	}
	return result
}
