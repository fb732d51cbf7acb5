package chats

import (
	"cmp"
	"fmt"
	"slices"
)

// rememberedIDs is the number of last emitted ids that merge remembers, to distinguish a
// message that was sent again from one that came too late.
const rememberedIDs = 1024

// merge turns the pages of a history in any order into one ascending sequence.
//
// The second page shows the server's order: if it lies above the first, the oldest
// messages come first and each page can be emitted at once. Otherwise all pages are
// buffered until the last one.
type merge struct {
	since       MessageID // messages up to here are dropped
	buffered    []Message // not emitted yet
	order       pageOrder
	low, high   MessageID // the lowest and the highest id received
	lastEmitted MessageID
	recentIDs   []MessageID // the last ids emitted, ascending
}

type pageOrder int

const (
	orderUnknown pageOrder = iota
	oldestFirst
	otherOrder
)

func newMerge(since MessageID) *merge { return &merge{since: since} }

// extendsRange reports whether a page reaches beyond all previous pages, as a page does
// in every order that makes progress. Searching all buffered ids would cost too much.
func (m *merge) extendsRange(page []Message) (extends bool) {
	for _, message := range page {
		if m.low == 0 || message.ID < m.low {
			m.low, extends = message.ID, true
		}
		if message.ID > m.high {
			m.high, extends = message.ID, true
		}
	}
	return extends
}

// add takes a page, which it may reorder, and returns the messages that can be emitted.
func (m *merge) add(page []Message, last bool) (ready []Message, err error) {
	page, err = m.dropSeen(page)
	if err != nil {
		return nil, err
	}
	if m.order == orderUnknown && len(m.buffered) > 0 && len(page) > 0 {
		m.order = otherOrder
		if page[0].ID > m.buffered[len(m.buffered)-1].ID {
			m.order = oldestFirst
		}
	}
	if m.order != oldestFirst && !last {
		m.buffered = append(m.buffered, page...)
		return nil, nil
	}
	ready = page
	if len(m.buffered) > 0 {
		ready = sortUnique(append(m.buffered, page...))
		m.buffered = nil
	}
	m.markEmitted(ready)
	return ready, nil
}

// dropSeen sorts a page and drops the messages up to since and those that are buffered
// or emitted already.
func (m *merge) dropSeen(page []Message) ([]Message, error) {
	page = slices.DeleteFunc(sortUnique(page), func(message Message) bool {
		_, again := slices.BinarySearch(m.recentIDs, message.ID)
		return again || message.ID <= m.since || m.order == orderUnknown && m.isBuffered(message.ID)
	})
	if len(page) > 0 && page[0].ID < m.lastEmitted {
		return nil, &Error{
			Operation: OpGetChatHistory, kinds: []error{ErrProtocol},
			cause: fmt.Errorf("message %d came after message %d: the server changed its order", page[0].ID, m.lastEmitted),
		}
	}
	return page, nil
}

// isBuffered is called only while the order is unknown, when little more than a page is
// buffered.
func (m *merge) isBuffered(id MessageID) bool {
	return slices.ContainsFunc(m.buffered, func(b Message) bool { return b.ID == id })
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

// sortUnique sorts by id and keeps the first message of each id.
func sortUnique(messages []Message) []Message {
	slices.SortStableFunc(messages, func(a, b Message) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(messages, func(a, b Message) bool { return a.ID == b.ID })
}
