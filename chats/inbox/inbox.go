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
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
	"github.com/ymchats/ymchats-go/chats/internal/typednil"
)

// ErrRunning is returned if the [Inbox] is already running.
var ErrRunning = errors.New("inbox: already running")

// Inbox delivers every message of a business's chats. Create one with [New].
type Inbox struct {
	client  *chats.Client
	store   *boundedStore
	config  config
	log     *slog.Logger
	keeper  *leasing.Keeper[Lease]
	woken   chan struct{} // holds one element after a Wake in this process
	running atomic.Bool
	listing listing
	leftOut sync.Map  // senders left out, and chats with skipped items, that have been logged
	began   time.Time // when the business was first served; zero once its StartTime is known
}

// listing holds the chats listed by the current incremental sweep, if this process has listed
// all its pages. An Inbox keeps it between steps.
type listing struct {
	sweep time.Time // the sweep's StartedAt
	pages int
	ids   []chats.ChatID
}

// New returns an inbox for a client and a store. New itself makes no requests and does not
// access the store. The error is a [chats.ArgumentError].
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
		client: client, store: &boundedStore{Store: store}, config: cfg, woken: make(chan struct{}, 1),
		log: cfg.logger.With(slog.Int64("business", int64(client.Business()))),
	}
	in.keeper = newKeeper(in.store, client.Business(), in.log)
	return in, nil
}

// Wake schedules an immediate poll of a chat. Call Wake for the pushes that chats/notify receives:
// a new message is then usually delivered within about a second, without waiting for a sweep. Wake
// writes to the store, so it may be called in any process, before, during and after a run. It takes
// effect immediately if this Inbox holds the lease, and within a second otherwise.
//
// Pushes that arrive late or twice, or that name a chat that does not exist, are harmless. A lost
// push only delays the message, because a later sweep finds it. If the history shows nothing new
// yet, the chat is polled again; see Rechecks in chats/docs/inbox.md. Wake does not shorten the
// backoff after a failure of the handler.
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
