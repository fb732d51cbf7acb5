package fleet

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"golang.org/x/sync/semaphore"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/batch"
	"github.com/ymchats/ymchats-go/chats/internal/urgent"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// The jobs. A turn is the one unique job of a business in a queue: it runs a step and
// snoozes until something is due again. A wake is inserted by each push and each Put: it
// runs a step immediately and completes. See workWake for how they work together.
type turnArgs struct {
	Business chats.BusinessID `json:"business"`
}
type wakeArgs turnArgs

// Kind implements [river.JobArgs].
func (turnArgs) Kind() string { return "ymchats_turn" }

// Kind implements [river.JobArgs].
func (wakeArgs) Kind() string { return "ymchats_wake" }

const (
	inboxQueue  = "ymchats_inbox"
	outboxQueue = "ymchats_outbox"
	// maxAttempts is the maximum that River can store. Only attempts whose process dies count.
	maxAttempts = 32767
	// listInterval is how soon a process learns of businesses that another one has started.
	listInterval = 10 * time.Second
	// startGap is the time between the first steps of businesses that start together.
	startGap = 10 * time.Millisecond
	// jobTimeout covers a step of an inbox, 20 s, and a handler call that begins at its end.
	jobTimeout  = 36 * time.Second
	rescueAfter = 40 * time.Second
	// heldPause is how long a job waits if the lease is held. A wake adds a fifth each time.
	heldPause = time.Second
	// wakeLifetime is longer than a step can take: 36 s, and 5 s to save.
	wakeLifetime = time.Minute
	// insertTimeout limits the insertion of wakes.
	insertTimeout = 10 * time.Second
	// outboxStepTime limits a step of an outbox. Posts under way then have 5 s to finish.
	outboxStepTime = 25 * time.Second
	// idlePause is how long a turn waits if nothing is due. Items put through the fleet do not
	// wait for it.
	idlePause = time.Hour
)

// purpose is one of the two kinds of work, inboxes or outboxes. Each has its own queue.
type purpose struct {
	*Fleet

	queue   string
	steps   *atomic.Int64
	step    func(context.Context, *entry) (time.Time, error)
	listed  atomic.Pointer[listing]
	listing *semaphore.Weighted // held while the turns are listed, so that concurrent pushes list them once
	wakes   *batch.Batcher[river.InsertManyParams]
}

// listing has the IDs of all turns, about 60 bytes each, so that a push need not query them.
type listing struct {
	at  time.Time
	ids map[chats.BusinessID]int64
}

func newPurpose(f *Fleet, queue string, steps *atomic.Int64, step func(context.Context, *entry) (time.Time, error)) *purpose {
	return &purpose{Fleet: f, queue: queue, steps: steps, step: step, listing: semaphore.NewWeighted(1), wakes: batch.New(insertTimeout, f.insert)}
}

// options returns the options of a job. Wakes, with priority 1, come before turns.
func (p *purpose) options(priority int) *river.InsertOpts {
	return &river.InsertOpts{Queue: p.queue, Priority: priority, MaxAttempts: maxAttempts}
}

// unfinished has the states of a turn that is still worked. JobStateCompleted is not one of
// them: a middleware of the caller may have completed the turn.
var unfinished = slices.DeleteFunc(rivertype.UniqueOptsByStateDefault(), func(s rivertype.JobState) bool { return s == rivertype.JobStateCompleted })

