package fleet

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

const (
	// heldPause is how long a job waits that found the lease held.
	heldPause = time.Second
	// outboxStepTime bounds a step of an outbox to the time of an inbox's. Its posts then
	// have 5 s to finish.
	outboxStepTime = 25 * time.Second
	// outboxIdle is how long the turn of an outbox waits if nothing is queued. What is put
	// through the fleet does not wait for it.
	outboxIdle = 10 * time.Minute
	// spreadFrom is the shortest wait that is spread.
	spreadFrom = 10 * time.Second
)

// worker works the jobs of a purpose. It returns no errors: a failure decides when the job
// is worked next, and no row collects errors.
type worker[T jobArgs] struct {
	river.WorkerDefaults[T]

	f    *Fleet
	p    *purpose
	work func(context.Context, *purpose, chats.BusinessID, *rivertype.JobRow) error
}

// Timeout implements [river.Worker].
func (w *worker[T]) Timeout(*river.Job[T]) time.Duration { return jobTimeout }

// NextRetry implements [river.Worker]: a job that was rescued goes on at once.
func (w *worker[T]) NextRetry(*river.Job[T]) time.Time { return time.Now().Add(time.Second) }

// Work implements [river.Worker]. A step of a business that is stopped ends by itself, so
// the end of the context is passed on only if the process is stopping or the time is over.
func (w *worker[T]) Work(ctx context.Context, job *river.Job[T]) error {
	detached, cancel := context.WithTimeout(context.WithoutCancel(ctx), jobTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		if !errors.Is(context.Cause(ctx), rivertype.ErrJobCancelledRemotely) {
			cancel()
		}
	})()
	return w.work(detached, w.p, job.Args.id(), job.JobRow)
}

func snoozeUntil(at time.Time) error { return river.JobSnooze(max(0, time.Until(at))) }

// workTurn makes a step.
func (f *Fleet) workTurn(ctx context.Context, p *purpose, business chats.BusinessID, job *rivertype.JobRow) error {
	before := troubleOf(job)
	next, after, _ := f.step(ctx, p, business, before)
	if before != after {
		if err := river.MetadataSet(ctx, troubleKey, after); err != nil {
			return err
		}
	}
	return snoozeUntil(spread(business, next, isFirst(job)))
}

// isFirst reports whether a job is worked for the first time.
func isFirst(job *rivertype.JobRow) bool {
	return job.Attempt <= 1 && !bytes.Contains(job.Metadata, []byte(`"snoozes"`))
}

// step makes a step, unless the credential was refused and is still the same, and counts
// it. If the lease is held, the next step is soon, whenever the lease would expire: its
// holder is at work and will release it.
func (f *Fleet) step(ctx context.Context, p *purpose, business chats.BusinessID, t trouble) (next time.Time, after trouble, err error) {
	e, err := f.entry(ctx, business, t.Failures > 0)
	if err == nil && t.holds(e.fingerprint) {
		return t.nextAsk(), t, nil
	}
	if err == nil {
		next, err = p.step(ctx, f, e)
	}
	switch {
	case err == nil:
		f.count([]*int64{&f.stats.InboxSteps, &f.stats.OutboxSteps}[p.index])
		return next, trouble{}, nil
	case errors.Is(err, inbox.ErrLeaseHeld), errors.Is(err, inbox.ErrRunning), errors.Is(err, outbox.ErrRunning):
		f.count(&f.stats.Held)
		return time.Now().Add(heldPause), t, err
	case ctx.Err() != nil: // the process is stopping
		return time.Now(), t, err
	case e == nil, isRefused(err):
		f.count(&f.stats.Refused)
		t = t.again(e, err)
		next = t.nextAsk()
	default:
		f.count(&f.stats.Failed)
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
// What comes of a step may be due before the turn is, if a handler has failed. Then the wake
// stays until that is done, too. It does not stay for rechecks, which can wait for the turn.
// While the turn is running, it is not known when the turn is due: its step may have ended
// before this one began, and the end not be recorded yet, or its process may be dead.
func (f *Fleet) workWake(ctx context.Context, p *purpose, business chats.BusinessID, job *rivertype.JobRow) error {
	next, err := f.wake(ctx, p, business, isFirst(job))
	if err == nil && next.IsZero() {
		return nil
	}
	if err != nil {
		next = time.Now().Add(heldPause) // the database's, which River and the inboxes log
	}
	return snoozeUntil(next)
}

// wake returns when to look again, the zero time if the turn will be in time.
func (f *Fleet) wake(ctx context.Context, p *purpose, business chats.BusinessID, isFirst bool) (next time.Time, err error) {
	turn, err := f.turnOf(ctx, p, business)
	switch {
	case err != nil:
		return next, err
	case turn == nil:
		f.unknown(ctx, business)
		return next, nil
	case troubleOf(turn).Failures > 0:
		return next, nil // the turn asks for another credential
	}
	horizon := time.Now()
	if turn.State == rivertype.JobStateScheduled && turn.ScheduledAt.After(horizon) {
		horizon = turn.ScheduledAt
	}
	if !isFirst {
		next, err = p.urgent(ctx, f.store, business, horizon)
	}
	if err == nil && (isFirst || !next.IsZero() && !next.After(time.Now())) {
		var after trouble
		next, after, err = f.step(ctx, p, business, trouble{})
		switch {
		case after.Failures > 0:
			return time.Time{}, nil // the turn finds out, too
		case err != nil:
			return next, nil //nolint:nilerr // step has logged it
		}
		next, err = p.urgent(ctx, f.store, business, horizon)
	}
	if err == nil && next.IsZero() && turn.State == rivertype.JobStateRunning {
		next = time.Now().Add(heldPause)
	}
	return next, err
}

// urgentChats returns when a chat is due that a push has named or whose handler has failed.
func urgentChats(ctx context.Context, store Store, business chats.BusinessID, until time.Time) (at time.Time, err error) {
	rows, err := store.Due(ctx, business, until, 16)
	for n := range rows {
		if rows[n].Wakes != rows[n].SeenWakes || !rows[n].FailingSince.IsZero() {
			at = earliest(at, rows[n].DueAt)
		}
	}
	return at, err
}

// urgentItems returns when an item is due.
func urgentItems(ctx context.Context, store Store, business chats.BusinessID, until time.Time) (at time.Time, err error) {
	backlog, err := store.Backlog(ctx, business, time.Now())
	for _, head := range backlog.Heads {
		if !head.DueAt.After(until) {
			at = earliest(at, head.DueAt.Add(1)) // a DueAt of zero is at once
		}
	}
	return at, err
}

// spread delays a wait by a fraction that differs from business to business: of the whole
// wait after the first step, so that the sweeps of businesses that start together are
// spread over the poll interval, and of a tenth later, so that those which were due together
// after an outage drift apart.
func spread(business chats.BusinessID, at time.Time, isFirst bool) time.Time {
	wait := time.Until(at)
	switch {
	case wait < spreadFrom:
		return at
	case !isFirst:
		wait /= 10
	}
	return at.Add(time.Duration(float64(wait) * fraction(business)))
}

// fraction returns a number from 0 to 1 for a business, by Fibonacci hashing.
func fraction(business chats.BusinessID) float64 {
	return float64(uint64(business)*0x9E3779B97F4A7C15>>40) / (1 << 24) //nolint:gosec // a hash
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
