package fleet

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/typednil"
	"github.com/ymchats/ymchats-go/chats/notify"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// Store keeps the state of all businesses. All processes share it. The Store of package
// sqlstore implements it.
type Store interface {
	inbox.Store
	outbox.Store
	PutTx(ctx context.Context, tx *sql.Tx, business chats.BusinessID, items ...outbox.Item) error
}

// Inserter is the part of a [river.Client] that the fleet needs. Clients with any driver
// implement it.
type Inserter interface {
	InsertMany(ctx context.Context, params []river.InsertManyParams) ([]*rivertype.JobInsertResult, error)
	JobCancel(ctx context.Context, id int64) (*rivertype.JobRow, error)
	JobGet(ctx context.Context, id int64) (*rivertype.JobRow, error)
	JobList(ctx context.Context, params *river.JobListParams) (*river.JobListResult, error)
	JobRetry(ctx context.Context, id int64) (*rivertype.JobRow, error)
}

// ErrNotStarted is returned by methods that need River if [Fleet.Start] has not been called
// in this process.
var ErrNotStarted = errors.New("fleet: Start was not called in this process")

// Fleet serves many businesses on many machines. Create one per process with [New].
type Fleet struct {
	store   Store
	ask     func(context.Context, chats.BusinessID) (Shop, error)
	workers int
	log     *slog.Logger
	stats   Stats
	inbox   *purpose
	outbox  *purpose
	jobs    atomic.Pointer[Inserter]

	mu      sync.Mutex
	entries map[chats.BusinessID]*entry
}

// New returns a fleet that keeps its state in store. The function shop is called when a
// business is worked on; its result is cached for at most 10 min, and dropped if the credential
// is refused. The function must be safe for concurrent use. Its context ends after 5 s; a call that
// is still running a second later counts as failed. The function handle is the handler of every
// inbox. The error is a [chats.ArgumentError].
func New(
	store Store, shop func(context.Context, chats.BusinessID) (Shop, error),
	handle func(context.Context, inbox.Delivery) error, options ...Option,
) (*Fleet, error) {
	if typednil.Is(store) || shop == nil || handle == nil || slices.ContainsFunc(options, func(o Option) bool { return o == nil }) {
		return nil, badArgument("store, shop, handle and options", "must not be nil")
	}
	f := &Fleet{
		store: store, ask: shop, workers: 50, log: slog.New(slog.DiscardHandler),
		entries: map[chats.BusinessID]*entry{},
	}
	stepInbox := func(ctx context.Context, e *entry) (time.Time, error) { return e.inbox.Step(ctx, e.pace(handle)) }
	f.inbox = newPurpose(f, inboxQueue, &f.stats.InboxSteps, stepInbox)
	f.outbox = newPurpose(f, outboxQueue, &f.stats.OutboxSteps, stepOutbox)
	for _, option := range options {
		option(f)
	}
	if f.workers < 1 || f.workers > river.QueueNumWorkersMax || f.log == nil || typednil.Is(f.log.Handler()) {
		return nil, badArgument("options", "WithWorkers must be given 1 to 10000, and WithLogger a logger that is not nil")
	}
	return f, nil
}

// Option configures a [Fleet].
type Option func(*Fleet)

// WithWorkers sets how many businesses a process works on at once, separately for inboxes and for
// outboxes, from 1 to 10,000. The default is 50. A business whose handler hangs occupies one worker
// most of the time.
func WithWorkers(n int) Option { return func(f *Fleet) { f.workers = n } }

// WithLogger sets the logger. The inboxes and outboxes use it, too, unless the options of a [Shop]
// set another. A failure that is retried is usually logged with the delay before the next attempt
// (retry_in). The fleet adds neither the text of a message nor the name of a customer, but the
// errors that it logs include those of the handler.
func WithLogger(logger *slog.Logger) Option { return func(f *Fleet) { f.log = logger } }

func badArgument(field, reason string) error {
	return &chats.ArgumentError{Package: "fleet", Field: field, Reason: reason}
}

// Stats has the counters of a [Fleet].
type Stats struct {
	InboxSteps, OutboxSteps atomic.Int64
	Held                    atomic.Int64 // steps that found the lease held by another job, and were postponed
	Refused                 atomic.Int64 // steps that ended because the credential was refused, or whose Shop could not be obtained
	Failed                  atomic.Int64 // steps that failed otherwise
	Pushes                  atomic.Int64 // chat events passed to Notify
	Unknown                 atomic.Int64 // pushes and outbox wakes for a business that is not served
}

// Stats returns the counters of this process; they continue to be updated.
func (f *Fleet) Stats() *Stats { return &f.stats }

// Register adds the fleet's workers to the workers of a River client, next to the caller's own.
// Like [river.AddWorker], it panics if the fleet's workers have already been added.
func (f *Fleet) Register(workers *river.Workers) {
	river.AddWorker(workers, &worker[turnArgs]{fleet: f, work: (*purpose).workTurn})
	river.AddWorker(workers, &worker[wakeArgs]{fleet: f, work: (*purpose).workWake})
}

