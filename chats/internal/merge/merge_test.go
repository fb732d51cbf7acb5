package merge

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type item struct {
	id int64
	at time.Time
}

func newItems(since int64) *Merge[item] {
	return New(func(i item) int64 { return i.id }, func(i item) time.Time { return i.at }, since, false)
}

func someItems(ids ...int64) []item {
	list := make([]item, len(ids))
	for i, id := range ids {
		list[i] = item{id, time.Unix(id, 0)}
	}
	return list
}

// ascendingOnce is the model: each ID above since, once, in order.
func ascendingOnce(pages [][]int64, since int64) []int64 {
	all := []int64{}
	for _, page := range pages {
		for _, id := range page {
			if id > since {
				all = append(all, id)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// mergeAll hands pages to a Merge.
func mergeAll(m *Merge[item], pages [][]int64) (got []int64, err error) {
	got = []int64{}
	m.asOf = time.Unix(1000, 0) // after all messages
	m.pageSize = 0              // the longest page decides
	for i, page := range pages {
		ready, _, err := m.Add(someItems(page...), i == len(pages)-1)
		for _, emitted := range ready {
			got = append(got, emitted.id)
		}
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

func TestMerge_ByHand(t *testing.T) {
	t.Parallel()
	type ids = []int64
	tests := []struct {
		name  string
		since int64
		pages []ids
		want  ids
		err   string
	}{
		{"no page has a message", 0, []ids{{}, {}}, ids{}, ""},
		{"one page, in any order", 0, []ids{{3, 1, 2}}, ids{1, 2, 3}, ""},
		{"oldest first", 0, []ids{{1, 2}, {3, 4}, {5}}, ids{1, 2, 3, 4, 5}, ""},
		{"newest first", 0, []ids{{5, 4}, {3, 2}, {1}}, ids{1, 2, 3, 4, 5}, ""},
		{"newest page first", 0, []ids{{4, 5}, {2, 3}, {1}}, ids{1, 2, 3, 4, 5}, ""},
		{"since inclusive", 2, []ids{{2, 3}, {4}}, ids{3, 4}, ""},
		{"older ones than asked for", 3, []ids{{1, 2}, {3, 4}, {5}}, ids{4, 5}, ""},
		{"the last of a page again", 0, []ids{{1, 2}, {2, 3}, {3, 4}}, ids{1, 2, 3, 4}, ""},
		{"the whole page again", 0, []ids{{1, 2}, {1, 2}, {3}}, ids{1, 2, 3}, ""},
		{"the whole page again, newest first", 0, []ids{{4, 3}, {4, 3}, {2, 1}}, ids{1, 2, 3, 4}, ""},
		{"twice on one page", 0, []ids{{1, 1, 2}, {3, 3}}, ids{1, 2, 3}, ""},
		{"empty pages in between", 0, []ids{{}, {1}, {}, {2}, {}, {3}, {}}, ids{1, 2, 3}, ""},
		{"newest first, one message a page", 0, []ids{{3}, {2}, {1}}, ids{1, 2, 3}, ""},
		{"a page that overlaps the first is no order", 0, []ids{{2, 4}, {3, 5}, {1}}, ids{1, 2, 3, 4, 5}, ""},
		{"neighbours swapped across a boundary", 0, []ids{{1, 2, 3, 5}, {4, 6, 7, 8}, {9}}, ids{1, 2, 3, 4, 5, 6, 7, 8, 9}, ""},
		{"a later page out of order", 0, []ids{{1, 2}, {3, 4}, {6, 5}, {7}}, ids{1, 2, 3, 4, 5, 6, 7}, ""},
		{"almost a page too late, after empty ones", 0, []ids{{2, 3}, {4, 6}, {}, {5}}, ids{2, 3, 4, 5, 6}, ""},
		{"almost a page too late, after a short one", 0, []ids{{1, 2, 3}, {4, 5, 7}, {8}, {6}}, ids{1, 2, 3, 4, 5, 6, 7, 8}, ""},
		{"too late", 0, []ids{{1, 2}, {4, 5}, {6, 7}, {3}}, ids{1, 2, 4, 5}, "message 3 came after message 5"},
		{"too late on the last page, after empty ones", 0, []ids{{2}, {4}, {6}, {}, {1}}, ids{2, 4}, "message 1 came after message 4"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := mergeAll(newItems(tt.since), tt.pages)
			assert.Equal(t, tt.want, got)
			if tt.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorAs(t, err, new(*OrderError))
			assert.Contains(t, err.Error(), tt.err)
		})
	}
}

// conversation cuts ascending IDs into pages, in one of the orders, with empty pages
// and with IDs that come again.
func conversation(r *rand.Rand) (pages [][]int64) {
	var ids []int64
	for id := int64(r.IntN(5)); len(ids) < r.IntN(60); {
		id += int64(1 + r.IntN(3))
		ids = append(ids, id)
	}
	order := r.IntN(3)
	if order != 0 {
		slices.Reverse(ids)
	}
	for len(ids) > 0 {
		n := min(1+r.IntN(10), len(ids))
		page := slices.Clone(ids[:n])
		ids = ids[n:]
		if len(pages) > 0 && r.IntN(3) == 0 {
			before := pages[r.IntN(len(pages))]
			page = append(slices.Clone(before[len(before)/2:]), page...)
		}
		if order == 2 {
			slices.Sort(page)
		}
		if r.IntN(5) == 0 {
			r.Shuffle(len(page), func(i, j int) { page[i], page[j] = page[j], page[i] })
		}
		pages = append(pages, page)
		if r.IntN(5) == 0 {
			pages = append(pages, nil)
		}
	}
	return append(pages, nil)[:max(1, len(pages))]
}

func TestMerge_AgainstTheModel(t *testing.T) {
	t.Parallel()
	for range 5000 {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		pages, since := conversation(r), int64(r.IntN(40))
		got, err := mergeAll(newItems(since), pages)
		require.NoError(t, err, "seed %d: %v", seed, pages)
		require.Equal(t, ascendingOnce(pages, since), got, "seed %d: since %d of %v", seed, since, pages)
	}
}

// Only a message that is certainly older than the first request was there before it: clocks
// differ, and times are rounded down.
func TestMerge_OnlyOlderMessagesProveTheOrder(t *testing.T) {
	t.Parallel()
	asOf := time.Date(2026, 3, 2, 12, 0, 10, 500, time.UTC)
	before := asOf.Add(-clockTolerance)
	for _, tt := range []struct {
		created time.Time
		want    order
	}{
		{before.Add(-1), oldestFirst},
		{before, orderUnknown},
		{asOf, orderUnknown},
		{before.Truncate(time.Second), oldestFirst},
		{before.Truncate(time.Minute), orderUnknown},
		{before.Truncate(time.Minute).Add(-time.Second), oldestFirst},
		{asOf.Truncate(24 * time.Hour), orderUnknown},
		{before.Add(-24 * time.Hour).Truncate(time.Minute), oldestFirst},
		{asOf.Add(-48 * time.Hour).Truncate(24 * time.Hour), oldestFirst},
		{time.Time{}, orderUnknown},
	} {
		m := newItems(0)
		m.asOf = asOf
		for _, page := range [][]item{{{1, asOf.Add(-time.Hour)}}, {{2, tt.created}}} {
			_, _, err := m.Add(page, false)
			require.NoError(t, err)
		}
		assert.Equal(t, tt.want, m.order, "%s", tt.created)
	}
}

func TestMerge_OldestFirstHoldsNoMoreThanAPage(t *testing.T) {
	t.Parallel()
	const size = 100
	m := newItems(0)
	m.asOf = time.Now()
	for page := range 200 {
		ids := make([]int64, size)
		for i := range ids {
			ids[i] = int64(page*size + i + 1)
		}
		ready, _, err := m.Add(someItems(ids...), false)
		require.NoError(t, err)
		require.Len(t, m.buffered, size)
		require.LessOrEqual(t, cap(m.buffered), 2*size, "nothing is kept by its array either")
		require.Len(t, ready, min(page, 1)*size)
		require.LessOrEqual(t, len(m.recentIDs), 2*rememberedIDs)
		require.LessOrEqual(t, cap(m.recentIDs), 4*rememberedIDs)
	}
	// A recent id is recognised as a duplicate; an old one cannot be distinguished from a
	// new one.
	ready, _, err := m.Add(someItems(20_000-size-rememberedIDs+1), false)
	require.NoError(t, err)
	assert.Empty(t, ready)
}

func TestMerge_WhichPagesReachFurther(t *testing.T) {
	t.Parallel()
	m := newItems(0)
	for _, page := range []struct {
		ids  []int64
		want bool
	}{
		{nil, false},
		{[]int64{50, 60}, true},
		{[]int64{50, 60}, false},
		{[]int64{40, 45}, true},
		{[]int64{39}, true},
		{[]int64{55, 40, 39}, true},
		{[]int64{55, 40, 39}, false},
		{[]int64{61}, true},
	} {
		_, further, err := m.Add(someItems(page.ids...), false)
		require.NoError(t, err)
		assert.Equal(t, page.want, further, "%v", page.ids)
	}
}

// In an order that is neither ascending nor descending a page may have nothing but new items
// in between.
func TestMerge_PagesInAnyOrderReachFurther(t *testing.T) {
	t.Parallel()
	for _, since := range []int64{0, 900} {
		m := newItems(since)
		ids := rand.New(rand.NewPCG(1, 1)).Perm(1000)
		for page := range slices.Chunk(ids, 10) {
			list := make([]int64, len(page))
			for i, id := range page {
				list[i] = int64(id + 1)
			}
			for n, want := range []bool{true, false, false} { // a proxy sends it again
				_, further, err := m.Add(someItems(list[n:]...), false)
				require.NoError(t, err)
				if want || since == 0 { // the first old ones that come again may be taken for new
					require.Equal(t, want, further, "since %d: %v", since, list)
				}
			}
		}
	}
}

// FuzzMerge makes pages of bytes: 0 ends a page, anything else is an ID. Whatever the
// pages, nothing comes twice, out of order or from nowhere; and nothing is missing,
// unless an error says so.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{1, 2, 0, 3, 4}, byte(0))
	f.Add([]byte{4, 3, 0, 2, 1}, byte(2))
	f.Add([]byte{3, 4, 0, 0, 1, 2}, byte(0))
	f.Add([]byte{1, 2, 0, 4, 5, 0, 3}, byte(0))
	f.Add([]byte{1, 2, 0, 2, 3, 0, 1, 4}, byte(1))
	f.Fuzz(func(t *testing.T, data []byte, above byte) {
		pages, since := [][]int64{nil}, int64(above)
		for _, b := range data {
			if b == 0 {
				pages = append(pages, nil)
				continue
			}
			pages[len(pages)-1] = append(pages[len(pages)-1], int64(b))
		}
		got, err := mergeAll(newItems(since), pages)
		want := ascendingOnce(pages, since)
		if err == nil {
			assert.Equal(t, want, got)
			return
		}
		if !errors.As(err, new(*OrderError)) {
			t.Errorf("%v", err)
		}
		assert.True(t, slices.IsSorted(got) && len(slices.Compact(slices.Clone(got))) == len(got), "%v", got)
		for _, id := range got {
			assert.Contains(t, want, id)
		}
		assert.Less(t, len(got), len(want), "an error where nothing is missing")
	})
}

func TestMerge_BuffersUntilTheEndIfAsked(t *testing.T) {
	t.Parallel()
	m := New(func(i item) int64 { return i.id }, func(i item) time.Time { return i.at }, 0, true)
	pages := [][]int64{{1, 2}, {4, 5}, {6, 7}, {3}}
	got, err := mergeAll(m, pages)
	require.NoError(t, err)
	assert.Equal(t, ascendingOnce(pages, 0), got)
}

// An item may come up to a page of items after its place, wherever the pages end. Further
// on it is an error if the pages before its own have more than a page of later items.
func TestMerge_AnItemMayBeAPageLate(t *testing.T) {
	t.Parallel()
	const size, length = 4, 9 * 4
	for place := 2 * size; place < length; place++ { // the first two pages prove the order
		for late := 1; place+late < length; late++ {
			ids := make([]int64, length)
			for i := range ids {
				ids[i] = int64(i + 1)
			}
			moved := ids[place]
			copy(ids[place:], ids[place+1:place+late+1])
			ids[place+late] = moved
			_, err := mergeAll(newItems(0), slices.Collect(slices.Chunk(ids, size)))
			before := late - (place+late)%size // later items on the pages before its own
			assert.Equal(t, before > size, err != nil, "%d comes %d after its place: %v", moved, late, err)
			assert.False(t, err != nil && late <= size)
		}
	}
}

func TestMerge_OrderErrorNamesWhereToResume(t *testing.T) {
	t.Parallel()
	_, err := mergeAll(newItems(0), [][]int64{{1, 2}, {4, 5}, {6, 7}, {3}})
	assert.Equal(t, &OrderError{Late: 3, Emitted: 5, Resume: 0}, err)
	_, err = mergeAll(newItems(1), [][]int64{{3, 4}, {5, 6}, {7, 8}, {2}})
	assert.Equal(t, &OrderError{Late: 2, Emitted: 6, Resume: 1}, err)

	m := newItems(1) // what an earlier listing has emitted is no more certain
	for _, pages := range [][][]int64{{{2, 3}, {4, 5}}, {{4, 5}, {7, 8}, {9, 10}, {6}}} {
		m.Begin(time.Unix(1000, 0), 2)
		for _, page := range pages {
			_, _, err = m.Add(someItems(page...), false)
		}
		m.Restart()
	}
	assert.Equal(t, &OrderError{Late: 6, Emitted: 8, Resume: 1}, err)
}

func TestMerge_RestartGoesOnAfterWhatWasEmitted(t *testing.T) {
	t.Parallel()
	m := newItems(1)
	add := func(ids ...int64) []item {
		ready, _, err := m.Add(someItems(ids...), false)
		require.NoError(t, err)
		return ready
	}
	m.Begin(time.Unix(1000, 0), 2)
	assert.Empty(t, add(2, 3))
	assert.True(t, m.Restart(), "some were buffered")
	assert.EqualValues(t, 1, m.Since())
	m.Begin(time.Unix(1000, 0), 2)
	assert.Empty(t, add(2, 3))
	assert.False(t, m.Restart(), "no more than before")
	m.Begin(time.Unix(1000, 0), 2)
	assert.Empty(t, add(2, 3))
	assert.Equal(t, someItems(2, 3), add(4, 5))
	assert.True(t, m.Restart())
	assert.EqualValues(t, 3, m.Since())
	assert.Equal(t, someItems(4, 5), add(3, 4, 5, 6, 7)[:2])
}

// A proxy sends an old page in place of the first one of a new listing.
func TestMerge_RestartKeepsWhatWasBuffered(t *testing.T) {
	t.Parallel()
	m := newItems(0)
	for _, pages := range [][][]int64{{{7, 8}, {5, 6}, {3, 4}}, {{5, 6}, {3, 4}}, {{5, 6}, {3, 4}}} {
		m.Begin(time.Unix(1000, 0), 2)
		for _, page := range pages {
			ready, further, err := m.Add(someItems(page...), false)
			require.NoError(t, err)
			assert.Empty(t, ready)
			assert.True(t, further, "within its listing")
		}
		assert.Equal(t, len(pages) == 3, m.Restart())
	}
	m.Begin(time.Unix(1000, 0), 2)
	_, _, err := m.Add(someItems(3, 4), false)
	require.NoError(t, err)
	ready, _, err := m.Add(someItems(1, 2), true)
	require.NoError(t, err)
	assert.Equal(t, someItems(1, 2, 3, 4, 5, 6, 7, 8), ready)
}
