package chats

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/ymchats/ymchats-go/gen"
)

// History yields every message of the chat with an id above since, once, in
// ascending order of ids; 0 is the beginning. So whoever stops, anywhere, and goes
// on later from the last id received has lost nothing and has received nothing
// twice.
//
// It is lazy: nothing is requested before it is ranged over, and each range begins
// anew. The next page is fetched while the caller works on this one. An error is
// yielded once, and last; where the context ended it is ctx.Err().
//
// Market does not document its order. Where it sends the oldest messages first,
// History keeps a page and the one ahead; where it sends the newest first, there is
// no way but to hold the unread part until the end. An order that changes in the
// middle is an [ErrProtocol], not a loss.
//
// One request of getChatHistory for every 100 messages
// (POST /v2/businesses/{id}/chats/history).
func (c *Client) History(ctx context.Context, id ChatID, since MessageID) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		fetch := func(ctx context.Context, token string) (Page[Message], error) {
			return c.HistoryPage(ctx, id, since, PageRequest{Token: token})
		}
		merge := newMerge(since)
		for page, err := range pages(ctx, OpGetChatHistory, fetch, merge.extendsRange) {
			var ready []Message
			if err == nil {
				ready, err = merge.add(page.Items, page.Next == "")
			}
			for _, message := range ready {
				if !yieldItem(ctx, yield, message) {
					return
				}
			}
			if err != nil {
				yield(Message{}, contextErr(ctx, err))
				return
			}
		}
	}
}

// HistoryPage reads one page of a chat's messages: one request, in the server's
// order, with since itself among them if the server sends it. [Client.History] is
// what most programs want.
//
// Errors: [ArgumentError], [Error].
func (c *Client) HistoryPage(
	ctx context.Context, id ChatID, since MessageID, page PageRequest,
) (Page[Message], error) {
	err := first(checkID("chat", id), checkSince("since", since), checkSize("page size", page.Size, MaxHistoryPage))
	if err != nil {
		return Page[Message]{}, err
	}
	size := page.Size
	orDefault(&size, MaxHistoryPage)
	limit := int32(size) //nolint:gosec // at most MaxHistoryPage
	req, err := gen.NewGetChatHistoryRequest(c.base(), int64(c.business), &gen.GetChatHistoryParams{
		ChatID: int64(id), PageToken: optional(page.Token), Limit: &limit,
	}, gen.GetChatHistoryRequest{MessageIDFrom: int64(since)})
	call, err := newCall(OpGetChatHistory, req, err)
	if err != nil {
		return Page[Message]{}, err
	}
	sized := &gen.MessagesPage{Messages: make([]gen.Message, 0, size)}
	result, err := invoke(ctx, c, call, sized, func(p *gen.MessagesPage) error {
		return checkList(p.Messages, errNoMessages, checkMessage)
	})
	if err != nil {
		return Page[Message]{}, err
	}
	return Page[Message]{Items: toList(result.Messages, toMessage), Next: result.Paging.NextPageToken}, nil
}

// Message reads one message (GET /v2/businesses/{id}/chats/message). Its allowance
// is a tenth of the history's: prefer [Client.History] for more than one.
//
// Errors: [ArgumentError], [Error]; [ErrNotFound] where there is no such message.
func (c *Client) Message(ctx context.Context, id ChatID, message MessageID) (Message, error) {
	if err := first(checkID("chat", id), checkID("message", message)); err != nil {
		return Message{}, err
	}
	req, err := gen.NewGetChatMessageRequest(c.base(), int64(c.business), &gen.GetChatMessageParams{
		ChatID: int64(id), MessageID: int64(message),
	})
	call, err := newCall(OpGetChatMessage, req, err)
	if err != nil {
		return Message{}, err
	}
	result, err := invoke(ctx, c, call, nil, checkMessage)
	if err != nil {
		return Message{}, err
	}
	return toMessage(result), nil
}

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