// Config returns a copy of base that also configures a River client to work the fleet's jobs; base
// may be nil. In the copy, Config sets:
//
//   - Queues: adds ymchats_inbox and ymchats_outbox, with [WithWorkers] workers each.
//   - JobTimeout: 36 s unless base has one. This is also the limit for the caller's own jobs
//     whose worker has no Timeout.
//   - RescueStuckJobsAfter: base's value, but at most 40 s, or JobTimeout plus 4 s if that is
//     longer. If a worker has a longer Timeout, River waits for that Timeout instead.
//   - FetchCooldown: 20 ms unless base has one, because River's default of 100 ms delays pushes.
//   - CompletedJobRetentionPeriod: 1 h unless base has one, because each push, Put and Resolve
//     leaves a completed job.
//
// If a process is killed, the businesses that it was working on wait for at most 75 s, unless base
// has a JobTimeout above 36 s: their jobs count as stuck 40 s after they began, River looks for
// stuck jobs every 30 s, and it makes retryable jobs available every 5 s. By then the leases of the
// steps (5 s by default) have expired. A push or a Put does not wait that long: its own job runs a
// step as soon as the lease has expired. Other businesses are delayed only if the killed process
// was River's leader, which makes scheduled jobs available. Another process becomes the leader
// within 22 s. Until then, scheduled jobs do not run; the jobs of pushes and Puts do.
//
// River does not wait for a job that counts as stuck. The caller's own workers must therefore
// return within 4 s after their context has ended, or immediately if they have a Timeout above
// JobTimeout. Otherwise, a job may be run a second time while it is still running.
func (f *Fleet) Config(base *river.Config) *river.Config {
	c := *cmp.Or(base, &river.Config{})
	queues := map[string]river.QueueConfig{}
	maps.Copy(queues, c.Queues)
	maps.Copy(queues, map[string]river.QueueConfig{inboxQueue: {MaxWorkers: f.workers}, outboxQueue: {MaxWorkers: f.workers}})
	c.Queues = queues
	c.JobTimeout = cmp.Or(c.JobTimeout, jobTimeout)
	latest := max(rescueAfter, c.JobTimeout+rescueAfter-jobTimeout)
	c.RescueStuckJobsAfter = min(cmp.Or(c.RescueStuckJobsAfter, latest), latest)
	c.FetchCooldown = cmp.Or(c.FetchCooldown, 20*time.Millisecond)
	c.CompletedJobRetentionPeriod = cmp.Or(c.CompletedJobRetentionPeriod, time.Hour)
	return &c
}

// Start begins to serve the given businesses, on all machines that work the fleet's jobs, until
// [Fleet.Stop]. Every process must call Start before it starts its River client, even if there are
// no businesses to start, because the fleet uses the given client to insert its jobs.
//
// Start is idempotent. The first steps of new businesses are spread out, 100 a second. For a
// business that is already served, Start does nothing, unless its credential was refused or its
// Shop could not be obtained: then the function passed to [New] is called again immediately. If
// Stop has interrupted a step of a business, Start waits for the step to end, but no longer than
// 40 s after the step began, because the process that ran it may have been killed.
func (f *Fleet) Start(ctx context.Context, jobs Inserter, businesses ...chats.BusinessID) error {
	if typednil.Is(jobs) || len(businesses) > 0 && slices.Min(businesses) < 1 {
		return badArgument("jobs and businesses", "must not be nil, and must be greater than 0")
	}
	f.jobs.Store(&jobs)
	return cmp.Or(f.inbox.start(ctx, businesses), f.outbox.start(ctx, businesses))
}

// Stop stops serving the given businesses. The context of a step under way is canceled, and the
// step then has 5 s to save what it has done; a step that was begun by a push or a Put is allowed
// to finish. The rows stay in the store: a later Start continues from them, and sqlstore's Forget
// deletes them. Stop is idempotent. The process must have called Start before, even if without any
// businesses.
func (f *Fleet) Stop(ctx context.Context, jobs Inserter, businesses ...chats.BusinessID) error {
	if typednil.Is(jobs) {
		return badArgument("jobs", "must not be nil")
	}
	return cmp.Or(f.inbox.stop(ctx, jobs, businesses), f.outbox.stop(ctx, jobs, businesses))
}

// client returns the Inserter that Start was called with.
func (f *Fleet) client() Inserter { return *cmp.Or(f.jobs.Load(), &beforeStart) }

// beforeStart is the Inserter until Start is called.
var beforeStart Inserter = notStarted{}

type notStarted struct{ Inserter }

// InsertMany implements [Inserter].
func (notStarted) InsertMany(context.Context, []river.InsertManyParams) ([]*rivertype.JobInsertResult, error) {
	return nil, ErrNotStarted
}

// JobList implements [Inserter].
func (notStarted) JobList(context.Context, *river.JobListParams) (*river.JobListResult, error) {
	return nil, ErrNotStarted
}

