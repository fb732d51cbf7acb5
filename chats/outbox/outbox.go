package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
	"github.com/ymchats/ymchats-go/chats/internal/typednil"
)

// ErrRunning is returned if the [Outbox] is already running.
var ErrRunning = errors.New("outbox: already running")

// Outbox posts the items of a business. Create one with [New].
type Outbox struct {
	client    *chats.Client
	store     Store
	config    config
	log       *slog.Logger
	keeper    *leasing.Keeper[inbox.Lease]
	woken     wakes
	attempted lastAttempts
	refusals  refusals
	blocks    blocks
	settling  chan struct{} // a mutex for calls to the WithSettled function
	running   atomic.Bool
	pruneAt   time.Time // when settled items are deleted next

	// The state of the dispatcher when the last session ended. It outlives the lease, because
	// every step has a new one.
	lastTurn  int64
	lastChats map[chats.ChatID]lastChat // with unsettled items
	retryAt   time.Time                 // when a chat that has failed is tried again; see retryGap
}

// lastChat is what is kept of a chat between two sessions.
type lastChat struct {
	turn     int64
	failures int
}

// New returns an outbox for a client and a store. New itself makes no requests and does not
// access the store. The error is a [chats.ArgumentError].
func New(client *chats.Client, store Store, options ...Option) (*Outbox, error) {
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
	o := &Outbox{
		client: client, store: store, config: cfg, woken: wakes{signal: make(chan struct{}, 1)}, settling: make(chan struct{}, 1),
		blocks: blocks{failed: true}, // a new outbox may have been created in an outage
		log:    cfg.logger.With(slog.Int64("business", int64(client.Business()))),
	}
	o.keeper = newKeeper(o.store, client.Business(), o.log)
	return o, nil
}

// Put adds items to the queue, all or none. After Put has returned nil, each item is posted once,
// whatever happens to this process, unless the item ends as [Failed], [Expired], [Uncertain] or
// [Discarded]; see Posting and Leases in the package documentation for the rare exceptions. Put may
// be called in any process, whether or not the outbox runs there. If this Outbox holds the lease,
// it notices the items immediately; otherwise the holder of the lease notices them within about a
// second, or later if reading the backlog takes more than 50 ms, because a process spends at most a
// twentieth of its time on such reads.
//
// Put may be retried after any error: an item that already exists with the same key and
// content is skipped, whatever its state. The items of a chat are posted in the order of Put.
//
// The error is [ErrKeyReused], a [chats.ArgumentError], or an error of the store.
func (o *Outbox) Put(ctx context.Context, items ...Item) error {
	items, err := CheckItems(items)
	if err != nil || len(items) == 0 {
		return err
	}
	if err := o.store.Put(ctx, o.client.Business(), items...); err != nil {
		if errors.Is(err, ErrKeyReused) {
			return ErrKeyReused
		}
		return fmt.Errorf("outbox: put: %w", err)
	}
	for n := range items {
		o.woken.add(items[n].Chat)
	}
	return nil
}

// Get returns an item and its outcome. Get may be called in any process. The error is
// [ErrUnknownKey], or an error of the store.
func (o *Outbox) Get(ctx context.Context, key string) (Result, error) {
	record, err := o.record(ctx, key)
	if err != nil {
		return Result{}, err
	}
	return record.result(), nil
}

func (o *Outbox) record(ctx context.Context, key string) (Record, error) {
	if checkKey(key) != nil {
		return Record{}, ErrUnknownKey // a database might refuse the key
	}
	record, err := o.store.Item(ctx, o.client.Business(), key)
	if err != nil && !errors.Is(err, ErrUnknownKey) {
		err = fmt.Errorf("outbox: read item: %w", err)
	}
	return record, err
}

// Resolve carries out a person's decision about an [Uncertain] item: [Resend], [ResendAfter],
// [Discard] or [MarkSent]. Discard also removes a [Queued] item from the queue. Resolve may be
// called in any process, and may be retried: repeating a resolution that has already been carried
// out is not an error. Resend is the exception: after the item has been posted again, a retried
// call returns [ErrState], or posts the item once more if it is Uncertain again.
//
// The error is [ErrUnknownKey]; [ErrState] if the resolution is not allowed in the item's state or,
// for ResendAfter, with its number of attempts; [ErrMessageTaken] if the message belongs to another
// item; a [chats.ArgumentError]; or an error of the store.
func (o *Outbox) Resolve(ctx context.Context, key string, as Resolution) error {
	if as.to == "" || as.to == Sent && as.message < 1 {
		return badArgument("resolution", "must be Resend, Discard, or MarkSent with a message")
	}
	for {
		record, err := o.record(ctx, key)
		if err != nil {
			return err
		}
		changed, err := record.resolve(as, time.Now())
		if err != nil {
			return err
		}
		resolve := func() error { return o.store.ResolveItem(ctx, &record) }
		if !changed { // an earlier call may have failed to wake other processes
			resolve = func() error { return o.store.Put(ctx, record.Business) }
		}
		switch err := resolve(); {
		case err == nil:
			o.woken.add(record.Item.Chat)
			return nil
		case errors.Is(err, ErrMessageTaken):
			return ErrMessageTaken
		case !errors.Is(err, ErrConflict):
			return fmt.Errorf("outbox: resolve: %w", err)
		}
	}
}
