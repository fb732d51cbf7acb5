package chats

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// rememberedIDs is the number of last emitted ids that merge remembers, to distinguish a
// repeated message from one that arrived too late.
const rememberedIDs = 1024

// merge turns the pages of a history in any order into one ascending sequence.
//
// While the order is not proven to be oldest first, all pages are buffered. After that, one
// page of messages is held back until the next page arrives, because neighbours may be
// swapped across a page boundary.
type merge struct {
	since       MessageID // messages up to here are dropped
	asOf        time.Time // the server's time when the first page was requested
	order       pageOrder
	buffered    []Message // not emitted yet; sorted if the order is oldestFirst
	pageSize    int       // the limit that was requested, or the length of a longer page
	previous    int       // the number of messages at the end of buffered from the last page
	low, high   MessageID // the lowest and the highest id received
	highBefore  MessageID // high without the current page
	lastEmitted MessageID
	recentIDs   []MessageID // the last ids emitted, ascending
}

type pageOrder int

const (
	orderUnknown pageOrder = iota
	oldestFirst
	otherOrder
)

func newMerge(since MessageID, order pageOrder) *merge { return &merge{since: since, order: order} }

// restarted returns a merge for a new listing of the same history, starting after the last
// message up to which the history is certainly complete.
func (m *merge) restarted() *merge { return newMerge(max(m.since, m.lastEmitted), m.order) }

// extendsRange reports whether a page reaches beyond all previous pages, as a page does
// in every order that makes progress. Searching all buffered ids would cost too much.
func (m *merge) extendsRange(page []Message) (extended bool) {
	m.highBefore = m.high
	for _, message := range page {
		if m.low == 0 || message.ID < m.low {
			m.low, extended = message.ID, true
		}
		if message.ID > m.high {
			m.high, extended = message.ID, true
		}
	}
	return extended
}

// add accepts a page, which it may reorder, and returns the messages that can be emitted.
// The page must have been passed to extendsRange.
func (m *merge) add(page []Message, last bool) (ready []Message, err error) {
	m.pageSize = max(m.pageSize, len(page))
	if m.order == orderUnknown {
		m.detectOrder(page)
	}
	if page, err = m.dropSeen(page); err != nil {
		return nil, err
	}
	switch {
	case m.order != oldestFirst && !last:
		m.buffered, m.previous = append(m.buffered, page...), len(page)
		return nil, nil
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
	return ready, nil
}

// detectOrder looks for proof that the order is oldest first: a page whose ids are above
// all earlier ones and which has a message from before the first request. Higher ids alone
// are not enough, because any number of messages may have arrived between two requests.
func (m *merge) detectOrder(page []Message) {
	if !slices.IsSortedFunc(page, compareIDs) {
		m.order = otherOrder
		return
	}
	previous := m.buffered[len(m.buffered)-m.previous:]
	proven := false
	for _, message := range page {
		isSame := func(p Message) bool { return p.ID == message.ID }
		switch {
		case message.ID > m.highBefore:
			proven = proven || m.existedBefore(message)
		case !slices.ContainsFunc(previous, isSame): // a page may begin with the end of the one before
			return
		}
	}
	if proven && m.highBefore > 0 {
		m.order = oldestFirst
		m.buffered = sortUnique(m.buffered)
	}
}

// existedBefore reports whether a message is older than the first request.
func (m *merge) existedBefore(message Message) bool {
	latest := message.CreatedAt
	if latest.Nanosecond() == 0 { // it may have been truncated
		latest = latest.Add(time.Second)
	}
	return !message.CreatedAt.IsZero() && !latest.After(m.asOf)
}

func (m *merge) isAboveBuffered(page []Message) bool {
	return len(m.buffered) == 0 || len(page) > 0 && page[0].ID > m.buffered[len(m.buffered)-1].ID
}

// insert returns the buffered messages and those of page, sorted.
func (m *merge) insert(page []Message) []Message {
	if len(m.buffered) == 0 {
		return page
	}
	return sortUnique(append(m.buffered, page...))
}

// dropSeen sorts a page and drops the messages up to since and those that are emitted
// already.
func (m *merge) dropSeen(page []Message) ([]Message, error) {
	page = sortUnique(page)
	if len(page) == 0 || page[0].ID > max(m.since, m.lastEmitted) {
		return page, nil
	}
	page = slices.DeleteFunc(page, func(message Message) bool {
		_, again := slices.BinarySearch(m.recentIDs, message.ID)
		return again || message.ID <= m.since
	})
	if len(page) > 0 && page[0].ID < m.lastEmitted {
		return nil, m.lateError(page[0].ID)
	}
	return page, nil
}

// lateError returns the error for a message that came after later ones were emitted.
func (m *merge) lateError(late MessageID) error {
	resume := m.since
	if i, _ := slices.BinarySearch(m.recentIDs, late); i > 0 {
		resume = m.recentIDs[i-1]
	}
	return &Error{
		Operation: OpGetChatHistory, ResumeAfter: &resume, kinds: []error{ErrProtocol},
		cause: fmt.Errorf("message %d came after message %d: the server changed its order; resume after message %d", late, m.lastEmitted, resume),
	}
}

func (m *merge) markEmitted(ready []Message) {
	if len(ready) == 0 {
		return
	}
	m.lastEmitted = ready[len(ready)-1].ID
	for _, message := range ready {
		m.recentIDs = append(m.recentIDs, message.ID)
	}
	if len(m.recentIDs) > 2*rememberedIDs {
		m.recentIDs = append(m.recentIDs[:0], m.recentIDs[len(m.recentIDs)-rememberedIDs:]...)
	}
}

func compareIDs(a, b Message) int { return cmp.Compare(a.ID, b.ID) }

// sortUnique sorts by id and keeps the first message of each id.
func sortUnique(messages []Message) []Message {
	if !slices.IsSortedFunc(messages, compareIDs) {
		slices.SortStableFunc(messages, compareIDs)
	}
	return slices.CompactFunc(messages, func(a, b Message) bool { return a.ID == b.ID })
}
