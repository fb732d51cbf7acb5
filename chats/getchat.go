package chats

import (
	"context"

	"github.com/ymchats/ymchats-go/gen"
)

// Chat returns one chat (GET /v2/businesses/{id}/chat).
//
// Errors: [ArgumentError], [Error]; [ErrNotFound] if the business has no such chat, [ErrProtocol]
// if the response is for a different chat.
func (c *Client) Chat(ctx context.Context, id ChatID) (Chat, error) {
	if err := checkID("chat", id); err != nil {
		return Chat{}, err
	}
	req, err := gen.NewGetChatRequest(c.base, int64(c.business), &gen.GetChatParams{ChatID: int64(id)})
	return invoke(ctx, c, newCall(c.business, OpGetChat, req, err), nil, only(toChat, func(chat Chat) bool { return chat.ID == id }))
}
