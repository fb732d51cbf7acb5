package inbox

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// unfinished are the statuses of the quick sweep. A status that this library does
// not know is left to the full one.
var unfinished = []chats.Status{
	chats.StatusNew, chats.StatusWaitingForCustomer, chats.StatusWaitingForPartner,
	chats.StatusWaitingForArbiter, chats.StatusWaitingForMarket,
}

const (
	fullShare     = 0.25             // of the budget, for full sweeps where there are quick ones
	documentedMax = 5_000            // getChats an hour, until the server tells
	shortPause    = 10 * time.Minute // between two pages when only the reserve remains
)

// sweeper lists the chats again and again.
type sweeper struct {
	s      *session
	tiered bool // quick sweeps between the full ones
	page   int

	open      map[chats.ChatID]struct{} // unfinished in the last sweep that came to its end
	fullCost  int                       // requests
	quickCost int
	nextFull  time.Time
	forbidden int // in a row
}

func newSweeper(s *session) *sweeper {
	w := &sweeper{s: s, tiered: len(s.config.filter.Statuses) == 0, page: s.config.filter.PageSize}
	if w.page == 0 {
		w.page = chats.MaxChatsPage
	}
	return w
}

// run sweeps until the context ends.
func (w *sweeper) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		// A list that fails again and again takes turns with the shorter one.
		full := w.isFullDue(time.Now()) && (failures%2 == 0 || !w.tiered)
		cost, err := w.sweep(ctx, full)
		if err == nil {
			failures = 0
			sleep(ctx, w.rest())
			continue
		}
		failures++
		sleep(ctx, w.failed(ctx, err, failures, cost))
	}
}

// sweep lists the chats once, and tells the book of each. What was listed before an
// error counts.
func (w *sweeper) sweep(ctx context.Context, full bool) (cost int, err error) {
	filter := w.s.config.filter
	if !full {
		filter.Statuses = unfinished
	}
	open := map[chats.ChatID]struct{}{}
	cost, err = w.list(ctx, filter, func(chat chats.Chat) {
		w.s.book.listed(chat, time.Now())
		if slices.Contains(unfinished, chat.Status) {
			open[chat.ID] = struct{}{}
		}
	})
	switch {
	case err != nil:
		return cost, err
	case full:
		w.fullCost, w.quickCost = cost, w.requests(len(open))
		w.nextFull = time.Now().Add(w.fullEvery())
	default:
		w.quickCost = cost
		w.missed(open)
	}
	w.open = open
	return cost, nil
}

// missed has the chats looked at that a quick sweep does not list any more: they
// were finished, perhaps with a last message, or were missed by a list that shifted
// because something came for them.
func (w *sweeper) missed(open map[chats.ChatID]struct{}) {
	for id := range w.open {
		if _, still := open[id]; !still {
			w.s.book.glance(id, time.Now())
		}
	}
}

// list reads the whole list, at leisure where only the reserve remains.
func (w *sweeper) list(ctx context.Context, filter chats.Filter, each func(chats.Chat)) (cost int, err error) {
	defer w.s.pace.note(chats.OpGetChats)
	n := 0
	for chat, err := range w.s.client.Chats(ctx, filter) {
		if err != nil {
			return w.requests(n + 1), err
		}
		each(chat)
		if n++; n%w.page == 0 {
			w.breathe(ctx)
		}
	}
	w.forbidden = 0
	return w.requests(n), nil
}

// breathe pauses between two pages when only the reserve remains.
func (w *sweeper) breathe(ctx context.Context) {
	w.s.pace.note(chats.OpGetChats)
	if w.s.pace.isShort(chats.OpGetChats) {
		sleep(ctx, min(w.s.pace.spread(chats.OpGetChats, 1), shortPause))
	}
}

// requests is what a list of so many chats costs.
func (w *sweeper) requests(n int) int { return max(1, (n+w.page-1)/w.page) }

// isFullDue: full sweeps come as often as their share of the budget allows for. One
// that does not fit into what remains of this hour waits for the next, unless none
// would ever fit.
func (w *sweeper) isFullDue(at time.Time) bool {
	if !w.tiered {
		return true
	}
	spare, _, told := w.s.pace.spare(chats.OpGetChats)
	fits := !told || float64(w.fullCost) <= max(0, spare) || float64(w.fullCost) > w.budget()
	return fits && !at.Before(w.nextFull)
}

func (w *sweeper) fullEvery() time.Duration {
	return time.Duration(float64(window) * float64(w.fullCost) / (fullShare * w.budget()))
}

func (w *sweeper) budget() float64 { return w.s.pace.budget(chats.OpGetChats, documentedMax) }

// rest is the pause after a sweep.
func (w *sweeper) rest() time.Duration {
	interval := w.s.config.interval
	next := w.quickCost
	if w.isFullDue(time.Now().Add(interval)) {
		next = w.fullCost
	}
	return max(interval, w.s.pace.spread(chats.OpGetChats, next))
}

// failed is the pause after a sweep that failed. What it has cost counts: a long
// list that fails again and again must not use up the hour.
func (w *sweeper) failed(ctx context.Context, err error, failures, cost int) time.Duration {
	if ctx.Err() != nil || w.s.refused(err) || w.isForbidden(err) {
		return 0
	}
	var refused *chats.Error
	if errors.As(err, &refused) && refused.StatusCode == http.StatusBadRequest && w.tiered && w.fullCost > 0 {
		w.tiered = false // the statuses do not go together with the caller's filter
	}
	pause := max(backoff(failures, longestPause), w.s.pace.spread(chats.OpGetChats, cost))
	if errors.Is(err, chats.ErrRateLimited) {
		pause = w.s.pace.blocked(err)
	}
	w.s.log.LogAttrs(ctx, slog.LevelWarn, "inbox: the chats cannot be listed",
		slog.Any("error", err), slog.Duration("pause", pause))
	return pause
}
