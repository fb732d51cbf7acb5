package inbox

import (
	"context"
	"errors"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// ErrConflict says that the mark is not what the caller thought it was. Another
// worker has moved it; load the marks again.
var ErrConflict = errors.New("inbox: the mark was moved by another worker")

// Mark says how far a chat has been handled. The zero Mark is a chat of which
// nothing is known.
//
// The mark of chat 0 belongs to the inbox itself: its UpdatedAt is when the
// business was first followed.
type Mark struct {
	Message   chats.MessageID // every message up to this one is handled
	UpdatedAt time.Time       // of the chat, when it was looked at last
}

// Store keeps the marks. It must be safe for concurrent use, and a Commit that has
// returned nil must survive whatever happens to the process.
type Store interface {
	// Marks gives every mark of a business.
	Marks(ctx context.Context, business chats.BusinessID) (map[chats.ChatID]Mark, error)
	// Commit moves the mark of a chat from one value to another, and returns
	// ErrConflict without changing anything where it does not stand at from. The
	// zero Mark as from means that there is none yet. Times are equal when they are
	// the same instant to the microsecond, whatever their location.
	Commit(ctx context.Context, business chats.BusinessID, chat chats.ChatID, from, to Mark) error
}

// Leaser is a Store that several machines may share: of all processes that run the
// inbox of a business, the one with the lease works, and the others stand by.
type Leaser interface {
	// Lease blocks until the business is free or ctx ends. held ends when the lease
	// is given back or lost; whatever is done for the business is done under it.
	// release gives the lease back; it may be called more than once.
	Lease(ctx context.Context, business chats.BusinessID) (held context.Context, release func(), err error)
}
