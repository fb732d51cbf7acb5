package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// ErrConflict is returned by [Store].Save if the Version of a row differs from the stored Version.
var ErrConflict = errors.New("inbox: the row was changed concurrently")

// ErrLeaseLost is returned by a [Store] if the lease has expired or another holder has taken
// it. Nothing has been saved in that case.
var ErrLeaseLost = errors.New("inbox: the lease is lost")

// ErrLeaseHeld is matched by every [LeaseHeldError].
var ErrLeaseHeld = errors.New("inbox: the lease is held")

// LeaseHeldError is returned by [Store].Acquire if the lease is held.
type LeaseHeldError struct {
	Holder    string
	Since     time.Time     // when the lease was acquired, by the store's clock
	ExpiresIn time.Duration // unless it is renewed
}

func (e *LeaseHeldError) Error() string {
	return fmt.Sprintf("inbox: the lease is held by %s since %s", e.Holder, e.Since.UTC().Format(time.RFC3339))
}

// Is reports whether target is [ErrLeaseHeld].
func (e *LeaseHeldError) Is(target error) bool { return target == ErrLeaseHeld }

// Purpose is the [Lease.Purpose] of the leases that inboxes acquire.
const Purpose = "inbox"

// Lease is the exclusive right to serve a business. It ends when it is released, or when Duration
// has passed, by the store's clock, since it was acquired or last renewed.
//
// A holder may rely on the lease until Duration has passed, by its own monotonic clock, since it
// began the last successful Acquire or Renew.
type Lease struct {
	Business chats.BusinessID
	Purpose  string // what the lease is for; leases of a business for different purposes are independent
	Holder   string // unique among all inboxes and outboxes
	Token    int64  // increases with every acquisition for the business and purpose
	Duration time.Duration
}

// Summary describes a business's chats and the holder of its lease.
type Summary struct {
	Chats     int // rows
	Due       int // rows that are due
	OldestDue time.Time
	Failing   []ChatState // rows with a FailingSince, the longest-failing first, 100 at most
	Holder    string      // of the lease for [Purpose]; empty if it is free or has expired
	HeldSince time.Time
}

// Store keeps the state of the inboxes of any number of businesses. It must be safe for
// concurrent use, including use by several processes that share it. After a method has returned
// nil, its effect must survive a crash of the process. Package inboxtest tests a Store against
// this contract.
//
// Any method may return errors other than those named here; the inbox then tries again.
// Times must be kept at least to the microsecond, and the zero time must stay zero.
type Store interface {
	// Business returns the row of a business with its DueAt, or the zero value if there is no row.
	Business(ctx context.Context, business chats.BusinessID) (BusinessState, error)

	// Chats returns the rows that exist for the given IDs, in any order. There are at most
	// 100 IDs.
	Chats(ctx context.Context, business chats.BusinessID, ids []chats.ChatID) ([]ChatState, error)

	// Due returns at most limit rows whose DueAt is set and not after the given time: first those
	// whose Wakes differs from SeenWakes, then the others, each group in order of DueAt.
	Due(ctx context.Context, business chats.BusinessID, at time.Time, limit int) ([]ChatState, error)

	// Open returns the IDs of the rows with Open set, in any order.
	Open(ctx context.Context, business chats.BusinessID) ([]chats.ChatID, error)

	// Save writes the rows, each of a different chat, and the business's row unless it is nil, in
	// one transaction: all or nothing. In the same transaction, it checks that the lease is valid by
	// the store's clock, and otherwise returns [ErrLeaseLost]. It returns [ErrConflict] unless every
	// Version equals the stored Version; 0 means that there is no row or that only Wake has written
	// it. On success it increments the Versions, both in the store and in the arguments.
	//
	// Save does not write Wakes. If the stored Wakes differs from the given one, a push arrived
	// after the row was loaded. A given row with both Attempts and a DueAt then keeps its DueAt, so
	// that the push does not shorten a backoff. For any other row, the earlier of the stored and the
	// given DueAt is stored, ignoring a zero one, so that the push is not lost.
	Save(ctx context.Context, lease Lease, business *BusinessState, rows []ChatState) error

	// Wake increments a chat's Wakes. It also sets DueAt to the given time, unless DueAt is already
	// earlier or the chat has both Attempts and a DueAt. A chat without a row gets one with Version 0.
	// Wake needs no lease and does not change a Version. A store with a clock of its own should use
	// its own time if the given time is later, because the caller's clock may be ahead.
	Wake(ctx context.Context, business chats.BusinessID, chat chats.ChatID, at time.Time) error

	// Summary reports on a business. A row is due if its DueAt is set and not after the given time.
	Summary(ctx context.Context, business chats.BusinessID, at time.Time) (Summary, error)

	// Acquire takes the lease of a business for a purpose, without waiting. It returns a
	// [LeaseHeldError] if the lease is held, even by the same holder.
	Acquire(ctx context.Context, business chats.BusinessID, purpose, holder string) (Lease, error)

	// Renew extends a lease to its Duration from now, or returns [ErrLeaseLost]. A lease that has
	// expired is lost even if no other holder has taken it. next is the earliest DueAt of the
	// business's chats, or zero if none is set. This is how the holder learns of pushes that other
	// processes have received.
	Renew(ctx context.Context, lease Lease) (next time.Time, err error)

	// Release ends a lease, so that the next Acquire succeeds. Releasing a lease that is
	// already lost is not an error.
	Release(ctx context.Context, lease Lease) error
}

// StepStore is an optional interface of a [Store]. With it, a step needs one call to begin and one
// to end. If a store has these two methods, an inbox calls them instead of the methods that they
// combine.
type StepStore interface {
	// AcquireBusiness combines Acquire and Business: it returns the row with everything that
	// earlier holders of the lease have saved.
	AcquireBusiness(ctx context.Context, business chats.BusinessID, purpose, holder string) (Lease, BusinessState, error)

	// ReleaseBusiness saves the business's row, unless it is nil, and releases the lease: both or
	// neither. Like Renew, it returns the earliest DueAt of the business's chats.
	ReleaseBusiness(ctx context.Context, lease Lease, business *BusinessState) (next time.Time, err error)
}
