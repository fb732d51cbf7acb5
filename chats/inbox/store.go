package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// ErrConflict is returned by [Store].Save if a row's Version is not the one in the store.
var ErrConflict = errors.New("inbox: the row was changed concurrently")

// ErrLeaseLost is returned by a [Store] if the lease has expired or has been taken by
// another holder. In that case nothing has been saved.
var ErrLeaseLost = errors.New("inbox: the lease is lost")

// ErrLeaseHeld is matched by the [LeaseHeldError] of a [Store].
var ErrLeaseHeld = errors.New("inbox: the lease is held")

// LeaseHeldError is returned by [Store].Acquire if another holder has the lease.
type LeaseHeldError struct {
	Holder    string
	Since     time.Time     // when it was acquired, by the store's clock
	ExpiresIn time.Duration // unless it is renewed
}

func (e *LeaseHeldError) Error() string {
	return fmt.Sprintf("inbox: the lease is held by %s since %s", e.Holder, e.Since.UTC().Format(time.RFC3339))
}

// Is reports whether target is [ErrLeaseHeld].
func (e *LeaseHeldError) Is(target error) bool { return target == ErrLeaseHeld }

// Purpose is the purpose of an inbox's lease.
const Purpose = "inbox"

// Lease is the exclusive right to serve a business. It ends when it is released, or
// Duration after its last renewal by the store's clock.
//
// A holder may rely on it for Duration from the moment at which it sent the Acquire or
// the last successful Renew, measured by its own monotonic clock.
type Lease struct {
	Business chats.BusinessID
	Purpose  string // what the lease is for; the leases of one business for two purposes are independent
	Holder   string // unique among all processes and sessions
	Token    int64  // increases with every acquisition for the business and purpose
	Duration time.Duration
}

// Summary is what a [Store] knows about a business's chats.
type Summary struct {
	Chats     int // rows
	Due       int // rows that are due
	OldestDue time.Time
	Failing   []ChatState // rows with a FailingSince, the longest-failing first, 100 at most
	Holder    string      // of the lease for [Purpose]; empty if it is free or has expired
	HeldSince time.Time
}

// Store keeps the state of the inboxes of any number of businesses. It must be
// safe for concurrent use and, if several processes share it, for use by all of them. Once a method has returned
// nil, its effect survives a crash of the process. Package inboxtest tests a Store against
// this contract.
//
// Every method may also return errors other than those named; the inbox then tries again.
// Times are kept to the microsecond at least; the zero time stays the zero time.
type Store interface {
	// Business returns the row of a business with its DueAt, the zero value if there is no row.
	Business(ctx context.Context, business chats.BusinessID) (BusinessState, error)

	// Chats returns the rows that exist for the given IDs, in any order. There are at most
	// 100 IDs.
	Chats(ctx context.Context, business chats.BusinessID, ids []chats.ChatID) ([]ChatState, error)

	// Due returns at most limit rows whose DueAt is set and not after at, in the order of
	// DueAt, but those whose Wakes differs from SeenWakes first.
	Due(ctx context.Context, business chats.BusinessID, at time.Time, limit int) ([]ChatState, error)

	// Open returns the IDs of the rows with Open set, in any order.
	Open(ctx context.Context, business chats.BusinessID) ([]chats.ChatID, error)

	// Save writes the rows, each of a different chat, and the business's row unless it is
	// nil: in one transaction, all or nothing. It writes only under a lease that is valid,
	// checked by the store's clock in the same transaction ([ErrLeaseLost]), and only if
	// every Version is the stored one, where 0 means that there is no row or that only Wake
	// has written it ([ErrConflict]). On success it increments the Versions, in the store and
	// in the arguments.
	//
	// Wakes is not written. If the stored Wakes is not the one in the argument, a push
	// came after the row was loaded: the stored DueAt then becomes the earlier of the
	// stored and the given DueAt, ignoring a zero one, so that no push is lost.
	Save(ctx context.Context, lease Lease, business *BusinessState, rows []ChatState) error

	// Wake increments a chat's Wakes and sets its DueAt to at, unless the DueAt is already
	// earlier. If a chat has Attempts and a DueAt, that DueAt stays as it is. A chat
	// without a row gets one with Version 0. No lease is needed, and no Version changes.
	Wake(ctx context.Context, business chats.BusinessID, chat chats.ChatID, at time.Time) error

	// Summary returns what Status reports; rows are due if DueAt is set and not after at.
	Summary(ctx context.Context, business chats.BusinessID, at time.Time) (Summary, error)

	// Acquire takes the lease of a business for a purpose, without waiting. It returns a
	// [LeaseHeldError] if the lease is held, even by the same holder.
	Acquire(ctx context.Context, business chats.BusinessID, purpose, holder string) (Lease, error)

	// Renew extends a lease to its Duration from now, or returns [ErrLeaseLost]. A lease
	// that has expired is lost even if no one else has taken it. next is the earliest DueAt
	// of the business's chats, zero if none is set: that is how the holder notices pushes
	// received by other processes.
	Renew(ctx context.Context, lease Lease) (next time.Time, err error)

	// Release ends a lease: the next Acquire succeeds. Releasing a lease that is already
	// lost is not an error.
	Release(ctx context.Context, lease Lease) error
}

// StepStore is what a [Store] may implement as well, so that a step begins and ends with one
// statement each. An inbox uses it instead of the methods that it combines.
type StepStore interface {
	// AcquireBusiness is Acquire and then Business: it returns the row as all earlier holders
	// of the lease have left it.
	AcquireBusiness(ctx context.Context, business chats.BusinessID, purpose, holder string) (Lease, BusinessState, error)

	// ReleaseBusiness is Save of the business's row, unless that is nil, and then Release, all
	// or nothing. It returns the earliest DueAt of the business's chats, as Renew does.
	ReleaseBusiness(ctx context.Context, lease Lease, business *BusinessState) (next time.Time, err error)
}
