package outbox

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

const (
	pollInterval  = time.Second // between two reads of the backlog
	pollShare     = 20          // reads take at most about 1/pollShare of the time
	pruneInterval = time.Hour
	pruneLimit    = 1000
)

// Attempts that fail again are at least retryGap apart on average, so that neither an outage nor many
// chats for which the server refuses everything use up the quotas. retryBurst keeps a few such chats
// from delaying each other. Outside an outage, this does not apply to a chat that has failed less than
// manyFailures times in a row.
const (
	retryGap     = 5 * time.Second
	retryBurst   = time.Minute
	manyFailures = 2
)

// dispatcher decides what to do next. It runs on one goroutine.
type dispatcher struct {
	*session

	chats    map[chats.ChatID]*chatState
	turn     int64
	retries  int // attempts in chats that have failed
	pollAt   time.Time
	pollTook time.Duration // the last read
	pollErr  int
	polled   bool // the dispatcher knows of everything that is due

	working  int
	outcomes chan outcome

	reports    []report
	isReported map[string]bool // keys in reports or being reported
	reporting  bool
	reported   chan reported
	nextReport time.Time
	unreported []string  // keys of items that this outbox, which has no WithSettled function, does not report
	reportAt   time.Time // nextReport if a wrong clock has set it; such items are read as due
}

// chatState is a chat with unsettled items.
type chatState struct {
	id       chats.ChatID
	position int64 // of its head
	dueAt    time.Time
	notAfter time.Time // of its head, if it is Queued
	isFile   bool
	turn     int64     // when it was last worked on, or began to wait
	previous int64     // the turn before that
	searchAt time.Time // when an earlier attempt is searched for again; zero if it is not
	isKnown  bool      // its head has been read
	failures int       // consecutive, of its head
	busy     bool
	woken    bool // an item was put or resolved while the chat was busy
}

// report is an item to be reported, with its record if that is in memory.
type report struct {
	key    string
	record *Record
}

type reported struct {
	key   string
	again time.Time
}

func newDispatcher(s *session) *dispatcher {
	return &dispatcher{
		session: s, chats: map[chats.ChatID]*chatState{}, turn: s.lastTurn, outcomes: make(chan outcome),
		isReported: map[string]bool{}, reported: make(chan reported, 1),
	}
}

// run works until ctx is done or, in a step, until nothing is due. It finishes work in progress.
func (d *dispatcher) run(ctx context.Context) {
	defer d.woken.reset(nil)
	defer d.keepChats()
	for ctx.Err() == nil {
		d.takeWoken()
		d.poll(ctx)
		d.prune(ctx)
		d.startReport()
		for d.canStart() && d.startWorker() {
		}
		if d.once && d.isIdle() {
			return
		}
		d.wait(ctx)
	}
	d.cancel(nil)
	d.finish()
}

// finish waits for the work in progress when the run ends: for posts, which end soon after their
// context, and for a call to the WithSettled function, until a second after its context is done.
func (d *dispatcher) finish() {
	var left <-chan time.Time
	for ended := d.posting.Done(); d.working > 0 || d.reporting; {
		select {
		case out := <-d.outcomes:
			d.take(out)
		case r := <-d.reported:
			d.takeReported(r)
		case <-ended:
			ended, left = nil, time.After(time.Second)
		case <-left:
			d.reporting, d.polled = false, false // the item must be reported later
		}
	}
}

// keepChats keeps the turns and failures of the chats for the next session.
func (d *dispatcher) keepChats() {
	if d.lastChats != nil {
		return // the backlog has not been read
	}
	d.lastTurn, d.lastChats = d.turn, map[chats.ChatID]lastChat{}
	for id, c := range d.chats {
		d.lastChats[id] = lastChat{c.turn, c.failures}
	}
}

func (d *dispatcher) isOver() bool { return d.once && !time.Now().Before(d.until) }

// isIdle reports whether a step may end. A step waits for searches to end, because the next step
// may be made by another process, which would start them over.
func (d *dispatcher) isIdle() bool {
	switch {
	case d.working > 0:
		return false
	case d.isOver():
		return true
	case d.reporting:
		return false
	}
	for _, c := range d.chats {
		if !c.searchAt.IsZero() && d.readyAt(c).Before(d.until) {
			return false
		}
	}
	return d.polled && d.choose() == nil
}

func (d *dispatcher) canStart() bool { return d.working < d.config.workers && !d.isOver() }

