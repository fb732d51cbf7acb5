package merge

import (
	"slices"
	"time"
)

type order int

const (
	orderUnknown order = iota
	oldestFirst
	otherOrder
)

// clockTolerance is how much older than the first request an item must be to prove that it
// existed before. The two times may come from different clocks.
const clockTolerance = 5 * time.Minute

// detectOrder looks for proof that the order is oldest first: a page whose IDs are above all
// earlier ones, with a message created before the first request. Higher IDs alone are not
// enough, because any number of messages may have arrived between two requests.
func (m *Merge[T]) detectOrder(page []T) {
	if !slices.IsSortedFunc(page, m.compare) {
		m.order = otherOrder
		return
	}
	previous := m.buffered[len(m.buffered)-m.previous:]
	proven := false
	for _, item := range page {
		isSame := func(p T) bool { return m.same(p, item) }
		switch {
		case m.id(item) > m.highBefore:
			proven = proven || m.existedBefore(item)
		case !slices.ContainsFunc(previous, isSame): // a page may begin with the end of the previous one
			return
		}
	}
	if proven && m.highBefore > 0 {
		m.order = oldestFirst
		m.buffered = m.sortUnique(m.buffered)
	}
}

// existedBefore reports whether an item is certainly older than the first request. A time
// without seconds may be rounded down, even to the day.
func (m *Merge[T]) existedBefore(item T) bool {
	createdAt, margin := m.createdAt(item), clockTolerance
	if createdAt.Second() == 0 && createdAt.Nanosecond() == 0 {
		margin += 24 * time.Hour
	}
	return !createdAt.IsZero() && createdAt.Before(m.asOf.Add(-margin))
}
