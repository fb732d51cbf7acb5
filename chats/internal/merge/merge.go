// Package merge turns the pages of a list in any order into one sequence of ascending IDs.
package merge

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// rememberedIDs is the number of last emitted IDs that a Merge remembers, to distinguish
// repeated items from items that arrive too late.
const rememberedIDs = 1024

// Merge turns the pages of one list into one ascending sequence. The list may be read from
// its beginning several times ([Merge.Restart]).
//
// Until the order is proven to be oldest first, all pages are buffered. After that, one page of
// items is held back until the next page arrives, because neighbouring items may be swapped
// across a page boundary.
type Merge[T any] struct {
	id        func(T) int64
	first     int64             // since of the first listing
	createdAt func(T) time.Time // zero if unknown
	listing[T]
	longest int // the largest number of items that an abandoned listing had added to the buffer
}

// listing is the part of the state of a Merge that Restart resets.
type listing[T any] struct {
	since       int64     // items up to this ID are dropped
	asOf        time.Time // the server's time when the first page was requested
	order       order
	buffered    []T   // not emitted yet; sorted if the order is oldestFirst
	pageSize    int   // the requested page size, or the length of a longer page
	kept        int   // the number of items at the beginning of buffered that are from earlier listings
	previous    int   // the number of items at the end of buffered that are from the last page
	low, high   int64 // the lowest and the highest ID received
	highBefore  int64 // high before the current page
	lastEmitted int64
	recentIDs   []int64        // the last IDs emitted, ascending
	known       map[int64]bool // the IDs received; nil while low and high suffice to detect new items
}

// OrderError reports an item that arrived after later ones had been emitted.
type OrderError struct {
	Late, Emitted int64 // the late item, and the last one emitted
	Resume        int64 // the original since: the emitted items may not be complete
}

func (e *OrderError) Error() string {
	return fmt.Sprintf("message %d came after message %d: the server changed its order; resume after message %d", e.Late, e.Emitted, e.Resume)
}

// New returns a Merge of the items with IDs above since. If buffer is set, it emits nothing
// before the last page, which is correct for any order.
func New[T any](id func(T) int64, createdAt func(T) time.Time, since int64, buffer bool) *Merge[T] {
	m := &Merge[T]{id: id, createdAt: createdAt, first: since, listing: listing[T]{since: since}}
	if buffer {
		m.order = otherOrder
	}
	return m
}

// Since returns the ID above which items are expected.
func (m *Merge[T]) Since() int64 { return m.since }

// Begin sets when the first page of a listing was requested, by the server's clock, and with
// which page size.
func (m *Merge[T]) Begin(asOf time.Time, pageSize int) { m.asOf, m.pageSize = asOf, pageSize }

// Restart prepares for a new listing of the same items, from the last item emitted. It reports
// whether the abandoned listing got further than earlier ones. Buffered items are kept, because
// a proxy may send an old page in place of the first one.
func (m *Merge[T]) Restart() (further bool) {
	added, kept := len(m.buffered)-m.kept, m.sortUnique(m.buffered)
	further = m.lastEmitted > 0 || added > m.longest
	m.longest = max(m.longest, added)
	m.listing = listing[T]{since: max(m.since, m.lastEmitted), order: m.order, buffered: kept, kept: len(kept)}
	return further
}

// Add adds a page, which it may reorder, and returns the items that can be emitted. further
// reports whether the page has an item that no previous page had. The error is an [OrderError].
func (m *Merge[T]) Add(page []T, last bool) (ready []T, further bool, err error) {
	further = m.hasNew(page)
	m.pageSize = max(m.pageSize, len(page))
	if m.order == orderUnknown {
		m.detectOrder(page)
	}
	if page, err = m.dropSeen(page); err != nil {
		return nil, further, err
	}
	switch {
	case m.order != oldestFirst && !last:
		m.buffered, m.previous = append(m.buffered, page...), len(page)
		return nil, further, nil
	case last:
		ready, m.buffered = m.insert(page), nil
	case len(page) == m.pageSize && m.isAboveBuffered(page): // without copying
		ready, m.buffered = m.buffered, page
	default:
		all := m.insert(page)
		n := max(len(all)-m.pageSize, 0)
		ready, m.buffered = all[:n], all[n:]
	}
	m.markEmitted(ready)
	return ready, further, nil
}

// hasNew reports whether a page has an item that no previous page had. Almost always the page
// extends the range of IDs, which proves it. IDs are remembered only once a page has been within
// the range, and not if the order is oldest first, because such a page then has nothing new.
func (m *Merge[T]) hasNew(page []T) bool {
	extended := m.extendRange(page)
	if m.order == oldestFirst || extended && m.known == nil {
		return extended
	}
	if m.known == nil {
		m.known = make(map[int64]bool, len(m.buffered))
		m.learn(m.buffered[m.kept:])
	}
	before := len(m.known)
	m.learn(page)
	return len(m.known) > before
}

func (m *Merge[T]) learn(items []T) {
	for _, item := range items {
		m.known[m.id(item)] = true
	}
}

// extendRange extends low and high by a page and reports whether they have changed.
func (m *Merge[T]) extendRange(page []T) (extended bool) {
	m.highBefore = m.high
	for _, item := range page {
		id := m.id(item)
		if m.low == 0 || id < m.low {
			m.low, extended = id, true
		}
		if id > m.high {
			m.high, extended = id, true
		}
	}
	return extended
}

func (m *Merge[T]) isAboveBuffered(page []T) bool {
	return len(m.buffered) == 0 || len(page) > 0 && m.id(page[0]) > m.id(m.buffered[len(m.buffered)-1])
}

// insert returns the buffered items and those of page, sorted.
func (m *Merge[T]) insert(page []T) []T {
	if len(m.buffered) == 0 {
		return page
	}
	return m.sortUnique(append(m.buffered, page...))
}

// dropSeen sorts a page and drops the items up to since and those already emitted.
func (m *Merge[T]) dropSeen(page []T) ([]T, error) {
	page = m.sortUnique(page)
	if len(page) == 0 || m.id(page[0]) > max(m.since, m.lastEmitted) {
		return page, nil
	}
	page = slices.DeleteFunc(page, func(item T) bool {
		_, again := slices.BinarySearch(m.recentIDs, m.id(item))
		return again || m.id(item) <= m.since
	})
	if len(page) > 0 && m.id(page[0]) < m.lastEmitted {
		return nil, &OrderError{m.id(page[0]), m.lastEmitted, m.first}
	}
	return page, nil
}

func (m *Merge[T]) markEmitted(ready []T) {
	if len(ready) == 0 {
		return
	}
	m.lastEmitted = m.id(ready[len(ready)-1])
	for _, item := range ready {
		m.recentIDs = append(m.recentIDs, m.id(item))
	}
	if len(m.recentIDs) > 2*rememberedIDs {
		m.recentIDs = append(m.recentIDs[:0], m.recentIDs[len(m.recentIDs)-rememberedIDs:]...)
	}
}

func (m *Merge[T]) compare(a, b T) int { return cmp.Compare(m.id(a), m.id(b)) }

func (m *Merge[T]) same(a, b T) bool { return m.id(a) == m.id(b) }

// sortUnique sorts by ID and keeps the first item of each ID.
func (m *Merge[T]) sortUnique(items []T) []T {
	if !slices.IsSortedFunc(items, m.compare) {
		slices.SortStableFunc(items, m.compare)
	}
	return slices.CompactFunc(items, m.same)
}
