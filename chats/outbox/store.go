package outbox

import (
	"context"
	"errors"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

var (
	// ErrConflict is returned by a [Store] if a record's Version is not the one in the store.
	ErrConflict = errors.New("outbox: the record was changed concurrently")
	// ErrMessageTaken is returned by a [Store] if a record's message belongs to another item.
	ErrMessageTaken = errors.New("outbox: the message belongs to another item")
)

// Purpose is the purpose of an outbox's lease.
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
	Oldest                                         time.Time // QueuedAt of the oldest unsettled item
	LastError                                      string    // of an unsettled item, the one due last
	Holder                                         string    // of the lease; empty if it is free
	HeldSince                                      time.Time
}

// Store keeps the items of any number of businesses. It must be safe for
// concurrent use and, if several processes share it, for use by all of them. Once a method has returned nil, its effect
// survives a crash of the process. Package outboxtest tests a Store against this contract.
//
// Every method may also return errors other than those named; the outbox then tries again.
// Times are kept to the microsecond at least; the zero time stays the zero time.
//
// Acquire, Renew and Release are those of [inbox.Store], for the [Purpose] of an outbox.
type Store interface {
	// Put adds items as Queued, in their order and behind those that existed when it began,
	// all or none. It calls [CheckItems] first. An item that already exists with the same
	// Digest is skipped. Put returns [ErrKeyReused] if an item has the key of an item with
	// a different Digest.
	Put(ctx context.Context, business chats.BusinessID, items ...Item) error

	// Item returns the record of a key without its file, or [ErrUnknownKey].
	Item(ctx context.Context, business chats.BusinessID, key string) (Record, error)

	// Head returns the first unsettled record of a chat with its file, or [ErrUnknownKey] if
	// there is none.
	Head(ctx context.Context, business chats.BusinessID, chat chats.ChatID) (Record, error)

	// Backlog returns the pending work. Unsettled items are listed whether or not they are
	// due, settled ones if their DueAt is not after at, the earliest first.
	Backlog(ctx context.Context, business chats.BusinessID, at time.Time) (Backlog, error)

	// SaveItem writes a record. It writes only under a lease that is valid, checked by the
	// store's clock in the same transaction ([inbox.ErrLeaseLost]), and only if the Version
	// is the stored one ([ErrConflict]). No two records of a chat have the same message
	// ([ErrMessageTaken]). On success it increments the Version, in the store and in the
	// argument. Key, chat, content, position and QueuedAt are not written. The file is
	// deleted if the state is final: settled, and not Uncertain.
	SaveItem(ctx context.Context, lease inbox.Lease, record *Record) error

	// ResolveItem is SaveItem without a lease.
	ResolveItem(ctx context.Context, record *Record) error

	// PostedAs returns the IDs of the messages that resulted from posting items of a chat and
	// are above the given ID, in any order.
	PostedAs(ctx context.Context, business chats.BusinessID, chat chats.ChatID, above chats.MessageID) ([]chats.MessageID, error)

	// DeleteSettled deletes at most limit records that were settled before the given
	// time, have been reported, and are not Uncertain. It returns how many.
	DeleteSettled(ctx context.Context, business chats.BusinessID, before time.Time, limit int) (int, error)

	// Counts returns what Status reports.
	Counts(ctx context.Context, business chats.BusinessID) (Summary, error)

	Acquire(ctx context.Context, business chats.BusinessID, purpose, holder string) (inbox.Lease, error)
	Renew(ctx context.Context, lease inbox.Lease) (next time.Time, err error)
	Release(ctx context.Context, lease inbox.Lease) error
}
