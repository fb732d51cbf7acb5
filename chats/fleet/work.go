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
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// The jobs. A turn is the one unique job of a business in a queue: it makes a step and
// snoozes until something is due again. A wake is inserted by each push and each Put: it
// makes a step at once and completes. See workWake for how they work together.
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
	// maxAttempts is the most that River can store. An attempt counts only if its process dies.
	maxAttempts = 32767
	// listInterval is how soon a process learns of businesses that another one has started.
	listInterval = 10 * time.Second
	// heldPause is how long a job waits after it found the lease held. A wake adds a tenth of
	// its age.
	heldPause = time.Second
	// wakeLifetime is more than a step lasts, 36 s and 5 s to save.
	wakeLifetime = time.Minute
	// insertTimeout bounds the insertion of wakes.
	insertTimeout = 10 * time.Second
	// outboxStepTime bounds a step of an outbox to the time of an inbox's. Its posts then
	// have 5 s to finish.
	outboxStepTime = 25 * time.Second
	// idlePause is how long a turn waits if nothing is ever due. What is put through the fleet
	// does not wait for it.
	idlePause = time.Hour
)

// purpose is what a fleet does for its businesses: it has their inboxes or their outboxes
// worked, in a queue of its own.
type purpose struct {
	*Fleet

	queue   string
	steps   *atomic.Int64
	step    func(context.Context, *entry) (time.Time, error)
	listed  atomic.Pointer[listing]
	listing *semaphore.Weighted // held while the turns are listed, so that pushes do it once
	wakes   *batch.Batcher[river.InsertManyParams]
}

// listing has the IDs of all turns, some 60 bytes each, so that a push needs no search.
type listing struct {
	at  time.Time
	ids map[chats.BusinessID]int64
}

func newPurpose(f *Fleet, queue string, steps *atomic.Int64, step func(context.Context, *entry) (time.Time, error)) *purpose {
	return &purpose{Fleet: f, queue: queue, steps: steps, step: step, listing: semaphore.NewWeighted(1), wakes: batch.New(insertTimeout, f.insert)}
}

// options returns those of a job. Wakes, of priority 1, come before turns.
func (p *purpose) options(priority int) *river.InsertOpts {
	return &river.InsertOpts{Queue: p.queue, Priority: priority, MaxAttempts: maxAttempts}
}

// unfinished are the states of a turn that is worked. A middleware of the caller's may have
// completed one.
var unfinished = slices.DeleteFunc(rivertype.UniqueOptsByStateDefault(), func(s rivertype.JobState) bool { return s == rivertype.JobStateCompleted })

// start inserts the turns that are missing. They are listed first, because the insertion of
// a unique job that exists locks its row.
func (p *purpose) start(ctx context.Context, jobs Inserter, businesses []chats.BusinessID) error {
	defer p.listed.Store(&listing{}) // so that this process knows them at once
	followed := map[chats.BusinessID]bool{}
	for job, err := range p.turns(ctx) {
		// A turn that Stop has found running can be neither continued nor, until it has ended, inserted again.
		for err == nil && job.FinalizedAt == nil && bytes.Contains(job.Metadata, []byte(`"cancel_attempted_at"`)) && slices.Contains(businesses, businessOf(job)) {
			<-time.After(heldPause / 2)
			job, err = jobs.JobGet(ctx, job.ID)
		}
		if err == nil && troubleOf(job).Failures > 0 && slices.Contains(businesses, businessOf(job)) {
			_, err = jobs.JobRetry(ctx, job.ID)
		}
		if err != nil {
			return err
		}
		followed[businessOf(job)] = job.FinalizedAt == nil
	}
	var params []river.InsertManyParams
	missing := slices.DeleteFunc(slices.Sorted(slices.Values(businesses)), func(id chats.BusinessID) bool { return followed[id] })
	for _, id := range slices.Compact(missing) {
		options := p.options(2)
		options.UniqueOpts = river.UniqueOpts{ByArgs: true, ByQueue: true, ByState: unfinished}
		if delay := time.Duration(len(params)) * startGap; delay > time.Second { // River's scheduler is too coarse for less
			options.ScheduledAt = time.Now().Add(delay)
		}
		params = append(params, river.InsertManyParams{Args: turnArgs{id}, InsertOpts: options})
	}
	if len(params) == 0 {
		return nil
	}
	_, err := jobs.InsertMany(ctx, params)
	return err
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

// wake inserts a wake, which notifies the workers of all processes, unless what it is for
// has failed. It locks no row that exists, so a process that is frozen in the middle of the
// transaction holds up nothing. Wakes are inserted one batch at a time, so that River has some
// connections.
func (p *purpose) wake(ctx context.Context, business chats.BusinessID, err error) error {
	if err != nil {
		return err
	}
	return p.wakes.Do(ctx, river.InsertManyParams{Args: wakeArgs{business}, InsertOpts: p.options(1)})
}

func (f *Fleet) insert(ctx context.Context, wakes []river.InsertManyParams) error {
	_, err := f.client().InsertMany(ctx, wakes)
	return err
}

// turn returns the turn of a business, nil if the business is not served.
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

// turnID returns the ID of a business's turn, 0 if the business is not served. If all that
// is known is a stale one, the turns are listed. If none is known, they are listed unless that
// was done a moment ago.
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
	p.listed.CompareAndSwap(before, all) // unless start was called meanwhile, in which case it may lack a turn
	return all.ids[business], nil
}

