package inbox

import "github.com/ymchats/ymchats-go/chats"

// Delivery is one message for the handler.
type Delivery struct {
	Business chats.BusinessID
	// Chat is the chat as last listed or read. If a push or a recheck found the message, Chat may be
	// as old as the last sweep, so its Status and UpdatedAt may be out of date.
	Chat    chats.Chat
	Message chats.Message
	// Attempt is 1 plus the number of past failures, including those in earlier processes. An attempt
	// that was cut off by a crash or by the loss of the lease does not count as a failure. The count
	// starts again at 1 if another message of the chat, which became visible late, has failed since.
	Attempt int
}
