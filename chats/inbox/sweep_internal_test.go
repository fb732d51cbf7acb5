package inbox

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// stuckAt returns the page at which a listing counts as endless, or -1. last returns the last chat of
// a page, or 0 if the page is empty.
func stuckAt(pages int, last func(page int) chats.ChatID) int {
	sw := SweepState{Head: last(0)} // of the sweep before
	for n := range pages {
		page := chats.Page[chats.Chat]{Next: "more"}
		if id := last(n); id != 0 {
			page.Items = []chats.Chat{{ID: 1_000_000}, {ID: id}} // the first one is pinned
		}
		if sw.track(page) {
			return n
		}
		sw.Pages++
	}
	return -1
}

// everyNth returns the last chats of a listing of which only every nth page has any.
func everyNth(n int) func(int) chats.ChatID {
	return func(page int) chats.ChatID {
		if (page+1)%n != 0 {
			return 0
		}
		return chats.ChatID(page + 1)
	}
}

func TestSweepState_ListingsWithoutAnEnd(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		last func(int) chats.ChatID
		want int
	}{
		"long":                       {func(n int) chats.ChatID { return chats.ChatID(n + 1) }, -1},
		"one page":                   {func(int) chats.ChatID { return 7 }, 3},
		"a cycle of five":            {func(n int) chats.ChatID { return chats.ChatID(n%5 + 1) }, 31}, // 16, then three times the same
		"empty":                      {func(int) chats.ChatID { return 0 }, maxEmptyPages - 1},
		"empty, but for every 250th": {everyNth(maxEmptyPages), -1},
		"empty, but for every 251st": {everyNth(maxEmptyPages + 1), maxEmptyPages - 1},
	} {
		assert.Equal(t, tt.want, stuckAt(2_000, tt.last), name)
	}
	end := SweepState{Empty: maxEmptyPages}
	assert.False(t, end.track(chats.Page[chats.Chat]{}), "the last page")
}

func newTestSweeper(state BusinessState) *sweeper {
	client := chatstest.NewMarket().Client()
	store := &fakeStore{}
	in := &Inbox{client: client, config: defaultConfig(), log: slog.New(slog.DiscardHandler), store: &boundedStore{Store: store}}
	s := &session{
		Inbox: in, state: &state, stored: state, storedAt: time.Now(), saver: newTestSaver(store), flights: newFlights(),
		quota: newQuota(client, 0.5, nil), refusals: &refusals{},
		handlers: newBreaker("handler", BreakerState{}, in.log), reads: newBreaker("reading", BreakerState{}, in.log),
	}
	s.start.Store(&state.StartTime)
	return newSweeper(s, func(time.Time) {})
}

// fake returns the store of a test's sweeper.
func (w *sweeper) fake() *fakeStore { return w.store.Store.(*fakeStore) } //nolint:forcetypeassert // newTestSweeper's

// The newest chats are listed separately while a sweep takes longer than the poll interval.
func TestSweeper_TheNewestChatsAreListedIfSweepsAreSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for name, tt := range map[string]struct {
			main SweepState
			want bool
		}{
			"begun a minute ago":           {SweepState{StartedAt: now.Add(-time.Minute)}, false},
			"begun before":                 {SweepState{StartedAt: now.Add(-time.Minute - 1)}, true},
			"due a minute later":           {SweepState{FinishedAt: now, NextAt: now.Add(time.Minute)}, false},
			"due more than a minute later": {SweepState{FinishedAt: now, NextAt: now.Add(time.Minute + 1)}, true},
		} {
			assert.Equal(t, tt.want, newTestSweeper(BusinessState{Incremental: tt.main}).isNeeded(newest, now), name)
		}
	})
}

// Full sweeps of half the quota take a fifth of it: 500 pages an hour, one each 7.2 s.
func TestSweeper_FullSweepsOfASmallShopCoverTheIncrementalOnes(t *testing.T) {
	t.Parallel()
	for cost, want := range map[int]bool{0: true, 10: true, 11: false} {
		w := newTestSweeper(BusinessState{Full: SweepState{Cost: cost}})
		w.config.interval = 72 * time.Second
		assert.Equal(t, want, w.isCovered(), cost)
		assert.Equal(t, !want, w.isNeeded(incremental, time.Now()), cost)
	}
	w := newTestSweeper(BusinessState{Full: SweepState{CutShort: true}})
	assert.False(t, w.isCovered())
}

