package inbox

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// dispatcher passes the chats that are due to the poller, at most one per worker at a time.
type dispatcher struct {
	poller  *poller
	store   Store
	workers int
	log     *slog.Logger
	woken   <-chan struct{} // a push in this process
	end     func(error)

	kick  chan struct{}
	ready []*flight // due and not begun
	polls sync.WaitGroup

	mu      sync.Mutex
	busy    int
	due     time.Time // when rows are due next, as far as known; zero: none known
	skipped bool      // a push was for a chat in flight
}

func newDispatcher(p *poller, store Store, workers int, woken <-chan struct{}, end func(error)) *dispatcher {
	return &dispatcher{
		poller: p, store: store, workers: workers, log: p.log, woken: woken, end: end, kick: make(chan struct{}, 1),
	}
}

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

// run polls what is due until ctx ends, or until isIdle reports that nothing more will
// come, and returns when the last poll has ended.
func (d *dispatcher) run(ctx context.Context, isIdle func() bool) {
	defer d.putBack(ctx)
	defer d.polls.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil && !d.poller.stopping() {
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

// maxIdle bounds the wait if nothing in particular is expected.
const maxIdle = 20 * time.Second

// fill begins as many polls as possible. It returns how long to wait for the next, and
// whether the quota or a breaker holds up what is due. Rows are loaded only when one of them
// may be polled, so that pushes come first.
func (d *dispatcher) fill(ctx context.Context) (wait time.Duration, isBlocked bool) {
	for {
		now := time.Now()
		if ctx.Err() != nil || d.poller.stopping() || !d.hasWorker() {
			return maxIdle, false
		}
		if gate := d.gate(); gate.After(now) {
			return min(gate.Sub(now), maxIdle), true
		}
		if d.isDue(now) {
			if err := d.refill(ctx, now); err != nil {
				d.log.LogAttrs(ctx, slog.LevelWarn, "inbox: loading due chats failed",
					slog.Any("error", err), slog.Duration("retry_in", time.Second))
				d.note(now.Add(time.Second))
			}
		}
		f := d.take(ctx)
		if f == nil {
			return d.untilDue(now), false
		}
		d.begin(ctx, f)
	}
}

func (d *dispatcher) isDue(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.due.IsZero() && !d.due.After(now)
}

func (d *dispatcher) untilDue(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.due.IsZero() {
		return maxIdle
	}
	return min(max(d.due.Sub(now), 0), maxIdle)
}

// hasWorker reports whether another chat may be polled: one at a time while many fail.
func (d *dispatcher) hasWorker() bool {
	workers := d.workers
	if d.poller.handlers.isOpen() || d.poller.reads.isOpen() {
		workers = 1
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.busy < workers
}

// isDone reports whether nothing is in progress and nothing is due yet.
func (d *dispatcher) isDone(isBlocked bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.busy == 0 && (isBlocked || d.due.IsZero() || d.due.After(time.Now()))
}

// gate returns when the next poll may begin.
func (d *dispatcher) gate() time.Time {
	if d.poller.start().IsZero() {
		return time.Now().Add(maxIdle) // the StartTime is not known before the first page
	}
	at := wait.Later(d.poller.handlers.next(), d.poller.reads.next())
	return wait.Later(at, d.poller.quota.nextSpaced(chats.OpGetChatHistory))
}

// refill loads due rows, those with a push first.
func (d *dispatcher) refill(ctx context.Context, now time.Time) error {
	p := d.poller
	defer p.flights.load()()
	d.mu.Lock()
	d.due = time.Time{}
	d.mu.Unlock()
	limit := p.flights.len() + max(1, 4*d.workers+16-len(d.ready))
	rows, err := d.store.Due(ctx, p.business, now, limit)
	if err != nil {
		return err
	}
	isLow := p.quota.isLow(chats.OpGetChatHistory)
	var postponed []*ChatState
	woken := 0
	for i := range rows {
		switch row := &rows[i]; {
		case p.flights.isHeld(row.Chat):
			d.hasten(row)
		case isLow && isPatient(row):
			row.DueAt = p.quota.end(chats.OpGetChatHistory).Add(time.Duration(row.Chat%3600) * time.Second)
			postponed = append(postponed, row)
		case row.isWoken():
			d.ready = slices.Insert(d.ready, woken, p.flights.take(*row))
			woken++
		default:
			d.ready = append(d.ready, p.flights.take(*row))
		}
	}
	if len(postponed) > 0 {
		err = p.saver.save(ctx, nil, postponed...)
	}
	if len(rows) == limit && len(d.ready) == 0 {
		d.note(now)
	}
	return err
}

// hasten moves a chat that is ready to the front if a push has named it, and notes a push
// for one that is being polled.
func (d *dispatcher) hasten(row *ChatState) {
	if !row.isWoken() {
		return
	}
	for i, f := range d.ready {
		if f.row.Chat == row.Chat {
			f.row = *row
			d.ready = slices.Insert(slices.Delete(d.ready, i, i+1), 0, f)
			return
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.skipped = true
}

// take returns the next chat to poll, or nil if there is none. While many fail, every other
// one is known to fail.
func (d *dispatcher) take(ctx context.Context) *flight {
	if f := d.suspect(ctx); f != nil {
		return f
	}
	if len(d.ready) == 0 {
		return nil
	}
	f := d.ready[0]
	d.ready[0] = nil
	d.ready = d.ready[1:]
	if len(d.ready) == 0 {
		d.note(time.Now()) // there may be more
	}
	return f
}

// suspect returns one of the chats that are known to fail, if it is due.
func (d *dispatcher) suspect(ctx context.Context) *flight {
	p := d.poller
	ids := append(p.handlers.suspects(), p.reads.suspects()...)
	if len(ids) == 0 {
		return nil
	}
	defer p.flights.load()()
	rows, err := d.store.Chats(ctx, p.business, ids)
	if err != nil {
		return nil
	}
	now := time.Now()
	for i := range rows {
		if rows[i].DueAt.IsZero() || rows[i].DueAt.After(now) {
			continue
		}
		if f := p.flights.take(rows[i]); f != nil {
			return f
		}
	}
	return nil
}

// begin polls a chat in a separate goroutine.
func (d *dispatcher) begin(ctx context.Context, f *flight) {
	d.poller.handlers.probe()
	d.poller.reads.probe()
	d.poller.quota.count(chats.OpGetChatHistory, 1)
	d.mu.Lock()
	d.busy++
	d.mu.Unlock()
	d.polls.Go(func() {
		err := d.poller.poll(ctx, f)
		d.landed()
		switch err {
		case nil:
			d.note(f.row.DueAt)
		case errLeft, ErrLeaseLost: //nolint:errorlint // our own, unwrapped
			d.end(err)
		default:
			d.log.LogAttrs(ctx, slog.LevelError, "inbox: saving a chat failed",
				slog.Int64("chat", int64(f.row.Chat)), slog.Any("error", err))
		}
		d.signal()
	})
}

// landed frees a worker. A push for a chat in flight can now be followed.
func (d *dispatcher) landed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy--
	if d.skipped {
		d.skipped, d.due = false, wait.Earliest(d.due, time.Now())
	}
}

// putBack ends the flights that were not started. Chats listed meanwhile are saved.
func (d *dispatcher) putBack(ctx context.Context) {
	p := d.poller
	for _, f := range d.ready {
		if p.flights.land(f) {
			continue
		}
		if chat, at := p.flights.listed(f); chat != nil && p.tenure.IsValid() {
			f.row.observe(*chat, p.start(), p.config.isTiered(), at)
			_ = p.land(ctx, f) // the next sweep lists it again
		}
	}
	d.ready = nil
}
