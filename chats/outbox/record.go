package outbox

import (
	"net/http"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// Record is a stored item.
type Record struct {
	Business chats.BusinessID
	Item     Item // File is set only by methods that document it
	FileSize int
	Position int64 // determines the order of the items of a chat; ascending in the order of Put
	Version  int64 // incremented with every write

	State    State
	DueAt    time.Time // when to post the item or, if it is settled, to report it; zero means now
	Failures int       // consecutive
	Refusals int       // consecutive, with the same status, treated as possibly temporary
	Failure  *Failure  // the last one; reaching a rate limit does not overwrite a refusal counted in Refusals

	Attempts     int       // requests that may have posted the item
	FirstAttempt time.Time // by the worker's clock
	LastAttempt  time.Time
	Token        int64             // of the lease under which the last attempt was made
	Baseline     []chats.MessageID // the shop's newest messages before the first attempt, ascending
	Floor        chats.MessageID   // Baseline holds all of the shop's messages above this ID
	Accepted     bool              // the server has accepted the item

	Message   chats.Message // of a Sent item
	QueuedAt  time.Time     // by the store's clock
	SettledAt time.Time
	Reports   int  // failed calls to the WithSettled function
	Reported  bool // nothing is left to report: the WithSettled function has returned nil, or there was none

	// LastMessage is the newest message that resulted from posting another item of the chat.
	// Only Head sets it.
	LastMessage chats.MessageID
}

// move changes the state. The tests compare it with the transitions in the package
// documentation.
func (r *Record) move(to State, failure *Failure, now time.Time) {
	r.State, r.Failure, r.DueAt = to, failure, time.Time{}
	if to.IsSettled() {
		r.SettledAt = now
	}
}

// countRefusal counts a refusal. It starts over if the last failure had a different status.
func (r *Record) countRefusal(refusal *chats.Error) {
	if r.Failure == nil || r.Failure.StatusCode != refusal.StatusCode {
		r.Refusals = 0
	}
	r.Refusals++
}

// maxDoubtfulRefusals is the number of consecutive refusals of an item that are treated as
// possibly temporary.
const maxDoubtfulRefusals = 5

// isRefused reports whether an item has been refused too often. A 403 for its chat, which is also
// counted, does not end the attempts.
func (r *Record) isRefused() bool {
	return r.Refusals >= maxDoubtfulRefusals && (r.Failure == nil || r.Failure.StatusCode != http.StatusForbidden)
}

// begin records an attempt that is about to be made. shop contains the shop's messages before
// the first attempt.
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

// maxBaseline is how many of the shop's messages before the first attempt are stored. IDs appear
// to increase within a chat; a baseline of several messages tolerates exceptions.
const maxBaseline = 32

// firstFloor returns the ID above which the history was read before the first attempt. shop
// contains the shop's messages that were read.
func (r *Record) firstFloor(shop []chats.MessageID, now time.Time) chats.MessageID {
	floor := max(min(r.LastMessage, chats.MessageID(now.UnixMicro()))-confirmMargin, 0)
	if n := len(shop); n > 0 && shop[n-1] <= floor {
		return 0 // with no message above the floor, the history was read from its beginning
	}
	return floor
}

// confirmMargin is how far below the message passed to [chats.ConfirmFirstAttempt] reading
// begins. It assumes that IDs are microseconds.
const confirmMargin = chats.MessageID(24 * time.Hour / time.Microsecond)

// isExpired reports whether the item must no longer be posted.
func (r *Record) isExpired(now time.Time) bool {
	return !r.Item.NotAfter.IsZero() && now.After(r.Item.NotAfter)
}

// notAfter returns when the item expires, or the zero time if it may already have been posted.
func (r *Record) notAfter() time.Time {
	if r.State != Queued {
		return time.Time{}
	}
	return r.Item.NotAfter
}

// result returns the record as a Result.
func (r *Record) result() Result {
	result := Result{
		Business: r.Business, Item: r.Item, State: r.State, Message: r.Message,
		Attempts: r.Attempts, QueuedAt: r.QueuedAt, SettledAt: r.SettledAt,
	}
	result.Item.File, result.Message.Files = nil, slices.Clone(r.Message.Files)
	if r.Failure != nil {
		result.Err = r.Failure.clone()
	}
	return result
}
