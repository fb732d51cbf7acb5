package chats

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func someMessages(ids ...MessageID) []Message {
	list := make([]Message, len(ids))
	for i, id := range ids {
		list[i] = Message{ID: id, Text: fmt.Sprint("text of ", id), CreatedAt: time.Unix(int64(id), 0)}
	}
	return list
}

// ascendingOnce is the model: each id above since, once, in order.
func ascendingOnce(pages [][]MessageID, since MessageID) []MessageID {
	all := []MessageID{}
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

// mergeAll hands pages to a merge, as History does.
func mergeAll(m *merge, pages [][]MessageID) (got []MessageID, err error) {
	got = []MessageID{}
	m.asOf = time.Unix(1000, 0) // after all messages
	m.pageSize = 0              // the longest page decides
	for i, page := range pages {
		messages := someMessages(page...)
		m.extendsRange(messages)
		ready, err := m.add(messages, i == len(pages)-1)
		for _, message := range ready {
			got = append(got, message.ID)
		}
		if err != nil {
			return got, err
		}
	}
	return got, nil
}

func TestMergeByHand(t *testing.T) {
	t.Parallel()
	type ids = []MessageID
	tests := []struct {
		name  string
		since MessageID
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
			got, err := mergeAll(newMerge(tt.since, orderUnknown), tt.pages)
			assert.Equal(t, tt.want, got)
			if tt.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, ErrProtocol)
			assert.Contains(t, err.Error(), tt.err)
		})
	}
}