// start inserts the turns that are missing. It lists the existing ones first, because
// inserting a unique job that exists locks its row.
func (p *purpose) start(ctx context.Context, businesses []chats.BusinessID) error {
	defer p.listed.Store(&listing{}) // so that this process knows them immediately
	followed, unique := map[chats.BusinessID]bool{}, map[chats.BusinessID]time.Duration{}
	for job, err := range p.turns(ctx) {
		// A turn that was running when Stop canceled it cannot be retried or, until it has ended, inserted
		// again. If its process was killed, it does not end until a River client has been running for a
		// while, and perhaps none is until Start returns: another turn is inserted, with another unique key.
		stopped := []byte(`"cancel_attempted_at"`)
		for err == nil && job.FinalizedAt == nil && bytes.Contains(job.Metadata, stopped) && slices.Contains(businesses, businessOf(job)) && time.Since(*cmp.Or(job.AttemptedAt, &time.Time{})) < rescueAfter {
			<-time.After(heldPause / 2)
			job, err = p.client().JobGet(ctx, job.ID)
		}
		if err == nil && backoffOf(job).Failures > 0 && slices.Contains(businesses, businessOf(job)) {
			_, err = p.client().JobRetry(ctx, job.ID)
		}
		if err != nil {
			return err
		}
		if followed[businessOf(job)] = job.FinalizedAt == nil; job.FinalizedAt == nil && bytes.Contains(job.Metadata, stopped) {
			followed[businessOf(job)], unique[businessOf(job)] = false, rescueAfter
		}
	}
	var params []river.InsertManyParams
	missing := slices.DeleteFunc(slices.Sorted(slices.Values(businesses)), func(id chats.BusinessID) bool { return followed[id] })
	for _, id := range slices.Compact(missing) {
		options := p.options(2)
		options.UniqueOpts = river.UniqueOpts{ByArgs: true, ByQueue: true, ByState: unfinished, ByPeriod: unique[id]}
		if delay := time.Duration(len(params)) * startGap; delay > time.Second { // River's scheduler is too coarse for less
			options.ScheduledAt = time.Now().Add(delay)
		}
		params = append(params, river.InsertManyParams{Args: turnArgs{id}, InsertOpts: options})
	}
	if len(params) == 0 {
		return nil
	}
	return p.insert(ctx, params)
}

