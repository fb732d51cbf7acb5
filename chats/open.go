package chats

import (
	"context"

	"github.com/ymchats/ymchats-go/gen"
)

// OpenChat returns the ID of the chat about an order or a return, and opens one if there is none
// yet (POST /v2/businesses/{id}/chats/new). It is idempotent: a second call returns the same ID.
// What Market does if that chat is finished is not documented. A test order from the cabinet's
// debugging page has a test chat, in which no customer replies.
//
// Errors: [ArgumentError], [Error]; [ErrNotFound] if there is no such order or return.
func (c *Client) OpenChat(ctx context.Context, about Subject) (ChatID, error) {
	if err := checkSubject("about", about); err != nil {
		return 0, err
	}
	subject := fromSubject(about)
	req, err := gen.NewCreateChatRequest(c.base, int64(c.business), gen.CreateChatRequest{Context: &subject})
	return invoke(ctx, c, newCall(c.business, OpCreateChat, req, err), nil, func(created *gen.CreatedChat) (ChatID, error) {
		if created.ChatID < 1 {
			return 0, errNoChatID
		}
		return ChatID(created.ChatID), nil
	})
}
