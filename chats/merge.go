package chats

import (
	"cmp"
	"fmt"
	"slices"
)

// rememberedIDs is how many of the ids handed over last the merge remembers, to
// tell a message that came again from one that came too late.
const rememberedIDs = 1024

// merge turns the pages of a history, whatever their order, into one ascending
// sequence.
//
// One page does not tell the server's order, the second does: where all of it lies
// above the first, the oldest come first, and each page can be handed over at
// once. Otherwise everything is held to the end.
type merge struct {
	since       MessageID // everything up to here is of no interest
	buffered    []Message // not handed over yet
	order       pageOrder
	low         MessageID   // the lowest and
	high        MessageID   // the highest id that was sent
	lastEmitted MessageID   // handed over last
	recentIDs   []MessageID // handed over lately, ascending
}

type pageOrder int

const (
	orderUnknown pageOrder = iota
	oldestFirst
	otherOrder
)

func newMerge(since MessageID) *merge { return &merge{since: since} }

// widens: whether a page reaches beyond all pages before it, as it does in every order
// that gets anywhere. To look for its ids among all those held would cost too much.
func (m *merge) extendsRange(page []Message) (widened bool) {
	for _, message := range page {
		if m.low == 0 || message.ID < m.low {
			m.low, widened = message.ID, true
		}
		if message.ID > m.high {
			m.high, widened = message.ID, true
		}
	}
	return widened
}

// add takes a page, which it may reorder, and gives what can be handed over.
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

// unseen sorts a page and takes out what is known already: what the caller did not
// ask for, what is held, what was handed over.
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

// holds is asked only while the order is unknown, when little more than a page is
// held.
func (m *merge) isBuffered(id MessageID) bool {
	return slices.ContainsFunc(m.buffered, func(h Message) bool { return h.ID == id })
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

// sortedOnce sorts by id and keeps the first of each.
func sortUnique(messages []Message) []Message {
	slices.SortStableFunc(messages, func(a, b Message) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(messages, func(a, b Message) bool { return a.ID == b.ID })
}