// Another process may have listed a page of this sweep, or the first page of the next one.
func TestSweeper_AListingHasAllPagesOfOneSweep(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		before SweepState
		want   []chats.ChatID
	}{
		"all pages":          {SweepState{StartedAt: began, Pages: 1}, []chats.ChatID{1, 2}},
		"one was listed":     {SweepState{StartedAt: began, Pages: 2}, nil},
		"the next has begun": {SweepState{StartedAt: began.Add(time.Minute), Pages: 1}, nil},
	} {
		w := newTestSweeper(BusinessState{Incremental: tt.before})
		w.listing = listing{sweep: began, pages: 1, ids: []chats.ChatID{1}}
		w.advance(incremental, chats.Page[chats.Chat]{Items: []chats.Chat{{ID: 2}}}, false, began.Add(2*time.Minute))
		assert.Equal(t, tt.want, w.listing.ids, name)
		assert.Len(t, tt.want, w.listing.pages, name)
	}
}

// A sweep begins with a burst of a fiftieth of the quota: 50 of 2,500 pages. After that, its share
// of the quota determines the gap between its pages.
func TestSweeper_PagesAreSpacedAfterABurst(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	now := began.Add(time.Minute)
	more := chats.Page[chats.Chat]{Next: "more"}
	for _, tt := range []struct {
		kind   sweepKind
		sweep  SweepState
		page   chats.Page[chats.Chat]
		allNew bool
		want   time.Time // when the next page is due; zero if the sweep has ended
	}{
		{kind: full, sweep: SweepState{Pages: 48}, page: more, want: began},
		{kind: full, sweep: SweepState{Pages: 49}, page: more, want: began},
		{kind: full, sweep: SweepState{Pages: 51}, page: more, want: began.Add(2 * 7200 * time.Millisecond)},
		{kind: full, sweep: SweepState{Pages: 51, Restarts: 1}, page: more, want: now},
		{kind: full, sweep: SweepState{Pages: 51}, page: chats.Page[chats.Chat]{}},
		{kind: newest, sweep: SweepState{Pages: maxNewest - 2}, page: more, allNew: true, want: now},
		{kind: newest, sweep: SweepState{Pages: maxNewest - 1}, page: more, allNew: true},
		{kind: newest, page: more},
	} {
		tt.sweep.StartedAt, tt.sweep.Failures = began, 2
		w := newTestSweeper(BusinessState{Full: tt.sweep, Newest: tt.sweep})
		w.advance(tt.kind, tt.page, tt.allNew, now)
		sw := w.sweep(tt.kind)
		name := fmt.Sprint(tt.kind, tt.sweep.Pages, tt.want)
		assert.Zero(t, sw.Failures, name)
		if tt.want.IsZero() {
			assert.Zero(t, sw.StartedAt, name)
			assert.Equal(t, tt.sweep.Pages+1, sw.Cost, name)
			continue
		}
		assert.Equal(t, tt.want, sw.NextAt, name)
		assert.Equal(t, tt.sweep.Pages+1, sw.Pages, name)
	}
}

// A sweep of two hours ago continues as if it were ten minutes late. What it has listed still counts.
func TestSweeper_ALateSweepIsLateByTenMinutesAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		began := now.Add(-2 * time.Hour)
		for name, tt := range map[string]struct {
			kind   sweepKind
			before SweepState
			want   time.Time
		}{
			"in the burst":             {full, SweepState{Token: "t", Pages: 50}, now.Add(-maxLate)},
			"ten pages after it":       {full, SweepState{Token: "t", Pages: 60}, now.Add(-maxLate - 72*time.Second)},
			"incremental":              {incremental, SweepState{Token: "t", Pages: 1}, now.Add(-maxLate)},
			"on time":                  {full, SweepState{Token: "t", Pages: 50 + 1000}, began},
			"ten minutes late":         {full, SweepState{Token: "t", Pages: 50 + 917}, began},
			"eleven minutes late":      {full, SweepState{Token: "t", Pages: 50 + 908}, began.Add(62400 * time.Millisecond)},
			"before its first page":    {full, SweepState{}, began},
			"begun ten minutes before": {full, SweepState{Token: "t", Pages: 1, StartedAt: now.Add(-maxLate)}, now.Add(-maxLate)},
		} {
			if tt.before.StartedAt.IsZero() {
				tt.before.StartedAt = began
			}
			w := newTestSweeper(BusinessState{Full: tt.before, Incremental: tt.before})
			w.listing = listing{sweep: tt.before.StartedAt, pages: 1}
			w.limitDelay(tt.kind)
			assert.Equal(t, tt.want, w.sweep(tt.kind).StartedAt, name)
			assert.True(t, w.listing.sweep.Equal(w.state.Incremental.StartedAt), name)
		}
	})
}