// poll reads the backlog, to find what other processes have put or resolved.
func (d *dispatcher) poll(ctx context.Context) {
	began := time.Now()
	if began.Before(d.pollAt) {
		return
	}
	limited, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	backlog, err := d.store.Backlog(limited, d.client.Business(), wait.Later(began, d.reportAt))
	if err != nil {
		d.pollFailed(ctx, err)
		return
	}
	if d.pollErr > 0 {
		d.log.LogAttrs(ctx, slog.LevelInfo, "outbox: backlog can be read again")
	}
	d.pollErr = 0
	took := time.Since(began)
	d.pollAt = time.Now().Add(max(pollInterval, pollShare*min(took, d.pollTook))) // a single slow read is an exception
	d.pollTook = took
	d.merge(&backlog, began)
}

func (d *dispatcher) pollFailed(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case d.once:
		d.end(fmt.Errorf("outbox: read the backlog: %w", err))
	default:
		d.pollErr++
		d.pollAt = time.Now().Add(wait.Backoff(d.pollErr, wait.Max/4))
		d.log.LogAttrs(ctx, slog.LevelWarn, "outbox: reading the backlog failed", slog.Any("error", err))
	}
}

// merge applies the backlog, except to chats in progress, whose workers have newer state.
func (d *dispatcher) merge(backlog *Backlog, now time.Time) {
	d.turn++
	listed := make(map[chats.ChatID]bool, len(backlog.Heads))
	for _, head := range backlog.Heads {
		listed[head.Chat] = true
		switch c := d.chat(head.Chat); {
		case c.busy:
			c.woken = true
		default:
			c.position, c.dueAt = head.Position, wait.Later(dueAt(head.DueAt, now, maxForbiddenDelay), c.searchAt)
			if !c.isKnown && c.failures == 0 && !head.DueAt.IsZero() { // it failed before this outbox was created
				c.failures = manyFailures
			}
			c.notAfter, c.isFile, c.isKnown = head.NotAfter, head.IsFile, true
		}
	}
	d.lastChats = nil // a chat with new items is new
	for id, c := range d.chats {
		if !listed[id] && !c.busy {
			delete(d.chats, id)
		}
	}
	if d.nextReport, d.polled = backlog.NextReport, true; d.config.settled == nil {
		d.nextReport, d.unreported = time.Time{}, backlog.Unreported
		return
	}
	d.reportAt = time.Time{}
	if dueAt(d.nextReport, now, maxReportDelay).IsZero() {
		d.reportAt = d.nextReport
	}
	d.polled = len(backlog.Unreported) == 0 && d.reportAt.IsZero()
	for _, key := range backlog.Unreported {
		if _, ok := d.pendingOutcomes.Load(key); !ok {
			d.addReport(report{key: key})
		}
	}
}

func (d *dispatcher) chat(id chats.ChatID) *chatState {
	c := d.chats[id]
	if c == nil {
		last := d.lastChats[id]
		c = &chatState{id: id, turn: cmp.Or(last.turn, d.turn), failures: last.failures}
		d.chats[id] = c
	}
	return c
}

func (d *dispatcher) takeWoken() {
	d.turn++
	for id := range d.woken.reset(map[chats.ChatID]bool{}) {
		_, known := d.chats[id]
		if c := d.chat(id); c.busy {
			c.woken = true
		} else if known {
			d.polled = false // the head may have been discarded
		}
	}
}

// choose returns the chat whose head is due and that has waited longest. Of the chats that have
// failed many times, it considers those that have waited longest and shortest in turn, so that many
// that always fail do not delay one that has just begun to.
func (d *dispatcher) choose() *chatState {
	now := time.Now()
	var chosen, oldest, newest *chatState
	for _, c := range d.chats {
		switch {
		case c.busy || d.readyAt(c).After(now):
		case c.failures < manyFailures:
			chosen = earlier(chosen, c)
		default:
			oldest = earlier(oldest, c)
			if newest == nil || earlier(newest, c) == newest {
				newest = c
			}
		}
	}
	if d.retries%2 == 1 {
		oldest = newest
	}
	return earlier(oldest, chosen)
}

// earlier returns the one of two chats that has waited longer. Either may be nil.
func earlier(a, b *chatState) *chatState {
	if a == nil || b != nil && (b.turn < a.turn || b.turn == a.turn && b.position < a.position) {
		return b
	}
	return a
}

// readyAt returns when a chat's head can be sent or, if that is sooner, has expired.
func (d *dispatcher) readyAt(c *chatState) time.Time {
	if !c.isKnown {
		return c.dueAt
	}
	at := wait.Later(c.dueAt, d.blocks.until(operation(c.isFile)))
	if c.failures >= manyFailures || c.failures > 0 && d.blocks.isFailing() {
		at = wait.Later(at, d.retryAt)
	}
	if expiry := c.notAfter.Add(time.Microsecond); !c.notAfter.IsZero() && expiry.Before(at) {
		return expiry
	}
	return at
}

