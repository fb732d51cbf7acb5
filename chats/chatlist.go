package chats

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/ymchats/ymchats-go/chats/internal/paging"
	"github.com/ymchats/ymchats-go/gen"
)

// Chats returns a sequence of the chats that match filter, each once, in the server's order,
// which is not documented. The sequence is lazy: it requests nothing until it is ranged over,
// and each range starts from the beginning. An error is yielded once and ends the sequence; it
// is ctx.Err() if ctx is done.
//
// The list may shift while it is read. A chat that receives a message in the meantime may be
// missing from this listing; list the chats again to find it. Replying to a chat removes it from
// the list of chats with [StatusWaitingForPartner] and shifts later pages: collect the list before
// replying.
//
// A listing costs one getChats request (POST /v2/businesses/{id}/chats) for every 20 chats, or for
// every Filter.PageSize chats if that is set. It costs more if the server refuses the page size, in
// which case 10 and 5 are tried (then 3 and 1, if the refusal mentions a limit or a page size). It
// also costs more if the server refuses a page token, which may have expired: the list is then read
// again from the beginning, and the chats already yielded are left out. A chat without a readable
// ID is skipped, counted in [Attempt.Skipped] and logged.
func (c *Client) Chats(ctx context.Context, filter Filter) iter.Seq2[Chat, error] {
	filter = filter.clone() // the caller may change its slices between two pages
	return func(yield func(Chat, error) bool) {
		if err := filter.check(); err != nil {
			yield(Chat{}, err)
			return
		}
		l := &chatList{client: c, filter: filter, pass: 1, seen: map[ChatID]int{}}
		items(ctx, c, OpGetChats, paging.Listing[Chat]{Fetch: l.fetch, Accept: l.accept, Restart: l.restart}, yield)
	}
}

// chatList is the listing behind [Client.Chats].
type chatList struct {
	client     *Client
	filter     Filter
	size       int            // limit of every page
	pass       int            // how often the listing has begun
	seen       map[ChatID]int // the last pass that listed a chat
	seenBefore int            // len(seen) when the listing last started over
}

func (l *chatList) fetch(ctx context.Context, token string) (paging.Page[Chat], error) {
	if token == "" {
		l.size = cmp.Or(l.filter.PageSize, MaxChatsPage)
	}
	page, err := l.client.chatsPage(ctx, l.filter, l.size, token)
	l.size = page.size
	return paging.Page[Chat](page.Page), err
}

// accept returns the chats of a page that were on no previous page. After the listing has
// started over, pages that are read again also count as progress.
func (l *chatList) accept(page paging.Page[Chat]) (fresh []Chat, progress bool, err error) {
	fresh = slices.DeleteFunc(page.Items, func(chat Chat) bool {
		last := l.seen[chat.ID]
		progress = progress || last < l.pass
		l.seen[chat.ID] = l.pass
		return last > 0
	})
	return fresh, progress, nil
}

func (l *chatList) restart() (further bool) {
	further, l.seenBefore, l.pass = len(l.seen) > l.seenBefore, len(l.seen), l.pass+1
	return further
}

// ChatsPage returns one page of the list of chats in the server's order. Retries aside, it makes
// one request. If the server refuses the size of a first page, ChatsPage tries smaller sizes, as
// [Client.Chats] does. A page may be empty even though there is a next one.
//
// Errors: [ArgumentError], [Error].
func (c *Client) ChatsPage(ctx context.Context, filter Filter, page PageRequest) (Page[Chat], error) {
	if err := cmp.Or(filter.check(), checkSize("page size", page.Size, MaxChatsPage)); err != nil {
		return Page[Chat]{}, err
	}
	size := c.nextSize(OpGetChats, cmp.Or(page.Size, filter.PageSize, MaxChatsPage), page.Token)
	result, err := c.chatsPage(ctx, filter, size, page.Token)
	return result.Page, err
}

func (c *Client) chatsPage(ctx context.Context, filter Filter, size int, token string) (sizedPage[Chat], error) {
	return fitPage(c, OpGetChats, size, token, func(size int) (sizedPage[Chat], error) {
		limit := int32(size) //nolint:gosec // at most MaxChatsPage
		req, err := gen.NewGetChatsRequest(c.base, int64(c.business), &gen.GetChatsParams{
			PageToken: optional(token), Limit: &limit,
		}, filter.request())
		call := newCall(c.business, OpGetChats, req, err)
		sized := &gen.ChatsPage{Chats: make([]gen.Chat, 0, size)}
		return invoke(ctx, c, call, sized, func(p *gen.ChatsPage) (sizedPage[Chat], error) {
			items, skipped, err := readList(p.Chats, size, errNoChats, toChat)
			call.skipped = len(skipped)
			return sizedPage[Chat]{Page[Chat]{items, p.Paging.NextPageToken}, size, call.requestedAt, skipped}, err
		})
	})
}