// Their shares of the quota allow full sweeps a page every 7.2 s, and sweeps of the newest chats
// one every 72 s.
func TestSweeper_WhenTheNextSweepBegins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		now := began.Add(30 * time.Second)
		for name, tt := range map[string]struct {
			kind sweepKind
			cost int
			want time.Time
		}{
			"a small shop":               {full, 8, began.Add(time.Minute)},
			"a large shop":               {full, 100, began.Add(12 * time.Minute)},
			"the newest, after the last": {newest, 10, now.Add(72 * time.Second)},
		} {
			w := newTestSweeper(BusinessState{Full: SweepState{StartedAt: began}, Newest: SweepState{StartedAt: began}})
			w.once = true
			w.finish(tt.kind, tt.cost, now)
			assert.Equal(t, tt.want, w.sweep(tt.kind).NextAt, name)
			assert.Equal(t, now, w.sweep(tt.kind).FinishedAt, name)
			assert.Equal(t, tt.cost == 8, w.state.Incremental.FinishedAt.Equal(now), "the full sweep of a small shop covers the incremental one")

			w = newTestSweeper(BusinessState{Full: SweepState{StartedAt: began}, Newest: SweepState{StartedAt: began}})
			w.finish(tt.kind, tt.cost, now)
			half := tt.want.Sub(now) / 2
			assert.Equal(t, now.Add(half+w.spread(half)), w.sweep(tt.kind).NextAt, "the first of a run, %s", name)
			w.sweep(tt.kind).StartedAt = began
			w.finish(tt.kind, tt.cost, now)
			assert.Equal(t, tt.want, w.sweep(tt.kind).NextAt, "the second, %s", name)
		}
	})
}

// An incremental sweep whose statuses were refused lists all chats, so it counts as a full one,
// unless a full sweep is running.
func TestSweeper_APlainSweepCountsAsAFullOne(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	now := began.Add(time.Hour)
	for _, running := range []time.Time{{}, began} {
		w := newTestSweeper(BusinessState{
			Incremental: SweepState{StartedAt: began, Plain: true},
			Full:        SweepState{StartedAt: running, NextAt: began},
		})
		w.once = true
		w.finish(incremental, 10, now)
		sw := w.state.Full
		assert.Equal(t, running.IsZero(), sw.FinishedAt.Equal(now))
		if running.IsZero() {
			assert.Equal(t, 10, sw.Cost)
			assert.Equal(t, now.Add(72*time.Second), sw.NextAt)
		}
	}
}