func (d *dispatcher) startWorker() bool {
	c := d.choose()
	if c == nil {
		return false
	}
	d.turn++
	c.previous, c.turn = c.turn, d.turn
	c.busy, c.woken = true, false
	if c.failures > 0 {
		d.retries++
		d.retryAt = afterRetry(d.retryAt, time.Now())
	}
	d.working++
	go func() { d.outcomes <- d.work(c.id) }()
	return true
}

// afterRetry returns the new value of retryAt when a chat that has failed is tried. Attempts that
// were not held back do not count against later ones.
func afterRetry(at, now time.Time) time.Time {
	return wait.Earliest(wait.Later(at, now.Add(-retryBurst)), now).Add(retryGap)
}

func (d *dispatcher) take(out outcome) {
	d.working--
	c := d.chats[out.chat]
	if c.failures > 0 && out.isSent { // perhaps an outage has ended
		d.retryAt = time.Time{}
	}
	c.busy, c.dueAt, c.searchAt = false, wait.Later(out.dueAt, out.searchAt), out.searchAt
	c.notAfter, c.isFile, c.isKnown, c.failures = out.notAfter, out.isFile, out.isKnown, out.failures
	if out.waits {
		c.turn = c.previous
	}
	if out.isEmpty && !c.woken {
		delete(d.chats, out.chat)
	}
	if out.settled != nil {
		d.addReport(report{out.settled.Item.Key, out.settled})
		d.pendingOutcomes.Delete(out.settled.Item.Key)
	}
}

func (d *dispatcher) addReport(r report) {
	if !d.isReported[r.key] {
		d.isReported[r.key] = true
		d.reports = append(d.reports, r)
	}
}

// startReport starts reporting an item, unless one is being reported.
func (d *dispatcher) startReport() {
	if d.reporting || len(d.reports) == 0 || d.isOver() {
		return
	}
	next := d.reports[0]
	d.reports, d.reporting = d.reports[1:], true
	go func() {
		if next.record != nil {
			d.reported <- reported{next.key, d.report(d.posting, next.record)}
		} else {
			d.reported <- reported{next.key, d.reportKey(d.posting, next.key)}
		}
	}()
}

func (d *dispatcher) takeReported(r reported) {
	d.reporting = false
	delete(d.isReported, r.key)
	d.nextReport = wait.Earliest(d.nextReport, r.again)
}

// wait waits until there may be something to do.
func (d *dispatcher) wait(ctx context.Context) {
	timer := time.NewTimer(time.Until(d.wakeAt()))
	defer timer.Stop()
	select {
	case out := <-d.outcomes:
		d.take(out)
	case r := <-d.reported:
		d.takeReported(r)
	case <-d.woken.signal:
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (d *dispatcher) wakeAt() time.Time {
	at := d.pollAt
	if d.once && !d.isOver() {
		at = wait.Earliest(at, d.until)
	}
	if !d.canStart() {
		return at
	}
	for _, c := range d.chats {
		if !c.busy {
			at = wait.Earliest(at, wait.Later(d.readyAt(c), time.Now()))
		}
	}
	return at
}

// next returns when work is due again, or the zero time if there is none.
func (d *dispatcher) next() (next time.Time) {
	for _, c := range d.chats {
		next = wait.Earliest(next, wait.Later(d.readyAt(c), time.Now()))
	}
	if len(d.reports) > 0 || !d.polled {
		next = wait.Earliest(next, time.Now())
	}
	return wait.Earliest(next, d.nextReport)
}

// waive marks an item as reported if it was settled before the given time. If it cannot be saved, the
// next call after an hour tries again.
func (d *dispatcher) waive(ctx context.Context, key string, before time.Time) {
	r, err := d.store.Item(ctx, d.client.Business(), key)
	if err == nil && r.State.isFinal() && r.SettledAt.Before(before) {
		r.Reported = true
		_ = d.store.SaveItem(ctx, d.term.Lease, &r)
	}
}

// prune deletes items that were settled longer ago than the retention time.
func (d *dispatcher) prune(ctx context.Context) {
	if now := time.Now(); now.Before(d.pruneAt) {
		return
	}
	limited, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	before := time.Now().Add(-d.config.retention)
	for _, key := range d.unreported {
		d.waive(limited, key, before)
	}
	d.unreported = nil
	n, err := d.store.DeleteSettled(limited, d.client.Business(), before, pruneLimit)
	switch {
	case err != nil && ctx.Err() == nil:
		d.log.LogAttrs(ctx, slog.LevelWarn, "outbox: deleting settled items failed", slog.Any("error", err))
		d.pruneAt = time.Now().Add(wait.Max)
	case n < pruneLimit:
		d.pruneAt = time.Now().Add(pruneInterval)
	}
}