func (p *purpose) stop(ctx context.Context, jobs Inserter, businesses []chats.BusinessID) error {
	p.listed.Store(&listing{}) // another process may have started one a moment ago
	for _, id := range businesses {
		turn, err := p.turn(ctx, id)
		if err == nil && turn != nil {
			_, err = jobs.JobCancel(ctx, turn.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wake inserts a wake, which notifies the workers of all processes. If err is not nil, wake
// returns it, and inserts nothing unless ctx is done: the work that err is about may then have been
// recorded nevertheless. Inserting locks no existing row, so a process that is frozen in the middle
// of the transaction holds up nothing. Wakes are inserted one batch at a time, which leaves
// connections for River.
func (p *purpose) wake(ctx context.Context, business chats.BusinessID, err error) error {
	if err != nil && ctx.Err() == nil {
		return err
	}
	return cmp.Or(err, p.wakes.Do(ctx, river.InsertManyParams{Args: wakeArgs{business}, InsertOpts: p.options(1)}))
}

func (f *Fleet) insert(ctx context.Context, jobs []river.InsertManyParams) error {
	_, err := f.client().InsertMany(ctx, jobs)
	return err
}

// turn returns the turn of a business, or nil if the business is not served.
func (p *purpose) turn(ctx context.Context, business chats.BusinessID) (*rivertype.JobRow, error) {
	for stale := int64(0); ; {
		id, err := p.turnID(ctx, business, stale)
		if err != nil || id == stale {
			return nil, err
		}
		job, err := p.client().JobGet(ctx, id)
		if !errors.Is(err, rivertype.ErrNotFound) && (err != nil || job.FinalizedAt == nil) {
			return job, err
		}
		stale = id
	}
}

// turnID returns the ID of a business's turn, or 0 if the business is not served. stale is an
// ID known to be out of date, or 0. The turns are listed if no other ID is known, unless stale
// is 0 and they were listed within listInterval.
func (p *purpose) turnID(ctx context.Context, business chats.BusinessID, stale int64) (int64, error) {
	if known := p.listed.Load(); known != nil && known.ids[business] != stale {
		return known.ids[business], nil
	}
	if err := p.listing.Acquire(ctx, 1); err != nil {
		return 0, err
	}
	defer p.listing.Release(1)
	before := p.listed.Load()
	last := cmp.Or(before, &listing{})
	if id := last.ids[business]; id != stale || stale == 0 && time.Since(last.at) < listInterval {
		return id, nil
	}
	all := &listing{time.Now(), map[chats.BusinessID]int64{}}
	for job, err := range p.turns(ctx) {
		if err != nil {
			return 0, err
		}
		all.ids[businessOf(job)] = job.ID
	}
	p.listed.CompareAndSwap(before, all) // unless start was called meanwhile, in which case all may lack a turn
	return all.ids[business], nil
}

// turns returns the turns that have not been stopped.
func (p *purpose) turns(ctx context.Context) iter.Seq2[*rivertype.JobRow, error] {
	return func(yield func(*rivertype.JobRow, error) bool) {
		const size = 1000
		params := river.NewJobListParams().Kinds(turnArgs{}.Kind()).Queues(p.queue).First(size).States(unfinished...)
		for more := true; more; {
			page, err := p.client().JobList(ctx, params)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, job := range page.Jobs {
				if !yield(job, nil) {
					return
				}
			}
			if more = len(page.Jobs) == size; more {
				params = params.After(page.LastCursor)
			}
		}
	}
}

// businessOf returns a job's business, or 0 if its arguments cannot be read.
func businessOf(job *rivertype.JobRow) chats.BusinessID {
	var args turnArgs
	_ = json.Unmarshal(job.EncodedArgs, &args)
	return args.Business
}

// worker works turns or wakes. It never returns an error: a failure only affects when the job
// is worked next, and rows do not collect errors.
type worker[T river.JobArgs] struct {
	river.WorkerDefaults[T]

	fleet *Fleet
	work  func(*purpose, context.Context, chats.BusinessID, *rivertype.JobRow) (next time.Time)
}

// Timeout implements [river.Worker].
func (w *worker[T]) Timeout(*river.Job[T]) time.Duration { return jobTimeout }

// NextRetry implements [river.Worker]: a rescued job is retried after one second. If a job
// keeps failing, because of the caller's middleware, the delay doubles to a minute.
func (w *worker[T]) NextRetry(job *river.Job[T]) time.Time {
	isOld := func(e rivertype.AttemptError) bool { return time.Since(e.At) > 10*wait.Max }
	return time.Now().Add(wait.Backoff(1+len(slices.DeleteFunc(slices.Clone(job.Errors), isOld)), wait.Max))
}

// Work implements [river.Worker].
func (w *worker[T]) Work(ctx context.Context, job *river.Job[T]) error {
	p := map[string]*purpose{inboxQueue: w.fleet.inbox, outboxQueue: w.fleet.outbox}[job.Queue]
	if next := w.work(p, ctx, businessOf(job.JobRow), job.JobRow); !next.IsZero() {
		return river.JobSnooze(max(0, time.Until(next)))
	}
	return nil
}

// workTurn runs a step for a turn.
func (p *purpose) workTurn(ctx context.Context, business chats.BusinessID, job *rivertype.JobRow) time.Time {
	before := backoffOf(job)
	next, after, _ := p.makeStep(ctx, business, before, heldPause)
	if before != after {
		_ = river.MetadataSet(ctx, "ymchats_backoff", after) // it fails only outside of a worker
	}
	next = cmp.Or(next, time.Now().Add(idlePause))
	isFirst := job.Attempt <= 1 && !bytes.Contains(job.Metadata, []byte(`"snoozes"`))
	return spread(business, next, isFirst)
}

// makeStep runs a step and counts it, unless the credential was refused and has not changed.
// If the lease is held, the error is errHeld and the next step follows after a pause, not when
// the lease would expire: its holder is working and will release it.
func (p *purpose) makeStep(ctx context.Context, business chats.BusinessID, b Backoff, pause time.Duration) (next time.Time, after Backoff, err error) {
	e, err := p.entry(ctx, business, b.Failures > 0)
	if err == nil && b.holds(e.fingerprint) {
		return b.nextAsk(), b, nil
	}
	if err == nil {
		next, err = p.step(ctx, e)
	}
	switch {
	case err == nil:
		p.steps.Add(1)
		return next, Backoff{}, nil
	case errors.Is(err, inbox.ErrLeaseHeld), errors.Is(err, inbox.ErrRunning), errors.Is(err, outbox.ErrRunning):
		p.stats.Held.Add(1)
		return time.Now().Add(pause), b, errHeld
	case ctx.Err() != nil: // the process is stopping
		return time.Now(), b, err
	case e == nil, errors.Is(err, chats.ErrUnauthorized), errors.Is(err, chats.ErrForbidden):
		p.stats.Refused.Add(1)
		cmp.Or(e, &entry{}).refused.Store(true)
		b = b.again(e, err)
		next = b.nextAsk()
	default:
		p.stats.Failed.Add(1)
	}
	p.log.LogAttrs(ctx, slog.LevelWarn, "fleet: step failed", slog.String("queue", p.queue),
		slog.Int64("business", int64(business)), slog.Any("error", err), slog.Duration("retry_in", max(0, time.Until(cmp.Or(next, time.Now().Add(idlePause))))))
	return next, b, err
}

var errHeld = errors.New("fleet: another step is running")

func stepOutbox(ctx context.Context, e *entry) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, outboxStepTime)
	defer cancel()
	return e.outbox.Step(ctx)
}

// workWake runs a step for a push or a Put.
//
// A running step may have read what is due just before a push makes a chat due. If the push
// only made the turn available, the turn could then snooze until its next sweep, because River
// neither retries a running job nor inserts a unique one again. So a push first makes the chat
// due and then inserts its own job, which runs its own step. If another step has the lease,
// the wake tries again, less and less often, so the wakes of a business with a backlog cost
// little. A wake also tries again, for listInterval, if the business is not served as far as this
// process knows, because another one may just have started it, and while the turn tries another
// credential after a refusal. A wake that has been tried for longer than the longest step takes
// completes: the step that has the lease began after the push, or its job will be rescued and run
// another step. That time, age, is the sum of the pauses so far. The job's CreatedAt does not say it:
// that is earlier than the commit, and by the clock of the process that inserted the job.
//
// If a handler has failed or an item could not be posted, the retry may be due before the turn
// is. The turn is then made available, so that it learns of the retry. While the turn is
// running, its due time is unknown: its step may have ended before this one began, without the
// end being recorded yet, or its process may be dead. In that case the wake runs another step
// when something is due.
func (p *purpose) workWake(ctx context.Context, business chats.BusinessID, job *rivertype.JobRow) time.Time {
	var tried struct{ Snoozes int64 }
	_ = json.Unmarshal(job.Metadata, &tried)
	age, pause := time.Duration(tried.Snoozes*(tried.Snoozes+9))*heldPause/10, heldPause+time.Duration(tried.Snoozes)*heldPause/5
	turn, err := p.turn(ctx, business)
	switch {
	case err != nil, turn == nil && age < listInterval, turn != nil && turn.State == rivertype.JobStateRunning && backoffOf(turn).Failures > 0:
		return time.Now().Add(pause) // River and the inboxes log the error
	case turn == nil:
		p.unknown(ctx, business)
		return time.Time{}
	case backoffOf(turn).Failures > 0:
		return time.Time{} // the turn asks for another credential
	}
	var soon urgent.Time
	next, after, err := p.makeStep(urgent.WithTime(ctx, &soon), business, Backoff{}, pause)
	if p == p.inbox && err == nil {
		next = soon.Get() // sweeps and rechecks wait for the turn
	}
	switch {
	case errors.Is(err, errHeld) && age > wakeLifetime, (err == nil || after.Failures > 0) && p.hasten(ctx, business, next) == nil:
		return time.Time{} // the turn takes care of the rest
	case err != nil:
		return next
	}
	return time.Now().Add(max(heldPause, time.Until(next)))
}

// hasten makes the turn of a business available if something is due before it. The turn is read
// again, because the business may have been stopped during the step. The error is errHeld if the
// turn is running and so cannot be made available.
func (p *purpose) hasten(ctx context.Context, business chats.BusinessID, next time.Time) error {
	if next.IsZero() {
		return nil
	}
	turn, err := p.turn(ctx, business)
	if err != nil || turn == nil || turn.State != rivertype.JobStateRunning && !next.Before(turn.ScheduledAt) {
		return err
	}
	turn, err = p.client().JobRetry(ctx, turn.ID)
	if err == nil && turn.State == rivertype.JobStateRunning {
		return errHeld
	}
	return err
}

// spread lengthens a wait by a share of it that differs from business to business: up to the
// whole wait after the first step, which spreads the sweeps of businesses that start together
// over the poll interval, and up to a tenth later, which separates businesses that were due
// together after an outage.
func spread(business chats.BusinessID, at time.Time, isFirst bool) time.Time {
	share := float64(uint64(business)*0x9E3779B97F4A7C15>>40) / (1 << 24) //nolint:gosec // Fibonacci hashing, from 0 to 1
	if !isFirst {
		share /= 10
	}
	return at.Add(time.Duration(share * float64(max(0, time.Until(at)))))
}
