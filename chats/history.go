package chats

import (
	"cmp"
	"context"
	"iter"

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
	err := cmp.Or(checkID("chat", id), checkSince("since", since), checkSize("page size", page.Size, MaxHistoryPage))
	if err != nil {
		return Page[Message]{}, err
	}
	size := cmp.Or(page.Size, MaxHistoryPage)
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
