package chats

import (
	"cmp"
	"context"
	"iter"
	"slices"

	"github.com/ymchats/ymchats-go/gen"
)

// Chats lists the chats that match the filter, each once, in the server's order,
// which is not documented. It is lazy: nothing is requested before it is ranged
// over, and each range begins anew. An error is yielded once, and last; where the
// context ended it is ctx.Err().
//
// The list may shift while it is read: a chat that receives a message meanwhile may be
// missed by this listing and is found by the next. Whoever answers the chats that wait
// shifts it himself, for an answered chat leaves the list, and the first of the next page
// takes its place: read the list to its end first.
//
// One request of getChats for every 20 chats (POST /v2/businesses/{id}/chats).
func (c *Client) Chats(ctx context.Context, filter Filter) iter.Seq2[Chat, error] {
	filter = filter.clone() // every page is asked for with the same one, whatever the caller does meanwhile
	return func(yield func(Chat, error) bool) {
		seen := map[ChatID]struct{}{}
		isNew := func(chat Chat) bool { _, again := seen[chat.ID]; return !again }
		fetch := func(ctx context.Context, token string) (Page[Chat], error) {
			return c.ChatsPage(ctx, filter, PageRequest{Token: token})
		}
		hasNew := func(list []Chat) bool { return slices.ContainsFunc(list, isNew) }
		for page, err := range pages(ctx, OpGetChats, fetch, hasNew) {
			if err != nil {
				yield(Chat{}, contextErr(ctx, err))
				return
			}
			for _, chat := range page.Items {
				if !isNew(chat) {
					continue
				}
				seen[chat.ID] = struct{}{}
				if !yieldItem(ctx, yield, chat) {
					return
				}
			}
		}
	}
}

// ChatsPage reads one page of the list of chats: one request, as the server
// answers it. A page may be empty and still have a next one.
//
// Errors: [ArgumentError], [Error].
func (c *Client) ChatsPage(ctx context.Context, filter Filter, page PageRequest) (Page[Chat], error) {
	if err := cmp.Or(filter.check(), checkSize("page size", page.Size, MaxChatsPage)); err != nil {
		return Page[Chat]{}, err
	}
	size := cmp.Or(page.Size, filter.PageSize, MaxChatsPage)
	limit := int32(size) //nolint:gosec // at most MaxChatsPage
	req, err := gen.NewGetChatsRequest(c.base(), int64(c.business), &gen.GetChatsParams{
		PageToken: optional(page.Token), Limit: &limit,
	}, filter.request())
	call, err := newCall(OpGetChats, req, err)
	if err != nil {
		return Page[Chat]{}, err
	}
	sized := &gen.ChatsPage{Chats: make([]gen.Chat, 0, size)}
	result, err := invoke(ctx, c, call, sized, func(p *gen.ChatsPage) error {
		return checkList(p.Chats, errNoChats, checkChat)
	})
	if err != nil {
		return Page[Chat]{}, err
	}
	return Page[Chat]{Items: toList(result.Chats, toChat), Next: result.Paging.NextPageToken}, nil
}