// turns returns the turns that are not stopped.
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

// businessOf returns a job's business, 0 if its arguments cannot be read.
func businessOf(job *rivertype.JobRow) chats.BusinessID {
	var args turnArgs
	_ = json.Unmarshal(job.EncodedArgs, &args)
	return args.Business
}

// worker works turns or wakes. It returns no errors: a failure decides when the job is worked
// next, and no row collects errors.
type worker[T river.JobArgs] struct {
	river.WorkerDefaults[T]

	fleet *Fleet
	work  func(*purpose, context.Context, chats.BusinessID, *rivertype.JobRow) (next time.Time)
}

// Timeout implements [river.Worker].
func (w *worker[T]) Timeout(*river.Job[T]) time.Duration { return jobTimeout }

// NextRetry implements [river.Worker]: a job that was rescued continues at once.
func (w *worker[T]) NextRetry(*river.Job[T]) time.Time { return time.Now().Add(time.Second) }

// Work implements [river.Worker].
func (w *worker[T]) Work(ctx context.Context, job *river.Job[T]) error {
	p := w.fleet.inbox
	if job.Queue == outboxQueue {
		p = w.fleet.outbox
	}
	if next := w.work(p, ctx, businessOf(job.JobRow), job.JobRow); !next.IsZero() {
		return river.JobSnooze(max(0, time.Until(next)))
	}
	return nil
}

// workTurn makes a step.
func (p *purpose) workTurn(ctx context.Context, business chats.BusinessID, job *rivertype.JobRow) time.Time {
	before := troubleOf(job)
	next, after, _ := p.makeStep(ctx, business, before, heldPause)
	if before != after {
		_ = river.MetadataSet(ctx, "ymchats_trouble", after) // it fails only outside of a worker
	}
	next = cmp.Or(next, time.Now().Add(idlePause))
	isFirst := job.Attempt <= 1 && !bytes.Contains(job.Metadata, []byte(`"snoozes"`))
	return spread(business, next, isFirst)
}

// makeStep makes a step, unless the credential was refused and is still the same, and counts
// it. If the lease is held, the error is errHeld and the next step is after a pause, whenever
// the lease would expire: its holder is at work and will release it.
func (p *purpose) makeStep(ctx context.Context, business chats.BusinessID, t Trouble, pause time.Duration) (next time.Time, after Trouble, err error) {
	e, err := p.entry(ctx, business, t.Failures > 0)
	if err == nil && t.holds(e.fingerprint) {
		return t.nextAsk(), t, nil
	}
	if err == nil {
		next, err = p.step(ctx, e)
	}
	switch {
	case err == nil:
		p.steps.Add(1)
		return next, Trouble{}, nil
	case errors.Is(err, inbox.ErrLeaseHeld), errors.Is(err, inbox.ErrRunning), errors.Is(err, outbox.ErrRunning):
		p.stats.Held.Add(1)
		return time.Now().Add(pause), t, errHeld
	case ctx.Err() != nil: // the process is stopping
		return time.Now(), t, err
	case e == nil, errors.Is(err, chats.ErrUnauthorized), errors.Is(err, chats.ErrForbidden):
		p.stats.Refused.Add(1)
		cmp.Or(e, &entry{}).refused.Store(true)
		t = t.again(e, err)
		next = t.nextAsk()
	default:
		p.stats.Failed.Add(1)
	}
	p.log.LogAttrs(ctx, slog.LevelWarn, "fleet: step failed", slog.String("queue", p.queue),
		slog.Int64("business", int64(business)), slog.Any("error", err), slog.Time("next", next))
	return next, t, err
}

