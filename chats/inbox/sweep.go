package inbox

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/callback"
	"github.com/ymchats/ymchats-go/chats/internal/callerctx"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// The shares of the budget of each kind of sweep, if all of them are needed.
const (
	incrementalShare = 0.78
	fullShare        = 0.2
	newestShare      = 0.02
)

const (
	firstSpread    = 3 * time.Second  // over which the first pages of inboxes that start together are spread
	secondSpread   = 10 * time.Second // over which their second pages are spread in addition
	maxNewest      = 10               // pages of a listing of the newest chats
	maxSamePages   = 3                // repetitions of a page after which a listing is considered endless
	maxEmptyPages  = 250              // consecutive empty pages after which a listing is considered endless
	minFailures    = 3                // failures of a page after which a sweep is cut short, see failureLimit
	patience       = 5 * time.Minute  // one more failure is allowed for each of these, see failureLimit
	failedCost     = 18               // requests that those failures cost, with the client's retries
	maxLate        = 10 * time.Minute // by which a page of a sweep can be late, see limitDelay
	maxRefusals    = 20               // of a page like those of a credential, over about 4 min, after which a sweep is cut short
	digestLifetime = time.Hour
	maxUnsaved     = 5 * time.Second // between saves while pages change no row; after a kill, those pages are listed again
)

type sweepKind int

const (
	incremental sweepKind = iota
	full
	newest
	sweepKinds
)

func (k sweepKind) String() string { return [...]string{"incremental", "full", "newest"}[k] }

// sweeper lists the chats page by page. The kinds of sweeps take turns.
type sweeper struct {
	*session

	onDue   func(time.Time)
	last    sweepKind
	ended   [sweepKinds]bool // a sweep of the kind has ended since the start
	stuck   bool             // the current sweep is cut short
	refused error            // the error of the last page, if it was a refusal of the credential
}

func newSweeper(s *session, onDue func(time.Time)) *sweeper {
	return &sweeper{session: s, onDue: onDue, last: newest}
}