func TestSweeper_WhatFollowsAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		list := func(status int, kinds ...error) error {
			err := error(&chats.Error{Operation: chats.OpGetChats, StatusCode: status})
			for _, kind := range kinds {
				err = fmt.Errorf("%w: %w", kind, err)
			}
			return err
		}
		bad, down, forbidden := list(400), list(503), list(403, chats.ErrForbidden)
		const s = time.Second
		for name, tt := range map[string]struct {
			kind   sweepKind
			before SweepState
			err    error
			next   time.Duration // until the next page
			after  SweepState    // Token, Pages, Failures, Restarts, Plain; without them, the sweep has ended
			isEnd  bool
		}{
			"first page":                   {full, SweepState{}, down, s, SweepState{Failures: 1}, false},
			"first page, often":            {full, SweepState{Failures: 9}, down, time.Minute, SweepState{Failures: 10}, false},
			"later page":                   {full, SweepState{Token: "t", Pages: 5, Failures: 1}, down, 2 * s, SweepState{Token: "t", Pages: 5, Failures: 2}, false},
			"later page, third time":       {full, SweepState{Token: "t", Pages: 5, Failures: 2}, down, 0, SweepState{}, true},
			"later page of a long sweep":   {full, SweepState{Token: "t", Pages: 5, Failures: 13, StartedAt: now.Add(-time.Hour)}, down, time.Minute, SweepState{Token: "t", Pages: 5, Failures: 14}, false},
			"and once more":                {full, SweepState{Token: "t", Pages: 5, Failures: 14, StartedAt: now.Add(-time.Hour)}, down, 0, SweepState{}, true},
			"after waits":                  {full, SweepState{Token: "t", Pages: 5, Failures: 3}, down, s, SweepState{Token: "t", Pages: 5, Failures: 1}, false},
			"after refusals":               {full, SweepState{Token: "t", Pages: 5, Failures: maxRefusals - 1}, down, 0, SweepState{}, true},
			"token refused once":           {full, SweepState{Token: "t", Pages: 5}, bad, s, SweepState{Token: "t", Pages: 5, Failures: 1}, false},
			"token refused":                {full, SweepState{Token: "t", Pages: 5, Failures: 1}, bad, 0, SweepState{Failures: 2, Restarts: 1}, false},
			"token refused again":          {full, SweepState{Token: "t", Pages: 5, Restarts: 1, Failures: 1}, bad, 0, SweepState{}, true},
			"statuses refused once":        {incremental, SweepState{}, bad, s, SweepState{Failures: 1}, false},
			"statuses refused":             {incremental, SweepState{Failures: 1}, bad, 0, SweepState{Failures: 2, Plain: true}, false},
			"statuses of many refused":     {incremental, SweepState{Failures: 1, Cost: 1000}, bad, 2 * s, SweepState{Failures: 2}, false},
			"token of a long sweep":        {full, SweepState{Token: "t", Pages: 5, Failures: 12, StartedAt: now.Add(-time.Hour)}, bad, time.Minute, SweepState{Token: "t", Pages: 5, Failures: 13}, false},
			"and refused once more":        {full, SweepState{Token: "t", Pages: 5, Failures: 13, StartedAt: now.Add(-time.Hour)}, bad, 0, SweepState{Failures: 14, Restarts: 1}, false},
			"plain list refused":           {incremental, SweepState{Plain: true, Failures: 1}, bad, 2 * s, SweepState{Failures: 2, Plain: true}, false},
			"first page of all refused":    {full, SweepState{}, bad, s, SweepState{Failures: 1}, false},
			"token of statuses refused":    {incremental, SweepState{Token: "t", Pages: 5, Failures: 1}, bad, 0, SweepState{Failures: 2, Restarts: 1}, false},
			"token of many statuses":       {incremental, SweepState{Token: "t", Pages: 5, Failures: 1, Cost: 1000}, bad, 0, SweepState{Failures: 2, Restarts: 1}, false},
			"refused after waits":          {full, SweepState{Token: "t", Pages: 5, Failures: maxRefusals}, forbidden, s, SweepState{Token: "t", Pages: 5, Failures: 1}, false},
			"credential refused":           {full, SweepState{Failures: 8}, forbidden, maxRefusedGap, SweepState{Failures: 9}, false},
			"refused with a token":         {full, SweepState{Token: "t", Pages: 5, Failures: maxRefusals - 2}, forbidden, maxRefusedGap, SweepState{Token: "t", Pages: 5, Failures: maxRefusals - 1}, false},
			"long sweep refused too often": {full, SweepState{Token: "t", Pages: 5, Failures: maxRefusals - 1, StartedAt: now.Add(-3 * time.Hour)}, forbidden, 0, SweepState{}, true},
			"refused too often":            {full, SweepState{Token: "t", Pages: 5, Failures: maxRefusals - 1}, forbidden, 0, SweepState{}, true},
			"first page, refused for ever": {full, SweepState{Failures: maxRefusals}, forbidden, maxRefusedGap, SweepState{Failures: maxRefusals + 1}, false},
			"rate limited":                 {full, SweepState{}, list(420, chats.ErrRateLimited), time.Minute, SweepState{Failures: 1}, false},
		} {
			if tt.before.StartedAt.IsZero() {
				tt.before.StartedAt = now.Add(-time.Second)
			}
			w := newTestSweeper(BusinessState{Full: tt.before, Incremental: tt.before})
			w.once = true
			w.reschedule(tt.kind, tt.err, now)
			got := *w.sweep(tt.kind)
			assert.Equal(t, tt.isEnd, got.StartedAt.IsZero(), name)
			if tt.isEnd {
				assert.True(t, got.CutShort, name)
				assert.Equal(t, 5+failedCost, got.Cost, name)
				continue
			}
			assert.Equal(t, now.Add(tt.next), got.NextAt, name)
			got = SweepState{Token: got.Token, Pages: got.Pages, Failures: got.Failures, Restarts: got.Restarts, Plain: got.Plain}
			assert.Equal(t, tt.after, got, name)
		}
	})
}

