package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/tenure"
	"github.com/ymchats/ymchats-go/chats/internal/typednil"
)

// ErrRunning is returned if the inbox is already running: one [Inbox] cannot run twice at
// the same time.
var ErrRunning = errors.New("inbox: already running")

// Inbox delivers every message of a business's chats. Make one with [New].
type Inbox struct {
	client  *chats.Client
	store   boundedStore
	leases  *leases
	config  config
	log     *slog.Logger
	keeper  *tenure.Keeper[Lease]
	woken   chan struct{} // holds one element after a Wake in this process
	running atomic.Bool
	listing listing
	leftOut sync.Map  // senders, and chats with items that were skipped, of which the log has a line
	began   time.Time // the first attempt to serve the business, until its StartTime is known
}

// listing has the chats that the incremental sweep under way has listed, if this process
// has listed them all: an Inbox keeps it from one step to the next.
type listing struct {
	sweep time.Time // its StartedAt
	pages int
	ids   []chats.ChatID
}

// New returns an inbox on a client and a store. Nothing is sent and nothing is read before
// [Inbox.Run], [Inbox.Step] or [Inbox.Messages]. The error is a [chats.ArgumentError].
func New(client *chats.Client, store Store, options ...Option) (*Inbox, error) {
	if client == nil {
		return nil, badArgument("client", "is nil")
	}
	if typednil.Is(store) {
		return nil, badArgument("store", "is nil")
	}
	cfg := defaultConfig()
	for _, option := range options {
		if option == nil {
			return nil, badArgument("option", "is nil")
		}
		if err := option(&cfg); err != nil {
			return nil, err
		}
	}
	in := &Inbox{
		client: client, store: boundedStore{store}, leases: &leases{boundedStore: boundedStore{store}}, config: cfg, woken: make(chan struct{}, 1),
		log: cfg.logger.With(slog.Int64("business", int64(client.Business()))),
	}
	in.keeper = newKeeper(in.leases, client.Business(), in.log)
	return in, nil
}

// Wake makes a chat due. Call it for the pushes that chats/notify receives: the message is
// then delivered within a second, without a sweep. It writes to the store, so it may be
// called in any process, before, during and after a run; it takes effect at once in the
// process that holds the lease, and otherwise within a second.
//
// Pushes that arrive twice, late or for chats that do not exist do no harm, and a lost push
// only costs time, because the next sweep finds the message. If the history shows nothing
// new yet, it is read again; see Rechecks in the package documentation. Wake does not
// shorten the backoff of a chat whose handler has failed.
//
// The error is a [chats.ArgumentError], or an error of the store.
func (in *Inbox) Wake(ctx context.Context, id chats.ChatID) error {
	if id < 1 {
		return badArgument("chat", "must be greater than 0")
	}
	if err := in.store.Wake(ctx, in.client.Business(), id, time.Now()); err != nil {
		return fmt.Errorf("inbox: wake chat %d: %w", id, err)
	}
	select {
	case in.woken <- struct{}{}:
	default:
	}
	return nil
}
