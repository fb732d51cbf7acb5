package chats

import (
	"cmp"
	"context"
	"iter"

	"github.com/ymchats/ymchats-go/gen"
)

// History returns a sequence of the messages of a chat with ids above since, each once,
// in ascending order of ids. A since of 0 starts at the beginning of the chat. Iteration
// may stop at any point and resume from the last ID received without gaps or duplicates.
//
// The sequence is lazy: nothing is requested before it is ranged over, and every range
// starts over. The next page is fetched while the caller works on the current one. An
// error is yielded once and ends the sequence; it is ctx.Err() if ctx has ended.
//
// Market does not document the order of messages. If it sends the oldest first, History
// holds at most two pages in memory. If it sends the newest first, History has to hold
// all messages above since until the last page. If the order changes on the way, History
// yields an error that matches [ErrProtocol] and loses no message silently.
//
// It costs one request of getChatHistory for every 100 messages
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

// HistoryPage returns one page of a chat's messages in the server's order, which may
// include since itself. It is one request. Most programs want [Client.History].
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
