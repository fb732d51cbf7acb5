package chats

import (
	"cmp"
	"context"
	"iter"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/merge"
	"github.com/ymchats/ymchats-go/chats/internal/paging"
	"github.com/ymchats/ymchats-go/gen"
)

// History returns a sequence of the messages of a chat with IDs above since, each once, in
// ascending order of IDs. If since is 0, the sequence starts at the beginning of the chat.
// Iteration may stop at any point and later resume, without gaps or duplicates, from the last ID
// received, unless a message is listed too late (see below). A message that becomes visible late
// (because it was held for review, for example) is not included if its ID is below since.
//
// The sequence is lazy: it requests nothing until it is ranged over, and each range starts
// from the beginning. The next page is fetched while the caller works on the current one. An
// error is yielded once and ends the sequence; it is ctx.Err() if ctx is done.
//
// Market does not document the order of messages. History works with any stable order, even while
// new messages arrive, and even if a message is listed up to one page after its place in that
// order. If the oldest messages come first, History holds up to three pages in memory: it yields a
// page when the next one has been read. History recognises that order once all new IDs on a later
// page are above all earlier IDs, and at least one of those messages was created more than five
// minutes before the first request. The five minutes are extended by a day if the message's time
// has no seconds, and by another day if the server sends no Date. In any other order, and while the
// messages are too recent or have no time, History holds all messages above since in memory until
// it has read the last page. If a message is listed so late that messages with higher IDs have
// already been yielded, History yields an error that matches [ErrProtocol]. The sequence yielded up
// to that point may have gaps: to get every message, read again with the same Client from
// [Error.ResumeAfter], which equals since.
//
// A listing costs one getChatHistory request for every 100 messages (POST
// /v2/businesses/{id}/chats/history), and more if the server refuses one of the following:
//
//   - the page size: 50, 20 and 10 are tried, and also 3 and 1 if the refusal mentions a limit or a
//     page size. The client keeps the accepted size for an hour, or for a minute if it is 3 or 1;
//   - the since argument, perhaps because there is no message with that ID: the history is read
//     from its beginning;
//   - a page token, which may have expired: the listing starts over after the last message
//     yielded, up to three times without progress.
//
// An item without a readable ID is skipped, counted in [Attempt.Skipped] and logged.
func (c *Client) History(ctx context.Context, id ChatID, since MessageID) iter.Seq2[Message, error] {
	return c.history(ctx, id, since, nil)
}

// history implements History. If skipped is not nil, it receives the items without a readable
// ID.
func (c *Client) history(ctx context.Context, id ChatID, since MessageID, skipped *[]Message) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		if err := cmp.Or(checkID("chat", id), checkSince("since", since)); err != nil {
			yield(Message{}, err)
			return
		}
		_, broken := c.unordered.Load(id)
		h := &history{client: c, chat: id, skipped: skipped}
		h.merge = merge.New(func(m Message) int64 { return int64(m.ID) }, func(m Message) time.Time { return m.CreatedAt }, int64(since), broken)
		items(ctx, c, OpGetChatHistory, paging.Listing[Message]{Fetch: h.fetch, Accept: h.accept, Restart: h.merge.Restart}, yield)
	}
}

// history is the listing behind [Client.History].
type history struct {
	client  *Client
	chat    ChatID
	merge   *merge.Merge[Message]
	from    MessageID  // messageIdFrom of every page
	size    int        // limit of every page
	skipped *[]Message // items without a readable ID; may be nil
}

// fetch requests a page. If the server refuses since, perhaps because that message is no
// longer in the chat, the history is read from its beginning.
func (h *history) fetch(ctx context.Context, token string) (paging.Page[Message], error) {
	if token != "" {
		page, err := h.client.historyPage(ctx, h.chat, h.from, h.size, token)
		h.skip(page.skipped)
		return paging.Page[Message](page.Page), err
	}
	h.from = MessageID(h.merge.Since())
	page, err := h.client.historyPage(ctx, h.chat, h.from, MaxHistoryPage, "")
	if h.from > 0 && isRefused(err) {
		h.from = 0
		page, err = h.client.historyPage(ctx, h.chat, 0, MaxHistoryPage, "")
	}
	h.merge.Begin(page.requestedAt, page.size)
	h.size = page.size
	if h.skipped != nil {
		*h.skipped = nil // the listing starts over
	}
	h.skip(page.skipped)
	return paging.Page[Message](page.Page), err
}

func (h *history) skip(items []Message) {
	if h.skipped != nil {
		*h.skipped = append(*h.skipped, items...)
	}
}

// accept returns the messages that are certainly next in order. If a message comes too late, later
// listings of the chat buffer all messages.
func (h *history) accept(page paging.Page[Message]) (ready []Message, progress bool, err error) {
	ready, progress, err = h.merge.Add(page.Items, page.Next == "")
	if broken, ok := as[*merge.OrderError](err); ok {
		h.client.unordered.Store(h.chat, true)
		resume := MessageID(broken.Resume)
		err = &Error{Business: h.client.business, Operation: OpGetChatHistory, ResumeAfter: &resume, kinds: []error{ErrProtocol}, cause: broken}
	}
	return ready, progress, err
}

// HistoryPage returns one page of a chat's messages in the server's order. The page may
// include the message whose ID equals since. Retries aside, HistoryPage makes one request. If the
// server refuses the size of a first page, HistoryPage tries smaller sizes, as [Client.History]
// does, and returns fewer items. Most programs want [Client.History].
//
// Errors: [ArgumentError], [Error].
func (c *Client) HistoryPage(
	ctx context.Context, id ChatID, since MessageID, page PageRequest,
) (Page[Message], error) {
	err := cmp.Or(checkID("chat", id), checkSince("since", since), checkSize("page size", page.Size, MaxHistoryPage))
	if err != nil {
		return Page[Message]{}, err
	}
	size := c.nextSize(OpGetChatHistory, cmp.Or(page.Size, MaxHistoryPage), page.Token)
	result, err := c.historyPage(ctx, id, since, size, page.Token)
	return result.Page, err
}

func (c *Client) historyPage(
	ctx context.Context, id ChatID, since MessageID, size int, token string,
) (sizedPage[Message], error) {
	return fitPage(c, OpGetChatHistory, size, token, func(size int) (sizedPage[Message], error) {
		limit := int32(size) //nolint:gosec // at most MaxHistoryPage
		req, err := gen.NewGetChatHistoryRequest(c.base, int64(c.business), &gen.GetChatHistoryParams{
			ChatID: int64(id), PageToken: optional(token), Limit: &limit,
		}, gen.GetChatHistoryRequest{MessageIDFrom: int64(since)})
		call := newCall(c.business, OpGetChatHistory, req, err)
		sized := &gen.MessagesPage{Messages: make([]gen.Message, 0, size)}
		return invoke(ctx, c, call, sized, func(p *gen.MessagesPage) (sizedPage[Message], error) {
			items, skipped, err := readList(p.Messages, size, errNoMessages, toMessage)
			call.skipped = len(skipped)
			return sizedPage[Message]{Page[Message]{items, p.Paging.NextPageToken}, size, call.requestedAt, skipped}, err
		})
	})
}