// conversation cuts ascending ids into pages, in one of the orders, with empty pages
// and with ids that come again.
func conversation(r *rand.Rand) (pages [][]MessageID) {
	var ids []MessageID
	for id := MessageID(r.IntN(5)); len(ids) < r.IntN(60); {
		id += MessageID(1 + r.IntN(3))
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

func TestMergeAgainstTheModel(t *testing.T) {
	t.Parallel()
	for range 5000 {
		seed := rand.Uint64()
		r := rand.New(rand.NewPCG(seed, 0))
		pages, since := conversation(r), MessageID(r.IntN(40))
		got, err := mergeAll(newMerge(since, orderUnknown), pages)
		require.NoError(t, err, "seed %d: %v", seed, pages)
		require.Equal(t, ascendingOnce(pages, since), got, "seed %d: since %d of %v", seed, since, pages)
	}
}

// A time of whole seconds may be that of a message which arrived after the first request.
func TestMerge_OnlyOlderMessagesProveTheOrder(t *testing.T) {
	t.Parallel()
	asOf := time.Date(2026, 3, 2, 12, 0, 0, 500, time.UTC)
	for _, tt := range []struct {
		created time.Time
		want    pageOrder
	}{
		{asOf.Truncate(time.Second), orderUnknown},
		{asOf.Truncate(time.Second).Add(-time.Second), oldestFirst},
		{asOf.Add(-1), oldestFirst},
		{asOf.Add(1), orderUnknown},
		{time.Time{}, orderUnknown},
	} {
		m := newMerge(0, orderUnknown)
		m.asOf = asOf
		for _, page := range [][]Message{{{ID: 1, CreatedAt: asOf.Add(-time.Hour)}}, {{ID: 2, CreatedAt: tt.created}}} {
			m.extendsRange(page)
			_, err := m.add(page, false)
			require.NoError(t, err)
		}
		assert.Equal(t, tt.want, m.order, "%s", tt.created)
	}
}

func TestOldestFirstHoldsNoMoreThanAPage(t *testing.T) {
	t.Parallel()
	const size = 100
	m := newMerge(0, orderUnknown)
	m.asOf = time.Now()
	for page := range 200 {
		ids := make([]MessageID, size)
		for i := range ids {
			ids[i] = MessageID(page*size + i + 1)
		}
		messages := someMessages(ids...)
		m.extendsRange(messages)
		ready, err := m.add(messages, false)
		require.NoError(t, err)
		require.Len(t, m.buffered, size)
		require.LessOrEqual(t, cap(m.buffered), 2*size, "nothing is kept by its array either")
		require.Len(t, ready, min(page, 1)*size)
		require.LessOrEqual(t, len(m.recentIDs), 2*rememberedIDs)
		require.LessOrEqual(t, cap(m.recentIDs), 4*rememberedIDs)
	}
	// A recent id is recognised as a duplicate; an old one cannot be distinguished from a
	// new one.
	ready, err := m.add(someMessages(20_000-size-rememberedIDs+1), false)
	require.NoError(t, err)
	assert.Empty(t, ready)
}

func TestWhichPagesReachFurther(t *testing.T) {
	t.Parallel()
	m := newMerge(0, orderUnknown)
	for _, page := range []struct {
		ids  []MessageID
		want bool
	}{
		{nil, false},
		{[]MessageID{50, 60}, true},
		{[]MessageID{50, 60}, false},
		{[]MessageID{40, 45}, true},
		{[]MessageID{39}, true},
		{[]MessageID{55, 40, 39}, false},
		{[]MessageID{61}, true},
	} {
		assert.Equal(t, page.want, m.extendsRange(someMessages(page.ids...)), "%v", page.ids)
	}
}

func TestAGrowingListingIsNoLoop(t *testing.T) {
	t.Parallel()
	var guard tokenGuard
	for n := range 100_000 {
		require.NoError(t, guard.check(strconv.Itoa(n), true))
	}
	require.NoError(t, guard.check("", false))
}

func TestEveryCycleOfTokensIsFound(t *testing.T) {
	t.Parallel()
	for before := range 40 {
		for cycle := 1; cycle < 40; cycle++ {
			var guard tokenGuard
			for step := 0; ; step++ {
				token := step
				if step >= before {
					token = before + (step-before)%cycle
				}
				if guard.check(fmt.Sprint("t", token), false) != nil {
					require.GreaterOrEqual(t, step, before+cycle, "no token has come again yet")
					break
				}
				require.LessOrEqual(t, step, 4*(before+cycle), "a cycle of %d after %d pages is not found", cycle, before)
			}
		}
	}
}

func TestPagesWithoutNewsInARowAreBounded(t *testing.T) {
	t.Parallel()
	var guard tokenGuard
	n := 0
	token := func() string { n++; return strconv.Itoa(n) }
	for range 3 {
		for range maxStalePages - 1 {
			require.NoError(t, guard.check(token(), false))
		}
		require.NoError(t, guard.check(token(), true), "something new: they are counted anew")
	}
	for range maxStalePages - 1 {
		require.NoError(t, guard.check(token(), false))
	}
	require.NoError(t, guard.check("", false), "the end is the end")
	require.ErrorIs(t, guard.check(token(), false), errNoProgress)
}

// FuzzMerge makes pages of bytes: 0 ends a page, anything else is an id. Whatever the
// pages, nothing comes twice, out of order or from nowhere; and nothing is missing,
// unless an error says so.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{1, 2, 0, 3, 4}, byte(0))
	f.Add([]byte{4, 3, 0, 2, 1}, byte(2))
	f.Add([]byte{3, 4, 0, 0, 1, 2}, byte(0))
	f.Add([]byte{1, 2, 0, 4, 5, 0, 3}, byte(0))
	f.Add([]byte{1, 2, 0, 2, 3, 0, 1, 4}, byte(1))
	f.Fuzz(func(t *testing.T, data []byte, above byte) {
		pages, since := [][]MessageID{nil}, MessageID(above)
		for _, b := range data {
			if b == 0 {
				pages = append(pages, nil)
				continue
			}
			pages[len(pages)-1] = append(pages[len(pages)-1], MessageID(b))
		}
		got, err := mergeAll(newMerge(since, orderUnknown), pages)
		want := ascendingOnce(pages, since)
		if err == nil {
			assert.Equal(t, want, got)
			return
		}
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%v", err)
		}
		assert.True(t, slices.IsSorted(got) && len(slices.Compact(slices.Clone(got))) == len(got), "%v", got)
		for _, id := range got {
			assert.Contains(t, want, id)
		}
		assert.Less(t, len(got), len(want), "an error where nothing is missing")
	})
}
