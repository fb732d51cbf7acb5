package fleet

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// The jobs. A turn is the one unique job of a business and purpose: it makes a step and
// snoozes until something is due again. A wake is inserted by each push and each Put: it
// makes a step at once and completes. See wakeWorker for how they work together.
type (
	businessArgs struct {
		Business chats.BusinessID `json:"business"`
	}
	inboxTurn  struct{ businessArgs }
	outboxTurn struct{ businessArgs }
	inboxWake  struct{ businessArgs }
	outboxWake struct{ businessArgs }
)

func (a businessArgs) id() chats.BusinessID { return a.Business }

func (inboxTurn) Kind() string  { return "ymchats_inbox" }
func (outboxTurn) Kind() string { return "ymchats_outbox" }
func (inboxWake) Kind() string  { return "ymchats_inbox_wake" }
func (outboxWake) Kind() string { return "ymchats_outbox_wake" }

type jobArgs interface {
	river.JobArgs
	id() chats.BusinessID
}

// purpose is what differs between inbox and outbox.
type purpose struct {
	index      int
	queue      string // it has the name of the turns' kind
	turn, wake func(businessArgs) river.JobArgs
	step       func(context.Context, *Fleet, *entry) (time.Time, error)
	urgent     func(ctx context.Context, store Store, business chats.BusinessID, until time.Time) (time.Time, error)
}

var purposes = []*purpose{{
	0, inboxTurn{}.Kind(), func(b businessArgs) river.JobArgs { return inboxTurn{b} },
	func(b businessArgs) river.JobArgs { return inboxWake{b} }, stepInbox, urgentChats,
}, {
	1, outboxTurn{}.Kind(), func(b businessArgs) river.JobArgs { return outboxTurn{b} },
	func(b businessArgs) river.JobArgs { return outboxWake{b} }, stepOutbox, urgentItems,
}}

var inboxes, outboxes = purposes[0], purposes[1]

// maxAttempts is the most that River can store. An attempt counts only if its process dies.
const maxAttempts = 32767

// options returns those of a job. Priority 1, for wakes, comes before 2.
func (p *purpose) options(priority int, at time.Time) *river.InsertOpts {
	unique := river.UniqueOpts{ByArgs: priority > 1}
	return &river.InsertOpts{Queue: p.queue, Priority: priority, MaxAttempts: maxAttempts, ScheduledAt: at, UniqueOpts: unique}
}

// wakeUp inserts a wake, which notifies the workers of all processes, unless what it is for
// has failed. It locks no row that exists, so a process that is frozen in the middle of the
// transaction holds up nothing.
func (f *Fleet) wakeUp(ctx context.Context, p *purpose, business chats.BusinessID, err error) error {
	jobs, _, jobsErr := f.turnID(p, business)
	if err = cmp.Or(err, jobsErr); err == nil {
		f.inserts <- struct{}{}
		defer func() { <-f.inserts }()
		_, err = jobs.Insert(ctx, p.wake(businessArgs{business}), p.options(1, time.Time{}))
	}
	return err
}

func (f *Fleet) turnID(p *purpose, business chats.BusinessID) (Inserter, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.jobs == nil {
		return nil, 0, ErrNotStarted
	}
	return f.jobs, f.ids[p.index][business], nil
}