// run lists pages until ctx is done or, in a step, until none is due.
func (w *sweeper) run(ctx context.Context) error {
	spreads := []time.Duration{firstSpread, secondSpread}
	for ctx.Err() == nil && !w.isStopping() {
		kind, at := w.next()
		if delay := time.Until(at); delay > 0 {
			if w.once {
				return nil
			}
			if w.quota.left(chats.OpGetChats) < 1 { // other inboxes may wait for the same time
				spreads = []time.Duration{secondSpread}
			}
			wait.Sleep(ctx, delay)
			continue
		}
		if len(spreads) > 0 && !w.once { // the caller of Step already spreads the steps of many businesses
			wait.Sleep(ctx, w.spread(spreads[0]))
			if spreads = spreads[1:]; ctx.Err() != nil {
				return nil //nolint:nilerr // the context is done, which is not an error
			}
		}
		if err := w.page(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

// spread returns a fraction of d that differs from business to business.
func (w *sweeper) spread(d time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = h.Write(strconv.AppendInt(nil, int64(w.client.Business()), 10))
	return time.Duration(h.Sum64() % uint64(max(d, 1))) //nolint:gosec // less than d
}

func (w *sweeper) sweep(kind sweepKind) *SweepState {
	return [...]*SweepState{&w.state.Incremental, &w.state.Full, &w.state.Newest}[kind]
}

// next returns the kind and time of the next page. The kinds that are due take turns.
func (w *sweeper) next() (kind sweepKind, at time.Time) {
	now := time.Now()
	for n := range sweepKinds {
		candidate := (w.last + 1 + n) % sweepKinds
		if !w.isNeeded(candidate, now) {
			continue
		}
		due := w.due(candidate)
		if at.IsZero() || due.Before(at) && at.After(now) {
			kind, at = candidate, wait.Later(due, time.Unix(0, 1))
		}
	}
	return kind, wait.Later(at, w.quota.next(chats.OpGetChats))
}

// due returns when the next page of a kind is due: at NextAt, or earlier if that was stored when
// the quota was smaller or the poll interval longer. After a failure, NextAt ends a backoff.
func (w *sweeper) due(kind sweepKind) time.Time {
	sw := w.sweep(kind)
	gap := max(w.config.interval, time.Duration(max(sw.Cost, sw.Pages))*w.gap(kind))
	if at := wait.Later(sw.StartedAt, sw.FinishedAt).Add(gap); sw.Failures == 0 && sw.NextAt.After(at) {
		return at
	}
	return sw.NextAt
}

// isNeeded reports whether sweeps of a kind are made. The newest chats are listed separately
// while sweeps take longer than the poll interval: if the server lists the most recent chats
// first, this finds most messages soon. Correctness does not depend on it.
func (w *sweeper) isNeeded(kind sweepKind, now time.Time) bool {
	switch kind {
	case incremental:
		return w.config.isTiered() && !w.isCovered()
	case newest:
		main := &w.state.Incremental
		if !w.config.isTiered() {
			main = &w.state.Full
		}
		isSlow := main.NextAt.Sub(main.FinishedAt) > w.config.interval
		if !main.StartedAt.IsZero() {
			isSlow = now.Sub(main.StartedAt) > w.config.interval
		}
		return isSlow || !w.state.Newest.StartedAt.IsZero()
	default:
		return true
	}
}

// isCovered reports whether the shop is so small, as far as is known, that full sweeps are as
// frequent as incremental ones would be.
func (w *sweeper) isCovered() bool {
	sw := &w.state.Full
	return !sw.CutShort && sw.Failures == 0 && w.state.Incremental.StartedAt.IsZero() &&
		time.Duration(max(sw.Cost, sw.Pages))*w.gap(full) <= w.config.interval
}

// gap returns the time between two pages of a kind that follows from its share of the budget.
func (w *sweeper) gap(kind sweepKind) time.Duration {
	share := [...]float64{incrementalShare, fullShare, newestShare}[kind]
	if !w.config.isTiered() && kind == full {
		share += incrementalShare
	}
	return time.Duration(float64(window) / (share * w.quota.budget(chats.OpGetChats)))
}

// page lists one page. An error ends the run.
func (w *sweeper) page(ctx context.Context, kind sweepKind) error {
	w.last = kind
	sw := w.sweep(kind)
	if sw.StartedAt.IsZero() {
		sw.StartedAt = time.Now()
		if !w.once && !sw.NextAt.IsZero() { // so that inboxes that waited for the same time do not stay in step
			sw.StartedAt = sw.StartedAt.Add(-time.Since(w.due(kind)) % w.config.interval)
		}
	}
	if w.state.Version == 0 { // messages that arrive from now on are not old, even if the process is killed
		sw.StartedAt = w.began
		if err := w.save(ctx); err != nil {
			return err
		}
	}
	w.limitDelay(kind)
	if kind == incremental && sw.Token == "" {
		w.listing = listing{sweep: sw.StartedAt}
	}
	w.quota.count(chats.OpGetChats, 1)
	counting, refund := w.quota.prepaid(ctx, chats.OpGetChats, w.skipped(ctx, 0))
	slow := func(running time.Duration) {
		w.log.LogAttrs(ctx, slog.LevelWarn, "inbox: listing chats still running",
			slog.String("sweep", kind.String()), slog.Duration("for", running))
	}
	began := time.Now()
	page, err := callback.Client(slow, func() (chats.Page[chats.Chat], error) {
		return w.client.ChatsPage(counting, w.filter(kind), chats.PageRequest{Token: sw.Token})
	})
	refund() // before the usage is saved
	if err != nil {
		return w.failed(ctx, kind, err, began)
	}
	w.refusals.accepted()
	w.refused = nil
	if w.state.StartTime.IsZero() {
		w.state.StartTime = w.newStartTime(ctx)
	}
	return w.record(ctx, kind, page)
}

// track records a page and reports whether the listing does not end: one of its pages is repeated,
// or too many empty pages follow each other. A page is recognised by its last chat, because the
// first chats may be pinned to every page. It is compared with the 1st, 2nd, 3rd, 5th, 9th ...
// page, one of which is eventually part of the cycle. Page tokens do not reveal a cycle: the server
// may keep the position itself, or issue a new token each time.
func (sw *SweepState) track(page chats.Page[chats.Chat]) (isStuck bool) {
	if sw.Empty++; len(page.Items) > 0 {
		sw.Empty = 0
		switch last := page.Items[len(page.Items)-1].ID; {
		case sw.Pages > 0 && last == sw.Head:
			sw.Same++
		case sw.Pages&(sw.Pages-1) == 0:
			sw.Head, sw.Same = last, 0
		}
	}
	return page.Next != "" && (sw.Same >= maxSamePages || sw.Empty >= maxEmptyPages)
}

func (w *sweeper) filter(kind sweepKind) chats.Filter {
	filter := w.config.filter
	if kind == incremental && !w.state.Incremental.Plain {
		filter.Statuses = unfinished
	}
	return filter
}

// newStartTime returns a time just before an inbox first served the business, which may be
// long before the first page was listed: the first attempt is stored as the StartedAt of its
// sweep. The earlier of the local and the server's clock counts, because one of them may be
// wrong, and messages considered old are never delivered. Message times may be truncated to
// whole seconds, like the server's clock.
func (w *sweeper) newStartTime(ctx context.Context) time.Time {
	if w.config.startTime != nil {
		return second(wait.Later(*w.config.startTime, beginning))
	}
	began := w.began
	for kind := range sweepKinds {
		began = wait.Earliest(began, w.sweep(kind).StartedAt)
	}
	at := began
	if server, ok := w.client.ServerTime(); ok && server.After(beginning) {
		ahead := time.Until(server)
		at = wait.Earliest(at, began.Add(ahead))
		if ahead.Abs() > time.Minute {
			w.log.LogAttrs(ctx, slog.LevelWarn, "inbox: server clock differs; the earlier clock sets the start time",
				slog.Duration("ahead", ahead), slog.Time("start", at))
		}
	}
	return second(at.Add(-time.Second))
}

// record saves the rows that a page changes, together with the progress of the sweep.
func (w *sweeper) record(ctx context.Context, kind sweepKind, page chats.Page[chats.Chat]) error {
	now := time.Now()
	done := w.flights.load()
	changed, err := w.observe(ctx, kind, page.Items, now)
	if err != nil {
		done()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the context is done, which is not an error
		}
		sw := w.sweep(kind) // the page will be listed again
		sw.Failures++
		sw.NextAt = now.Add(wait.Backoff(sw.Failures, wait.Max))
		w.notLoaded(ctx, err, sw.NextAt)
		return nil
	}
	w.advance(kind, page, len(changed) >= len(page.Items) && len(changed) > 0, now)
	isEnd := w.sweep(kind).StartedAt.IsZero() && !w.once // a step is saved when it ends
	if len(changed) > 0 || isEnd || w.startTime().IsZero() || now.Sub(w.storedAt) > maxUnsaved {
		err = w.save(ctx, changed...)
	}
	done()
	if err != nil {
		return err // another session continues from the stored state
	}
	if start := w.state.StartTime; w.startTime().IsZero() {
		w.start.Store(&start)
		w.began = time.Time{}
		w.onDue(now) // pushes may have waited for the StartTime
	}
	for _, row := range changed {
		if !row.DueAt.IsZero() {
			w.onDue(row.DueAt)
		}
	}
	if kind == incremental && page.Next == "" && w.listing.pages > 0 {
		return w.missed(ctx)
	}
	return nil
}

// observe applies the chats of a page to their rows and returns the changed ones. Rows in flight
// change later. No rows are loaded for a page that the last full sweep listed with the same
// content.
func (w *sweeper) observe(ctx context.Context, kind sweepKind, listed []chats.Chat, now time.Time) (changed []*ChatState, err error) {
	sw := w.sweep(kind)
	digest := w.digest(kind, listed, now)
	if digest != 0 && sw.Pages < len(sw.Digests) && sw.Digests[sw.Pages] == digest {
		return nil, nil
	}
	free := map[chats.ChatID]chats.Chat{}
	for _, chat := range listed {
		switch first, twice := free[chat.ID]; {
		case w.flights.list(chat, now):
			digest = 0
		case !twice || chat.UpdatedAt.After(first.UpdatedAt):
			free[chat.ID] = chat
		}
	}
	ids := slices.Sorted(maps.Keys(free))
	var loaded []ChatState
	if len(ids) > 0 {
		if loaded, err = w.store.Chats(ctx, w.client.Business(), ids); err != nil {
			return nil, err
		}
	}
	rows := make(map[chats.ChatID]*ChatState, len(loaded))
	for i := range loaded {
		rows[loaded[i].Chat] = &loaded[i]
	}
	for _, id := range ids {
		row := cmp.Or(rows[id], &ChatState{Chat: id})
		if !row.FailingSince.IsZero() { // a chat that is gone must be polled when listed again, see poll.forget
			digest = 0
		}
		if row.observe(free[id], w.state.StartTime, w.config.isTiered(), now) {
			changed = append(changed, row)
		}
	}
	if sw.Pages < len(sw.Digests) {
		sw.Digests[sw.Pages] = digest
	}
	return changed, nil
}

// digest returns a hash of what a page of a full sweep lists, or 0 if the page must be applied
// each time. The hash changes every hour, so that each page is applied at least once an hour.
func (w *sweeper) digest(kind sweepKind, listed []chats.Chat, now time.Time) uint64 {
	isUntimed := func(chat chats.Chat) bool { return known(chat.UpdatedAt).IsZero() } // see ChatState.observe
	if kind != full || w.config.dependsOnState() || slices.ContainsFunc(listed, isUntimed) {
		return 0
	}
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, now.Add(w.spread(digestLifetime)).Truncate(digestLifetime).Unix())
	if err := json.NewEncoder(h).Encode(listed); err != nil { // for example, a year with five digits
		return 0
	}
	return h.Sum64()
}

func (w *sweeper) advance(kind sweepKind, page chats.Page[chats.Chat], allNew bool, now time.Time) {
	sw := w.sweep(kind)
	if w.stuck = sw.track(page); w.stuck {
		w.log.Warn("inbox: the list does not end; sweep cut short",
			slog.String("sweep", kind.String()), slog.Int("pages", sw.Pages+1))
		w.listing, page.Next = listing{}, "" // chats may be missing from the listing
	}
	if sw.Failures > 0 {
		w.log.Info("inbox: chats can be listed again", slog.String("sweep", kind.String()))
	}
	sw.Pages++
	sw.Failures = 0
	sw.Token = page.Next
	if kind == incremental {
		for _, chat := range page.Items {
			w.listing.ids = append(w.listing.ids, chat.ID)
		}
		if w.listing.pages++; w.listing.pages != sw.Pages || !w.listing.sweep.Equal(sw.StartedAt) {
			w.listing = listing{} // another process has listed a page
		}
	}
	if page.Next == "" || kind == newest && (!allNew || sw.Pages >= maxNewest) {
		w.finish(kind, sw.Pages, now)
		return
	}
	sw.NextAt = now
	if sw.Restarts == 0 && kind != newest {
		sw.NextAt = w.planned(kind)
	}
}

// planned returns when the next page of a sweep is due according to its share of the budget.
func (w *sweeper) planned(kind sweepKind) time.Time {
	sw, burst := w.sweep(kind), int(w.quota.budget(chats.OpGetChats)/50)
	return sw.StartedAt.Add(time.Duration(max(0, sw.Pages-burst)) * w.gap(kind))
}

// limitDelay limits how late a sweep counts as after an outage, or after a time in which no process has
// served the business: it neither lists all pages missed at once, at the expense of the other sweeps,
// nor waits for a page as if it had taken that long, see failureLimit.
func (w *sweeper) limitDelay(kind sweepKind) {
	sw := w.sweep(kind)
	excess := time.Since(w.planned(kind)) - maxLate
	if sw.Token == "" || excess <= 0 {
		return
	}
	if kind == incremental && w.listing.sweep.Equal(sw.StartedAt) {
		w.listing.sweep = sw.StartedAt.Add(excess)
	}
	sw.StartedAt = sw.StartedAt.Add(excess)
}

// finish ends a sweep that cost a number of pages, and decides when the next one begins.
func (w *sweeper) finish(kind sweepKind, cost int, now time.Time) {
	sw := w.sweep(kind)
	wasPlain := sw.Plain
	next := sw.StartedAt.Add(max(w.config.interval, time.Duration(cost)*w.gap(kind)))
	if kind == newest {
		next = now.Add(max(w.config.interval, w.gap(kind)))
	}
	if !w.once && !w.ended[kind] { // inboxes that started together must not stay in step
		w.ended[kind] = true
		half := next.Sub(now) / 2
		next = now.Add(half + w.spread(half))
	}
	*sw = SweepState{FinishedAt: now, Cost: cost, CutShort: w.stuck, NextAt: next, Digests: sw.Digests}
	if other := &w.state.Incremental; kind == full && w.isCovered() {
		other.FinishedAt, other.NextAt = now, sw.NextAt
	}
	if wasPlain && w.state.Full.StartedAt.IsZero() { // it listed all chats, like a full sweep
		w.state.Full.FinishedAt, w.state.Full.Cost, w.state.Full.CutShort = now, sw.Cost, w.stuck
		w.state.Full.NextAt = wait.Later(w.state.Full.NextAt, now.Add(time.Duration(sw.Cost)*w.gap(full)))
	}
}

// missed makes the chats due that an incremental sweep no longer lists: they were finished,
// perhaps with a last message, or missed because a new message shifted the list. If there are
// many, the list has probably ended early, so their number per sweep is limited.
func (w *sweeper) missed(ctx context.Context) error {
	listed := w.listing.ids
	w.listing = listing{}
	open, err := w.store.Open(ctx, w.client.Business())
	if err != nil {
		w.notLoaded(ctx, err, w.state.Incremental.NextAt)
		return nil
	}
	slices.Sort(listed)
	open = slices.DeleteFunc(open, func(id chats.ChatID) bool {
		_, found := slices.BinarySearch(listed, id)
		return found
	})
	open = open[:min(len(open), max(100, len(listed)/4))]
	for chunk := range slices.Chunk(open, 100) {
		if err := w.close(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (w *sweeper) close(ctx context.Context, ids []chats.ChatID) error {
	defer w.flights.load()()
	ids = slices.DeleteFunc(ids, w.flights.isHeld)
	rows, err := w.store.Chats(ctx, w.client.Business(), ids)
	if err != nil {
		w.notLoaded(ctx, err, w.state.Incremental.NextAt)
		return nil
	}
	now := time.Now()
	changed := make([]*ChatState, len(rows))
	for i := range rows {
		changed[i] = &rows[i]
		changed[i].Open = false
		changed[i].hasten(now)
	}
	w.onDue(now)
	return w.saver.save(ctx, nil, changed...)
}

// notLoaded logs that rows could not be loaded.
func (w *sweeper) notLoaded(ctx context.Context, err error, next time.Time) {
	if ctx.Err() != nil {
		return // the context is done, which is not a failure
	}
	w.log.LogAttrs(ctx, slog.LevelWarn, "inbox: loading chats failed",
		slog.Any("error", err), slog.Duration("retry_in", max(0, time.Until(next))))
}

// failed schedules the next attempt at a page that could not be listed.
func (w *sweeper) failed(ctx context.Context, kind sweepKind, err error, began time.Time) error {
	if callerctx.Err(ctx) != nil && !w.isTooSlow(began) {
		return nil
	}
	if errors.Is(err, chats.ErrInvalidArgument) { // the filter
		return leasing.Final(fmt.Errorf("inbox: list chats: %w", err))
	}
	now := time.Now()
	w.reschedule(kind, err, now)
	w.state.LastError, w.state.LastErrorAt = shortened(err.Error()), now
	w.log.LogAttrs(ctx, slog.LevelWarn, "inbox: listing chats failed", slog.String("sweep", kind.String()),
		slog.Any("error", err), slog.Duration("retry_in", max(0, time.Until(w.sweep(kind).NextAt))))
	return w.save(ctx)
}

// reschedule decides when and how a sweep continues after a page could not be listed.
func (w *sweeper) reschedule(kind sweepKind, err error, now time.Time) {
	sw := w.sweep(kind)
	sw.Failures++
	isBad := isRefusal(err, chats.OpGetChats)
	isRefused := w.refusals.add(err, true)
	limit := w.failureLimit(kind, now)
	switch {
	case errors.Is(err, chats.ErrRateLimited):
		sw.NextAt = wait.Later(w.quota.refuse(chats.OpGetChats, err), now.Add(wait.Backoff(sw.Failures, wait.Max)))
	case isRefused && (sw.Token == "" || sw.Failures < maxRefusals): // later, the token may be the reason
		w.refused = err
		sw.NextAt = now.Add(wait.Backoff(sw.Failures, maxRefusedGap))
	case isBad && sw.Failures < limit-1: // perhaps by a gateway
		sw.NextAt = now.Add(wait.Backoff(sw.Failures, wait.Max))
	case isBad && kind == incremental && !sw.Plain && sw.Token == "":
		sw.Plain, sw.NextAt = true, now // this one lists all chats; the next one tries again
	case isBad && sw.Token != "" && sw.Restarts == 0:
		w.restart(sw, now)
	case sw.Token != "" && !isBad && sw.Failures > limit && sw.Failures != maxRefusals: // the failures before were waits: count anew
		sw.Failures, sw.NextAt = 1, now.Add(time.Second)
	case sw.Token != "" && (isBad || isRefused || sw.Failures >= limit): // the first pages must not wait for a later one
		w.log.Warn("inbox: a page cannot be listed; sweep cut short",
			slog.String("sweep", kind.String()), slog.Int("pages", sw.Pages))
		w.stuck, w.listing = true, listing{}
		w.finish(kind, sw.Pages+failedCost, now)
	default:
		sw.NextAt = now.Add(wait.Backoff(sw.Failures, wait.Max))
	}
}

// failureLimit returns the number of failures of a page after which a sweep is cut short. The more
// time the alternative would cost (the pages so far, or the full list), the more failures are allowed.
func (w *sweeper) failureLimit(kind sweepKind, now time.Time) int {
	cost := now.Sub(w.sweep(kind).StartedAt)
	if w.sweep(kind).Token == "" && kind == incremental {
		cost = time.Duration(w.state.Full.Cost) * w.gap(kind)
	}
	return minFailures + int(cost/patience)
}

// restart starts a sweep over after its page token was refused. The new sweep lists its pages
// without delays, because tokens seem to be short-lived, and begins once the quota suffices for
// all of them.
func (w *sweeper) restart(sw *SweepState, now time.Time) {
	need := min(max(sw.Cost, sw.Pages+1), int(w.quota.budget(chats.OpGetChats)))
	sw.StartedAt, sw.Token, sw.Pages, sw.NextAt = now, "", 0, now
	sw.Restarts = 1
	if w.quota.left(chats.OpGetChats) < need {
		sw.NextAt = w.quota.end(chats.OpGetChats)
	}
}