// Notify handles a push. Pass it to [notify.NewHandler] as the handler function, on every
// machine. After Notify has returned nil for an event that it does not ignore, the chat is due, and
// a worker of any process picks it up immediately.
//
// Notify ignores events that concern no chat, or a business that is not served: it returns nil, so
// that Market does not send them again. Events for a business that is not served are counted in
// [Stats] and logged. A process may take up to 10 s to notice that another process has started to
// serve a business. The error is [ErrNotStarted] or a database error.
func (f *Fleet) Notify(ctx context.Context, event notify.Event) error {
	business, chat := notify.ChatOf(event)
	if business < 1 || chat < 1 {
		return nil
	}
	f.stats.Pushes.Add(1)
	id, err := f.inbox.turnID(ctx, business, 0)
	if err == nil && id == 0 {
		f.unknown(ctx, business)
	}
	if err != nil || id == 0 {
		return err
	}
	return f.inbox.wake(ctx, business, f.store.Wake(ctx, business, chat, time.Now()))
}

func (f *Fleet) unknown(ctx context.Context, business chats.BusinessID) {
	f.stats.Unknown.Add(1)
	f.log.LogAttrs(ctx, slog.LevelWarn, "fleet: business is not served", slog.Int64("business", int64(business)))
}

// Outbox returns the outbox of a business, for Put, Get, Resolve and Status, in any process. Items
// that are put or resolved are worked on immediately, by any process. Do not call Run or Step of
// the outbox. Do not keep the outbox, because it becomes outdated; call this method again each
// time. The Shop of the outbox was obtained from the function passed to [New], at most 10 min
// earlier. The error wraps the cause: the function passed to New failed, panicked or did not return
// in time; the Shop has no Client for this business; the Shop's credential cannot be read; or one
// of the Shop's options is invalid (a [chats.ArgumentError]).
func (f *Fleet) Outbox(ctx context.Context, business chats.BusinessID) (*outbox.Outbox, error) {
	e, err := f.entry(ctx, business, false)
	if err != nil {
		return nil, err
	}
	return e.outbox, nil
}

// wakingStore is the store of the fleet's outboxes.
type wakingStore struct {
	Store

	outbox *purpose
}

// Put implements [outbox.Store]. If the wake fails, so does Put, which may then be retried.
func (s wakingStore) Put(ctx context.Context, business chats.BusinessID, items ...outbox.Item) error {
	return s.outbox.wake(ctx, business, s.Store.Put(ctx, business, items...))
}

// ResolveItem implements [outbox.Store].
func (s wakingStore) ResolveItem(ctx context.Context, record *outbox.Record) error {
	return s.outbox.wake(ctx, record.Business, s.Store.ResolveItem(ctx, record))
}

// TxInserter inserts jobs in a transaction of database/sql. A River client with the driver
// riverdatabasesql or riversqlite implements it. The client need not work any jobs.
type TxInserter interface {
	InsertTx(ctx context.Context, tx *sql.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
}

// PutTx adds items to the outbox of a business within the caller's transaction: if the transaction
// is committed, the items are queued and a step runs immediately; if it is rolled back, the items
// are not added. The caller must roll back after any error.
//
// PutTx inserts a new job and touches no existing one, so a transaction that stays open does
// not hold up other businesses.
func (f *Fleet) PutTx(ctx context.Context, jobs TxInserter, tx *sql.Tx, business chats.BusinessID, items ...outbox.Item) error {
	if typednil.Is(jobs) {
		return badArgument("jobs", "must not be nil")
	}
	err := f.store.PutTx(ctx, tx, business, items...)
	if err == nil {
		_, err = jobs.InsertTx(ctx, tx, wakeArgs{business}, f.outbox.options(1))
	}
	return err
}

// ShopStatus is the state of a business.
type ShopStatus struct {
	Business chats.BusinessID
	Job      *rivertype.JobRow // of the inbox: its state, when it is due, which process worked it
	Backoff  Backoff           // of the inbox
	Inbox    inbox.Summary
	State    inbox.BusinessState
	Outbox   outbox.Summary
}

// Status returns the state of every business that is served, in the order in which the businesses
// were started. It reads River's rows and the store, with six statements per business. An error
// ends the sequence.
func (f *Fleet) Status(ctx context.Context) iter.Seq2[ShopStatus, error] {
	return func(yield func(ShopStatus, error) bool) {
		for job, err := range f.inbox.turns(ctx) {
			var status ShopStatus
			if err == nil {
				status, err = f.status(ctx, job)
			}
			if !yield(status, err) || err != nil {
				return
			}
		}
	}
}

func (f *Fleet) status(ctx context.Context, job *rivertype.JobRow) (ShopStatus, error) {
	var errs [3]error
	s := ShopStatus{Business: businessOf(job), Job: job, Backoff: backoffOf(job)}
	s.Inbox, errs[0] = f.store.Summary(ctx, s.Business, time.Now())
	s.State, errs[1] = f.store.Business(ctx, s.Business)
	s.Outbox, errs[2] = f.store.Counts(ctx, s.Business)
	return s, errors.Join(errs[:]...)
}
