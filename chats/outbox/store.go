package outbox

import (
	"context"
	"errors"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

var (
	// ErrConflict is returned by a [Store] if the Version of a record differs from the stored one.
	ErrConflict = errors.New("outbox: the record was changed concurrently")
	// ErrMessageTaken is returned by a [Store] if a record's message belongs to another item.
	ErrMessageTaken = errors.New("outbox: the message belongs to another item")
)

// Purpose is the [inbox.Lease.Purpose] of the leases that outboxes acquire.
const Purpose = "outbox"

// Head is the first of a chat's unsettled items.
type Head struct {
	Chat     chats.ChatID
	Position int64
	DueAt    time.Time
	NotAfter time.Time // of a Queued item; zero otherwise
	IsFile   bool
}

// Backlog is the pending work for a business.
type Backlog struct {
	Heads      []Head   // of all chats with unsettled items
	Unreported []string // keys of settled items that are due to be reported, 100 at most
	// NextReport is when the next settled item that is not in Unreported becomes due to be
	// reported; zero if there is none.
	NextReport time.Time
}

// Summary is what [Outbox.Status] reports from the store.
type Summary struct {
	Queued, Sending, Uncertain, Failed, Unreported int
	Oldest                                         time.Time // QueuedAt of the oldest unsettled item; zero if there is none
	LastError                                      string    // of the failing item that is due last
	Holder                                         string    // of the lease; empty if it is free
	HeldSince                                      time.Time
}

// Store keeps the items of any number of businesses. It must be safe for concurrent use,
// including use by several processes that share it. After a method has returned nil, its effect
// must survive a crash of the process. Package outboxtest tests a Store against this contract.
//
// Any method may return errors other than those named here; the outbox then tries again. Times
// are kept at least to the microsecond, and the zero time stays zero.
//
// Acquire, Renew and Release are those of [inbox.Store], for the [Purpose] of an outbox.
type Store interface {
	// Put adds items as Queued, all or none, in the given order and behind the items that existed when
	// Put began. It calls [CheckItems] first. An item that already exists with the same Digest is
	// skipped. Put returns [ErrKeyReused] if an item has the key of an existing item with a different
	// Digest.
	Put(ctx context.Context, business chats.BusinessID, items ...Item) error

	// Item returns the record with the given key, without its file, or [ErrUnknownKey].
	Item(ctx context.Context, business chats.BusinessID, key string) (Record, error)

	// Head returns the first unsettled record of a chat, with its file, or [ErrUnknownKey] if
	// there is none.
	Head(ctx context.Context, business chats.BusinessID, chat chats.ChatID) (Record, error)

	// Backlog returns the pending work: the heads of all chats, due or not, and the unreported
	// items whose DueAt is not after the given time, the earliest first.
	Backlog(ctx context.Context, business chats.BusinessID, at time.Time) (Backlog, error)

	// SaveItem writes a record, except for its key, chat, content, position and QueuedAt. In the
	// same transaction, it checks the lease by the store's clock and returns [inbox.ErrLeaseLost] if
	// the lease is not valid. It returns [ErrConflict] unless the Version equals the stored one, and
	// [ErrMessageTaken] if another record of the chat has the same message. On success it increments
	// the Version, both in the store and in the argument. It deletes the file if the state is final:
	// settled, and not Uncertain.
	SaveItem(ctx context.Context, lease inbox.Lease, record *Record) error

	// ResolveItem is SaveItem without a lease.
	ResolveItem(ctx context.Context, record *Record) error

	// PostedAs returns, in any order, the IDs above the given ID of the messages that resulted from
	// posting items of a chat.
	PostedAs(ctx context.Context, business chats.BusinessID, chat chats.ChatID, above chats.MessageID) ([]chats.MessageID, error)

	// DeleteSettled deletes at most limit records that were settled before the given time, have
	// been reported, and are not Uncertain. It returns how many it has deleted.
	DeleteSettled(ctx context.Context, business chats.BusinessID, before time.Time, limit int) (int, error)

	// Counts returns the Summary of a business.
	Counts(ctx context.Context, business chats.BusinessID) (Summary, error)

	Acquire(ctx context.Context, business chats.BusinessID, purpose, holder string) (inbox.Lease, error)
	Renew(ctx context.Context, lease inbox.Lease) (next time.Time, err error)
	Release(ctx context.Context, lease inbox.Lease) error
}
