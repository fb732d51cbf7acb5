package fleet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// Store keeps the state of all businesses. All processes share it. That of sqlstore is one.
type Store interface {
	inbox.Store
	outbox.Store
}

// Shop is one business: its client, and the options of its inbox and outbox.
//
// The clients of all shops should share one http.Client ([chats.WithHTTPClient]), or none
// should have one of its own. An inbox has [inbox.WithHandlerTimeout] of 15 s unless Inbox
// sets another one, of which a step grants at most 36 s. Inbox and outbox have the fleet's
// logger.
type Shop struct {
	Client *chats.Client
	Inbox  []inbox.Option
	Outbox []outbox.Option
}

// Inserter is what the fleet needs of a [river.Client], which has it with every driver.
type Inserter interface {
	Insert(ctx context.Context, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
	InsertMany(ctx context.Context, params []river.InsertManyParams) ([]*rivertype.JobInsertResult, error)
	JobCancel(ctx context.Context, id int64) (*rivertype.JobRow, error)
	JobGet(ctx context.Context, id int64) (*rivertype.JobRow, error)
	JobList(ctx context.Context, params *river.JobListParams) (*river.JobListResult, error)
	JobRetry(ctx context.Context, id int64) (*rivertype.JobRow, error)
}

// ErrNotStarted is returned by what needs River before [Fleet.Start] was called in this
// process.
var ErrNotStarted = errors.New("fleet: Start was not called in this process")

// Fleet works for many businesses on many machines. Make one per process with [New].
type Fleet struct {
	store   Store
	ask     func(context.Context, chats.BusinessID) (Shop, error)
	handle  func(context.Context, inbox.Delivery) error
	workers int
	log     *slog.Logger

	mu      sync.Mutex
	jobs    Inserter
	stats   Stats
	entries map[chats.BusinessID]*entry
	turns   [2]map[chats.BusinessID]int64 // job IDs by purpose, as far as they were listed
	listed  [2]*river.JobListCursor
}

// New returns a fleet on a store. shop is asked for a business when it is worked on, again
// after 10 min, and again after a refusal of its credential; it must be safe for concurrent
// use, and has 5 s. handle is the handler of every inbox. The error is a
// [chats.ArgumentError].
func New(
	store Store, shop func(context.Context, chats.BusinessID) (Shop, error),
	handle func(context.Context, inbox.Delivery) error, options ...Option,
) (*Fleet, error) {
	if store == nil || shop == nil || handle == nil || slices.ContainsFunc(options, func(o Option) bool { return o == nil }) {
		return nil, badArgument("store, shop, handle and options", "must not be nil")
	}
	f := &Fleet{
		store: store, ask: shop, handle: handle, workers: 50, log: slog.New(slog.DiscardHandler),
		entries: map[chats.BusinessID]*entry{}, turns: [2]map[chats.BusinessID]int64{{}, {}},
	}
	for _, option := range options {
		option(f)
	}
	return f, nil
}

// Option configures a [Fleet].
type Option func(*Fleet)

// WithWorkers sets how many businesses a process works on at once, for each of inbox and
// outbox, from 1 to 10,000. The default is 50. A business whose handler hangs occupies one
// of them most of the time.
func WithWorkers(n int) Option { return func(f *Fleet) { f.workers = n } }

// WithLogger sets the logger for failures and what is done about them, also of the inboxes
// and outboxes. Log lines never contain a text or the name of a customer.
func WithLogger(logger *slog.Logger) Option { return func(f *Fleet) { f.log = logger } }

func badArgument(field, reason string) error {
	return &chats.ArgumentError{Package: "fleet", Field: field, Reason: reason}
}

// Stats are counters of this process since its start.
type Stats struct {
	InboxSteps  int64
	OutboxSteps int64
	Held        int64 // steps that found the lease held by another job, and were postponed
	Refused     int64 // steps that ended because the credential was refused
	Failed      int64 // steps that failed otherwise, and shops that could not be had
	Pushes      int64 // events of chats passed to Notify
	Unknown     int64 // pushes and replies for a business that is not followed
}

// Stats returns the counters of this process.
func (f *Fleet) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

func (f *Fleet) count(counter *int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*counter++
}
