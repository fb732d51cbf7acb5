package inbox

import "github.com/ymchats/ymchats-go/chats"

// Delivery is one message for the handler.
type Delivery struct {
	Business chats.BusinessID
	// Chat is the chat as it was last read. Of a message that was found by a push it may be as
	// old as the last sweep: its Status and UpdatedAt may lag behind.
	Chat    chats.Chat
	Message chats.Message
	Attempt int // 1 for the first; it counts on across restarts
}
