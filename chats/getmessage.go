package chats

import (
	"cmp"
	"context"

	"github.com/ymchats/ymchats-go/gen"
)

// Message returns one message (GET /v2/businesses/{id}/chats/message). Its hourly
// quota is a tenth of the history's: prefer [Client.History] for more than one
// message.
//
// Errors: [ArgumentError], [Error]; [ErrNotFound] if there is no such message, [ErrProtocol] if the
// response is for a different message.
func (c *Client) Message(ctx context.Context, id ChatID, message MessageID) (Message, error) {
	if err := cmp.Or(checkID("chat", id), checkID("message", message)); err != nil {
		return Message{}, err
	}
	req, err := gen.NewGetChatMessageRequest(c.base, int64(c.business), &gen.GetChatMessageParams{
		ChatID: int64(id), MessageID: int64(message),
	})
	return invoke(ctx, c, newCall(c.business, OpGetChatMessage, req, err), nil, only(toMessage, func(m Message) bool { return m.ID == message }))
}
