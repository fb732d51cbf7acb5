package fleet

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

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
	PutTx(ctx context.Context, tx *sql.Tx, business chats.BusinessID, items ...outbox.Item) error
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
	turns   [2]map[chats.BusinessID]int64 // job IDs by purpose
	listed  [2]time.Time                  // when the turns were listed
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
	InboxSteps, OutboxSteps int64
	Held                    int64 // steps that found the lease held by another job, and were postponed
	Refused                 int64 // steps that ended because the credential was refused, and shops that could not be had
	Failed                  int64 // steps that failed otherwise
	Pushes                  int64 // events of chats passed to Notify
	Unknown                 int64 // pushes and replies for a business that is not followed
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

const (
	// jobTimeout covers a step of an inbox, 20 s, and a handler that began at its end.
	jobTimeout  = 36 * time.Second
	rescueAfter = 40 * time.Second
	// startGap is the time between the first steps of businesses that start together.
	startGap  = 10 * time.Millisecond
	maxInsert = 500
)

// Register adds the fleet's workers to those of a River client, next to the caller's own.
// It panics if they are there already, as [river.AddWorker] does.
func (f *Fleet) Register(workers *river.Workers) {
	river.AddWorker(workers, &worker[inboxTurn]{p: inboxes, work: f.workTurn})
	river.AddWorker(workers, &worker[outboxTurn]{p: outboxes, work: f.workTurn})
	river.AddWorker(workers, &worker[inboxWake]{p: inboxes, work: f.workWake})
	river.AddWorker(workers, &worker[outboxWake]{p: outboxes, work: f.workWake})
}

// Config returns the configuration of a River client that works the fleet's jobs, next to
// what base, which may be nil, configures. In a copy of base it sets:
//
//   - Queues: adds ymchats_inbox and ymchats_outbox, with [WithWorkers] workers each.
//   - JobTimeout: 36 s unless base has one. This is also the limit for the caller's own jobs
//     whose worker has no Timeout.
//   - RescueStuckJobsAfter: at most 40 s, or the JobTimeout of base if that is longer. River
//     respects a longer Timeout of a worker.
//   - FetchCooldown: 20 ms unless base has one, because the default of 100 ms delays pushes.
//   - CompletedJobRetentionPeriod: 1 h unless base has one, because each push and each Put
//     leaves a completed job.
//
// A process that is killed costs the businesses that it was working on 75 s at most: their
// jobs count as stuck 40 s after they began, River looks for such jobs every 30 s, and makes
// those that are to be retried available every 5 s. The leases of 5 s under the steps have
// expired by then. A push or a Put does not wait for that: it makes a step of its own as
// soon as the lease has expired. Other businesses go on at once, unless the process was
// River's leader, who makes scheduled jobs available: another one takes over within 15 s,
// and until then only pushes and Puts are worked.
func (f *Fleet) Config(base *river.Config) *river.Config {
	c := *cmp.Or(base, &river.Config{})
	queues := map[string]river.QueueConfig{}
	maps.Copy(queues, c.Queues)
	for _, p := range purposes {
		queues[p.queue] = river.QueueConfig{MaxWorkers: f.workers}
	}
	c.Queues = queues
	c.JobTimeout = cmp.Or(c.JobTimeout, jobTimeout)
	longest := max(rescueAfter, c.JobTimeout)
	c.RescueStuckJobsAfter = min(cmp.Or(c.RescueStuckJobsAfter, longest), longest)
	c.FetchCooldown = cmp.Or(c.FetchCooldown, 20*time.Millisecond)
	c.CompletedJobRetentionPeriod = cmp.Or(c.CompletedJobRetentionPeriod, time.Hour)
	return &c
}

// Start follows businesses, on whichever machines work the fleet's jobs, until [Fleet.Stop].
// Every process calls it before it starts its River client, if only with jobs and without
// businesses: the fleet inserts its jobs through jobs from then on.
//
// It may be repeated. The first steps of new businesses are spread, 100 a second. A business
// that is followed already is left alone, unless its credential was refused: then its shop
// is asked for again at once.
func (f *Fleet) Start(ctx context.Context, jobs Inserter, businesses ...chats.BusinessID) error {
	if jobs == nil || len(businesses) > 0 && slices.Min(businesses) < 1 {
		return badArgument("jobs and businesses", "must not be nil, and greater than 0")
	}
	f.mu.Lock()
	f.jobs, f.listed = jobs, [2]time.Time{} // so that this process knows them at once
	f.mu.Unlock()
	for _, p := range purposes {
		if err := f.start(ctx, jobs, p, businesses); err != nil {
			return fmt.Errorf("fleet: start: %w", err)
		}
	}
	return nil
}

// start inserts the turns that are missing. They are listed first, because the insertion of
// a unique job that exists locks its row.
func (f *Fleet) start(ctx context.Context, jobs Inserter, p *purpose, businesses []chats.BusinessID) error {
	if len(businesses) == 0 {
		return nil
	}
	added := map[chats.BusinessID]bool{}
	for _, id := range businesses {
		added[id] = true
	}
	for job, err := range turns(ctx, jobs, p) {
		id := businessOf(job)
		if err == nil && added[id] && troubleOf(job).Failures > 0 {
			_, err = jobs.JobRetry(ctx, job.ID)
		}
		if err != nil {
			return err
		}
		delete(added, id)
	}
	var params []river.InsertManyParams
	for n, id := range slices.Sorted(maps.Keys(added)) {
		var at time.Time
		if delay := time.Duration(n) * startGap; delay > time.Second { // River's scheduler is too coarse for less
			at = time.Now().Add(delay)
		}
		params = append(params, river.InsertManyParams{Args: p.turn(businessArgs{id}), InsertOpts: p.options(2, at)})
	}
	for chunk := range slices.Chunk(params, maxInsert) {
		if _, err := jobs.InsertMany(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

// Stop stops following businesses. A step that is under way ends by itself, within 36 s.
// The rows stay in the store: a later Start goes on from them, and sqlstore's Forget deletes
// them. Stop may be repeated.
func (f *Fleet) Stop(ctx context.Context, jobs Inserter, businesses ...chats.BusinessID) error {
	if err := f.Start(ctx, jobs); err != nil {
		return err
	}
	for _, p := range purposes {
		for _, id := range businesses {
			turn, err := f.turnOf(ctx, p, id)
			if err == nil && turn != nil {
				_, err = jobs.JobCancel(ctx, turn.ID)
			}
			if err != nil {
				return fmt.Errorf("fleet: stop business %d: %w", id, err)
			}
		}
	}
	return nil
}