var errHeld = errors.New("fleet: another step is at work")

func stepOutbox(ctx context.Context, e *entry) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, outboxStepTime)
	defer cancel()
	return e.outbox.Step(ctx)
}

// workWake makes a step for a push or a Put.
//
// A step may have read what is due just before a push makes a chat due. If the push only
// made the turn available, the turn could then snooze until its next sweep: River neither
// retries a running job nor inserts a unique one again. So a push inserts a job of its own
// after it has made the chat due, and that job makes a step of its own. If another step has
// the lease, it tries again, less and less often, so that the wakes of a business with a
// backlog cost little. If the wake is older than any step, it completes: the step that has the
// lease began after the push, or its job is rescued and makes another one.
//
// What comes of a step may be due before the turn is, if a handler has failed or an item could
// not be posted. In that case the turn is made available, to find that out. While the turn
// is running, it is not known when it is due: its step may have ended before this one
// began, and the end not be recorded yet, or its process may be dead. In that case the wake
// makes another step when something is due.
func (p *purpose) workWake(ctx context.Context, business chats.BusinessID, job *rivertype.JobRow) time.Time {
	turn, err := p.turn(ctx, business)
	switch {
	case err != nil:
		return time.Now().Add(heldPause) // the database's error, which River and the inboxes log
	case turn == nil:
		p.unknown(ctx, business)
		return time.Time{}
	case troubleOf(turn).Failures > 0:
		return time.Time{} // the turn asks for another credential
	}
	age := job.AttemptedAt.Sub(job.CreatedAt)
	var soon urgent.Time
	next, after, err := p.makeStep(urgent.WithTime(ctx, &soon), business, Trouble{}, heldPause+age/10)
	if p == p.inbox && err == nil {
		next = soon.Get() // sweeps and rechecks wait for the turn
	}
	switch {
	case errors.Is(err, errHeld) && age > wakeLifetime, (err == nil || after.Failures > 0) && p.hasten(ctx, turn, next) == nil:
		return time.Time{} // the turn finds out, too
	case err != nil:
		return next
	}
	return time.Now().Add(max(heldPause, time.Until(next)))
}

// hasten makes a turn available if what is due next cannot wait for it. The error is errHeld if
// the turn is running, and so cannot be made available.
func (p *purpose) hasten(ctx context.Context, turn *rivertype.JobRow, next time.Time) error {
	due := turn.ScheduledAt
	if turn.State == rivertype.JobStateRunning {
		due = time.Now().Add(idlePause)
	}
	if next.IsZero() || !next.Before(due) {
		return nil
	}
	turn, err := p.client().JobRetry(ctx, turn.ID)
	if err == nil && turn.State == rivertype.JobStateRunning {
		return errHeld
	}
	return err
}

// spread delays a wait by a fraction that differs from business to business: of the whole
// wait after the first step, so that the sweeps of businesses that start together are
// spread over the poll interval, and of a tenth later, so that those which were due together
// after an outage drift apart.
func spread(business chats.BusinessID, at time.Time, isFirst bool) time.Time {
	share := float64(uint64(business)*0x9E3779B97F4A7C15>>40) / (1 << 24) //nolint:gosec // Fibonacci hashing, from 0 to 1
	if !isFirst {
		share /= 10
	}
	return at.Add(time.Duration(share * float64(max(0, time.Until(at)))))
}
