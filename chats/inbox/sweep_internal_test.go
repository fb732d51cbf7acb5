package inbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

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
	in := &Inbox{client: client, config: defaultConfig()}
	return newSweeper(&session{Inbox: in, state: &state, quota: newQuota(client, 0.5, nil)}, nil)
}

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