// turnOf returns the turn of a business, or nil if the business is not followed. The IDs of
// all turns are kept, about 60 bytes each, so that a push needs no search.
func (f *Fleet) turnOf(ctx context.Context, p *purpose, business chats.BusinessID) (*rivertype.JobRow, error) {
	for range 2 {
		jobs, id, err := f.turnID(p, business)
		if err == nil && id != 0 {
			job, err := jobs.JobGet(ctx, id)
			if !errors.Is(err, rivertype.ErrNotFound) && (err != nil || job.FinalizedAt == nil) {
				return job, err
			}
		}
		if err == nil {
			err = f.listTurns(ctx, p)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil //nolint:nilnil // it is not followed, which is no error
}

// listInterval is how soon a process learns of businesses that another one has started.
const listInterval = 10 * time.Second

func (f *Fleet) listTurns(ctx context.Context, p *purpose) error {
	f.mu.Lock()
	ids, began, listed := map[chats.BusinessID]int64{}, time.Now(), f.listed[p.index]
	f.mu.Unlock()
	if began.Sub(listed) < listInterval {
		return nil
	}
	for job, err := range f.turns(ctx, p) {
		if err != nil {
			return err
		}
		ids[businessOf(job)] = job.ID
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids[p.index], f.listed[p.index] = ids, began
	return nil
}

// turns returns the turns that are not stopped.
func (f *Fleet) turns(ctx context.Context, p *purpose) iter.Seq2[*rivertype.JobRow, error] {
	return func(yield func(*rivertype.JobRow, error) bool) {
		const size = 1000
		jobs, _, err := f.turnID(p, 0)
		params := river.NewJobListParams().Kinds(p.queue).First(size).States(rivertype.JobStateAvailable,
			rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled)
		for {
			var page *river.JobListResult
			if err == nil {
				page, err = jobs.JobList(ctx, params)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, job := range page.Jobs {
				if !yield(job, nil) {
					return
				}
			}
			if len(page.Jobs) < size {
				return
			}
			params = params.After(page.LastCursor)
		}
	}
}

// businessOf returns a job's business, 0 if its arguments cannot be read.
func businessOf(job *rivertype.JobRow) chats.BusinessID {
	var args businessArgs
	_ = json.Unmarshal(job.EncodedArgs, &args)
	return args.Business
}

const (
	// heldPause is how long a job waits after it found the lease held.
	heldPause = time.Second
	// outboxStepTime bounds a step of an outbox to the time of an inbox's. Its posts then
	// have 5 s to finish.
	outboxStepTime = 25 * time.Second
	// outboxIdle is how long the turn of an outbox waits if nothing is queued. What is put
	// through the fleet does not wait for it.
	outboxIdle = 10 * time.Minute
)

// worker works the jobs of a purpose. It returns no errors: a failure decides when the job
// is worked next, and no row collects errors.
type worker[T jobArgs] struct {
	river.WorkerDefaults[T]

	p    *purpose
	work func(context.Context, *purpose, chats.BusinessID, *rivertype.JobRow) time.Time
}

// Timeout implements [river.Worker].
func (w *worker[T]) Timeout(*river.Job[T]) time.Duration { return jobTimeout }

// NextRetry implements [river.Worker]: a job that was rescued goes on at once.
func (w *worker[T]) NextRetry(*river.Job[T]) time.Time { return time.Now().Add(time.Second) }

// Work implements [river.Worker].
func (w *worker[T]) Work(ctx context.Context, job *river.Job[T]) error {
	return snoozeUntil(w.work(ctx, w.p, job.Args.id(), job.JobRow))
}

// snoozeUntil completes a job that is not to be worked again.
func snoozeUntil(at time.Time) error {
	if at.IsZero() {
		return nil
	}
	return river.JobSnooze(max(0, time.Until(at)))
}

// workTurn makes a step.
func (f *Fleet) workTurn(ctx context.Context, p *purpose, business chats.BusinessID, job *rivertype.JobRow) time.Time {
	before := troubleOf(job)
	next, after, _ := f.step(ctx, p, business, before)
	if before != after {
		_ = river.MetadataSet(ctx, troubleKey, after) // it fails only outside of a worker
	}
	return spread(business, next, isFirst(job))
}

// isFirst reports whether a job is worked for the first time.
func isFirst(job *rivertype.JobRow) bool {
	return job.Attempt <= 1 && !bytes.Contains(job.Metadata, []byte(`"snoozes"`))
}

// step makes a step, unless the credential was refused and is still the same, and counts
// it. If the lease is held, the next step is soon, whenever the lease would expire: its
// holder is at work and will release it.
func (f *Fleet) step(ctx context.Context, p *purpose, business chats.BusinessID, t Trouble) (next time.Time, after Trouble, err error) {
	e, err := f.entry(ctx, business, t.Failures > 0)
	if err == nil && t.holds(e.fingerprint) {
		return t.nextAsk(), t, nil
	}
	if err == nil {
		next, err = p.step(ctx, f, e)
	}
	switch {
	case err == nil:
		[]*atomic.Int64{&f.stats.InboxSteps, &f.stats.OutboxSteps}[p.index].Add(1)
		return next, Trouble{}, nil
	case errors.Is(err, inbox.ErrLeaseHeld), errors.Is(err, inbox.ErrRunning), errors.Is(err, outbox.ErrRunning):
		f.stats.Held.Add(1)
		return time.Now().Add(heldPause), t, err
	case ctx.Err() != nil: // the process is stopping
		return time.Now(), t, err
	case e == nil, isRefused(err):
		f.stats.Refused.Add(1)
		t = t.again(e, err)
		next = t.nextAsk()
	default:
		f.stats.Failed.Add(1)
	}
	f.log.LogAttrs(ctx, slog.LevelWarn, "fleet: step failed", slog.String("queue", p.queue),
		slog.Int64("business", int64(business)), slog.Any("error", err), slog.Time("next", next))
	return next, t, err
}

func stepInbox(ctx context.Context, f *Fleet, e *entry) (time.Time, error) {
	return e.inbox.Step(ctx, f.handle)
}

func stepOutbox(ctx context.Context, _ *Fleet, e *entry) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, outboxStepTime)
	defer cancel()
	next, err := e.outbox.Step(ctx)
	if next.IsZero() {
		next = time.Now().Add(outboxIdle)
	}
	return next, err
}

// workWake works a wake.
//
// A step may have read what is due just before a push makes a chat due. If the push only
// made the turn available, the turn could then snooze until its next sweep: River neither
// retries a running job nor inserts a unique one again. So a push inserts a job of its own
// after it has made the chat due, and that job makes a step of its own. If another step has
// the lease, it tries again, until it finds that this one or that one has done the work.
//
// If a handler has failed, its next attempt may be due before the turn is. In that case the
// wake stays until that is done, too. It does not stay for rechecks, which can wait for the
// turn. While the turn is running, it is not known when the turn is due: its step may have
// ended before this one began, and the end not be recorded yet, or its process may be dead.
func (f *Fleet) workWake(ctx context.Context, p *purpose, business chats.BusinessID, job *rivertype.JobRow) (next time.Time) {
	soon := time.Now().Add(heldPause)
	turn, err := f.turnOf(ctx, p, business)
	switch {
	case err != nil:
		return soon // the database's error, which River and the inboxes log
	case turn == nil:
		f.unknown(ctx, business)
		return next
	case troubleOf(turn).Failures > 0:
		return next // the turn asks for another credential
	}
	horizon := time.Now()
	if turn.State == rivertype.JobStateScheduled && turn.ScheduledAt.After(horizon) {
		horizon = turn.ScheduledAt
	}
	if !isFirst(job) {
		next, err = p.urgent(ctx, f.store, business, horizon)
	}
	if err == nil && (isFirst(job) || !next.IsZero() && !next.After(time.Now())) {
		at, after, stepErr := f.step(ctx, p, business, Trouble{})
		switch {
		case after.Failures > 0:
			return time.Time{} // the turn finds out as well
		case stepErr != nil:
			return at
		}
		next, err = p.urgent(ctx, f.store, business, horizon)
	}
	if err != nil || next.IsZero() && turn.State == rivertype.JobStateRunning {
		return soon
	}
	return next
}

// urgentChats returns when a chat is due that a push has named or whose handler has failed.
func urgentChats(ctx context.Context, store Store, business chats.BusinessID, until time.Time) (at time.Time, err error) {
	rows, err := store.Due(ctx, business, until, 16)
	for n := range rows { // pushes first, then by time
		if rows[n].Wakes != rows[n].SeenWakes || !rows[n].FailingSince.IsZero() {
			return rows[n].DueAt, err
		}
	}
	return at, err
}

// urgentItems returns when an item is due.
func urgentItems(ctx context.Context, store Store, business chats.BusinessID, until time.Time) (at time.Time, err error) {
	backlog, err := store.Backlog(ctx, business, time.Now())
	for _, head := range backlog.Heads {
		if due := head.DueAt.Add(1); due.Before(until) && (at.IsZero() || due.Before(at)) { // a DueAt of zero is at once
			at = due
		}
	}
	return at, err
}

// spread delays a wait by a fraction that differs from business to business: of the whole
// wait after the first step, so that the sweeps of businesses that start together are
// spread over the poll interval, and of a tenth later, so that those which were due together
// after an outage drift apart.
func spread(business chats.BusinessID, at time.Time, isFirst bool) time.Time {
	share := fraction(business)
	if !isFirst {
		share /= 10
	}
	return at.Add(time.Duration(share * float64(max(0, time.Until(at)))))
}

// fraction returns a number from 0 to 1 for a business, by Fibonacci hashing.
func fraction(business chats.BusinessID) float64 {
	return float64(uint64(business)*0x9E3779B97F4A7C15>>40) / (1 << 24) //nolint:gosec // a hash
}