// The newest chats are listed for as long as all of a page's chats have changed.
func TestSweeper_TheNewestChatsAreListedUpToAnUnchangedOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		chat := func(id chats.ChatID) chats.Chat {
			return chats.Chat{ID: id, Status: chats.StatusWaitingForPartner, UpdatedAt: time.Now()}
		}
		for name, tt := range map[string]struct {
			listed []chats.Chat
			goesOn bool
		}{
			"all are new": {[]chats.Chat{chat(1), chat(2)}, true},
			"one is not":  {[]chats.Chat{chat(1), chat(7)}, false},
			"none at all": {nil, false},
		} {
			w := newTestSweeper(BusinessState{Version: 1, StartTime: time.Now(), Newest: SweepState{StartedAt: time.Now()}})
			known := ChatState{Chat: 7, Read: true}
			known.observe(chat(7), w.startTime(), true, time.Now())
			w.fake().rows = []ChatState{known}
			require.NoError(t, w.record(t.Context(), newest, chats.Page[chats.Chat]{Items: tt.listed, Next: "more"}))
			assert.Equal(t, tt.goesOn, w.state.Newest.Pages == 1, name)
			assert.Equal(t, len(tt.listed) == 0, w.fake().loads == 0, "no rows, no statement")
		}
	})
}

// Pages that change nothing are saved together.
func TestSweeper_SavesProgressEveryFewSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTestSweeper(BusinessState{Version: 1, StartTime: time.Now(), Full: SweepState{StartedAt: time.Now()}})
		for _, at := range []time.Duration{0, maxUnsaved, maxUnsaved + 1} {
			time.Sleep(at - time.Since(w.state.Full.StartedAt))
			require.NoError(t, w.record(t.Context(), full, chats.Page[chats.Chat]{Next: "more"}))
			assert.Equal(t, at > maxUnsaved, w.fake().saves == 1, at)
		}
	})
}

// Chats that are no longer listed are polled, but not all of them if the list seems to be cut off.
func TestSweeper_ChatsThatAreNoLongerListed(t *testing.T) {
	t.Parallel()
	for listed, want := range map[int]int{0: 100, 400: 100, 600: 150, 4_000: 250} {
		w := newTestSweeper(BusinessState{Version: 1})
		for id := range listed {
			w.listing.ids = append(w.listing.ids, chats.ChatID(1+id))
		}
		for id := range 250 {
			w.fake().rows = append(w.fake().rows, ChatState{Chat: chats.ChatID(10_000 + id), Open: true})
		}
		w.fake().rows = append(w.fake().rows, ChatState{Chat: 1, Open: listed > 0})
		require.NoError(t, w.missed(t.Context()))
		closed := 0
		for _, row := range w.fake().saved {
			if !row.Open && !row.DueAt.IsZero() {
				closed++
			}
		}
		assert.Equal(t, want, closed, listed)
	}
}

// A sweep whose token was refused starts over at once only if the quota suffices for as many
// requests as the last sweep made, or for one more than this one has made.
func TestSweeper_StartsOverIfTheQuotaSuffices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for name, tt := range map[string]struct {
			sweep  SweepState
			left   int
			isSoon bool
		}{
			"as far as before":    {SweepState{Pages: 5}, 6, true},
			"not as far":          {SweepState{Pages: 5}, 5, false},
			"as the last one":     {SweepState{Pages: 5, Cost: 9}, 9, true},
			"not as the last one": {SweepState{Pages: 5, Cost: 9}, 8, false},
			"more than a quota":   {SweepState{Pages: 9_000}, 2_500, true},
		} {
			w := newTestSweeper(BusinessState{Full: tt.sweep})
			w.quota.count(chats.OpGetChats, 2_500-tt.left)
			w.restart(&w.state.Full, now)
			want := now
			if !tt.isSoon {
				want = w.quota.end(chats.OpGetChats)
			}
			assert.Equal(t, want, w.state.Full.NextAt, name)
			assert.Zero(t, w.state.Full.Pages, name)
		}
	})
}

// Inboxes that have waited for the same moment stay out of step: the next sweep is due as if this
// one had begun on time.
func TestSweeper_ALateSweepKeepsItsPhase(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		due := time.Now()
		w := newTestSweeper(BusinessState{Version: 1, StartTime: due, Full: SweepState{NextAt: due}})
		w.client, w.ended[full] = connect(t, func(*http.Response) {}), true
		time.Sleep(3*time.Minute + 20*time.Second)
		require.NoError(t, w.page(t.Context(), full))
		assert.Equal(t, due.Add(4*time.Minute), w.state.Full.NextAt)
	})
}

func TestSweeper_LogsAnEndlessList(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	w := newTestSweeper(BusinessState{Full: SweepState{StartedAt: time.Now(), Pages: 9, Empty: maxEmptyPages}})
	w.log = slog.New(slog.NewTextHandler(&log, nil))
	w.advance(full, chats.Page[chats.Chat]{Next: "more"}, false, time.Now())
	assert.Contains(t, log.String(), "sweep=full pages=10\n")
	assert.True(t, w.state.Full.CutShort)
}
