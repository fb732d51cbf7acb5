package inbox

import "github.com/ymchats/ymchats-go/chats"

// Delivery is one message for the handler.
type Delivery struct {
	Business chats.BusinessID
	// Chat is the chat as last read. If the message was found because of a push, Chat may be as
	// old as the last sweep, so its Status and UpdatedAt may be out of date.
	Chat    chats.Chat
	Message chats.Message
	Attempt int // starts at 1; restarts do not reset it
}
