package outbox

// State is the state of an item.
type State string

// The states of an item. All but the first two are settled.
const (
	Queued    State = "queued"    // it has not been posted; after Resend, this is assumed
	Sending   State = "sending"   // it may have been posted: the history is searched
	Sent      State = "sent"      // it was posted, according to the history or to MarkSent
	Failed    State = "failed"    // the server refused the item or the history request; the item has not been posted
	Uncertain State = "uncertain" // it may have been posted, and the history is inconclusive; see [Outbox.Resolve]
	Expired   State = "expired"   // its NotAfter has passed; it has not been posted
	Discarded State = "discarded" // Resolve discarded it
)

// IsSettled reports whether s is a settled state. When an item is settled, the next item of its
// chat is posted.
func (s State) IsSettled() bool { return s != Queued && s != Sending }

// isFinal reports whether the state can no longer change.
func (s State) isFinal() bool { return s.IsSettled() && s != Uncertain }
