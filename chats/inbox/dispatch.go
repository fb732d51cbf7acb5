package inbox

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/urgent"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// dispatcher starts the polls of chats that are due, at most one per worker at a time.
type dispatcher struct {
	*session

	kick      chan struct{}
	polls     sync.WaitGroup
	skipped   atomic.Bool // there was a push for a chat in flight
	isFailing bool        // due chats could not be loaded

	mu     sync.Mutex
	due    time.Time // when rows are known to be due next; zero if no such time is known
	loaded bool      // rows were loaded, so it is not known when later ones are due
}

func newDispatcher() *dispatcher { return &dispatcher{kick: make(chan struct{}, 1)} }

// note records that rows are due at a time.
func (d *dispatcher) note(at time.Time) {
	if at.IsZero() {
		return
	}
	d.mu.Lock()
	d.due = wait.Earliest(d.due, at)
	d.mu.Unlock()
	d.signal()
}

func (d *dispatcher) signal() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// run polls the chats that are due until ctx is done, or until isIdle reports that no more will
// become due, and returns when the last poll has ended.
func (d *dispatcher) run(ctx context.Context, isIdle func() bool) {
	defer d.polls.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil && !d.isStopping() {
		wait, isBlocked := d.fill(ctx)
		if d.isDone(isBlocked) && isIdle() {
			return
		}
		timer.Reset(wait)
		select {
		case <-d.woken:
			d.note(time.Now())
		case <-d.kick:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// finish finishes the session and returns when the next poll may begin, or the zero time if none
// is scheduled. Polls that are already due are urgent.
func (d *dispatcher) finish(ctx context.Context) time.Time {
	stored := d.session.finish(ctx, d.loaded)
	d.mu.Lock()
	due := d.due
	d.mu.Unlock()
	if d.loaded || !stored.IsZero() { // which includes pushes during the step
		due = stored
	}
	if due.IsZero() {
		return due
	}
	next := wait.Later(due, d.gate())
	if time.Until(due) <= unknownDue {
		urgent.Note(ctx, next)
	}
	return next
}

const (
	maxIdle  = 20 * time.Second // the maximum wait if nothing is known to be due
	maxQueue = 1_000            // the number of chats from which the next is chosen while many fail
)

// fill begins as many polls as possible. It returns how long to wait before the next one, and
// whether the quota or a breaker is blocking polls. Rows are loaded only when one of them may
// be polled, so that pushes come first.
func (d *dispatcher) fill(ctx context.Context) (wait time.Duration, isBlocked bool) {
	for {
		now := time.Now()
		if ctx.Err() != nil || d.isStopping() || d.freeWorkers() <= 0 {
			return maxIdle, false
		}
		if gate := d.gate(); gate.After(now) {
			return min(gate.Sub(now), maxIdle), true
		}
		if wait = d.untilDue(now); wait > 0 {
			return wait, false
		}
		switch err := d.load(ctx, now); {
		case ctx.Err() != nil: // which is not a failure
		case err != nil:
			d.log.LogAttrs(ctx, slog.LevelWarn, "inbox: loading due chats failed",
				slog.Any("error", err), slog.Duration("retry_in", time.Second))
			d.note(now.Add(time.Second))
			d.isFailing = true
		case d.isFailing:
			d.log.LogAttrs(ctx, slog.LevelInfo, "inbox: due chats can be loaded again")
			d.isFailing = false
		}
	}
}

func (d *dispatcher) untilDue(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.due.IsZero() {
		return maxIdle
	}
	return min(d.due.Sub(now), maxIdle)
}

func (d *dispatcher) freeWorkers() int { return d.workers - d.flights.len() }

// isOneByOne reports whether chats are tried one at a time, because many fail.
func (d *dispatcher) isOneByOne() bool { return d.handlers.isOpen() || d.reads.isOpen() }

// isDone reports whether no poll is in progress and none may begin now.
func (d *dispatcher) isDone(isBlocked bool) bool {
	return d.flights.len() == 0 && (isBlocked || d.untilDue(time.Now()) > 0)
}

// gate returns when the next poll may begin.
func (d *dispatcher) gate() time.Time {
	if d.startTime().IsZero() {
		return time.Now().Add(maxIdle) // the StartTime is not known before the first page
	}
	at := wait.Later(d.handlers.next(), d.reads.next())
	return wait.Later(at, d.quota.nextSpaced(chats.OpGetChatHistory))
}

// load begins the polls of chats that are due, those with a push first. Chats whose polls may
// not begin yet stay due.
func (d *dispatcher) load(ctx context.Context, now time.Time) error {
	defer d.flights.load()()
	d.mu.Lock()
	d.due, d.loaded = time.Time{}, true
	d.mu.Unlock()
	limit := d.workers
	isOneByOne := d.isOneByOne()
	if isOneByOne {
		limit += maxQueue
	}
	rows, err := d.store.Due(ctx, d.client.Business(), now, limit)
	if err != nil {
		return err
	}
	if isOneByOne {
		slices.SortStableFunc(rows, byTurn)
	}
	left := d.quota.share(chats.OpGetChatHistory)
	isMore := len(rows) == limit
	var postponed []*ChatState
	for i := range rows {
		switch row := &rows[i]; {
		case d.flights.isHeld(row.Chat):
			if row.isWoken() {
				d.skipped.Store(true)
			}
		case left < row.reserve():
			row.postpone(d.quota.end(chats.OpGetChatHistory))
			postponed = append(postponed, row)
		case d.freeWorkers() > 0 && !d.gate().After(now):
			d.begin(ctx, d.flights.take(*row))
		default:
			isMore = true
		}
	}
	if isMore {
		d.note(now)
	}
	if len(postponed) == 0 {
		return nil
	}
	return d.saver.save(ctx, nil, postponed...)
}

// byTurn is the order in which chats are tried one at a time: those that have not failed first,
// in the order of Due.
func byTurn(a, b ChatState) int {
	if a.FailingSince.IsZero() || b.FailingSince.IsZero() {
		return a.FailingSince.Compare(b.FailingSince)
	}
	return a.DueAt.Compare(b.DueAt)
}

func (d *dispatcher) begin(ctx context.Context, f *flight) {
	d.handlers.probe(f.row.Chat)
	d.reads.probe(f.row.Chat)
	d.quota.count(chats.OpGetChatHistory, 1)
	d.polls.Go(func() {
		err := d.poll(ctx, f)
		d.handlers.inconclusive(f.row.Chat)
		d.reads.inconclusive(f.row.Chat)
		if d.skipped.Swap(false) { // a push for a chat that was in flight
			d.note(time.Now())
		}
		switch err {
		case nil:
			d.note(f.row.DueAt)
		case ErrLeaseLost: //nolint:errorlint // our own error, never wrapped
			d.end(err)
		default:
			d.log.LogAttrs(ctx, slog.LevelError, "inbox: saving a chat failed",
				slog.Int64("chat", int64(f.row.Chat)), slog.Any("error", err))
		}
		d.signal()
	})
}
