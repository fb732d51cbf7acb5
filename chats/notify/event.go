package notify

import (
	"encoding/json"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// Event is one of [Ping], [ChatCreated], [MessageSent], [ArbitrageStarted],
// [ArbitrageFinished] and [Other]. An event about a chat always names the chat; its
// other fields are zero if the notification has no usable value for them.
type Event interface {
	identity() identity
}

// Ping is a health check by Market. [Handler] replies to it without calling the
// handle function.
type Ping struct {
	At time.Time // zero if unknown
}

// ChatCreated reports a new chat of any type.
type ChatCreated struct {
	Business chats.BusinessID
	Chat     chats.ChatID
	At       time.Time // when the chat was created
}

// MessageSent reports a new message in a chat of any type. Stickers are not announced; it
// is not documented whether the shop's own messages are.
type MessageSent struct {
	Business chats.BusinessID
	Chat     chats.ChatID
	Message  chats.MessageID
	At       time.Time // when the message was sent
}

// ArbitrageStarted reports that a dispute was opened. It is not sent for chats
// without an order or return ([chats.SubjectDirect]).
type ArbitrageStarted struct {
	Business chats.BusinessID
	Chat     chats.ChatID
	At       time.Time // when the dispute was opened
}

// ArbitrageFinished reports that a dispute was closed. It is not sent for chats
// without an order or return ([chats.SubjectDirect]).
type ArbitrageFinished struct {
	Business chats.BusinessID
	Chat     chats.ChatID
	At       time.Time // when the dispute was closed
}

// Other is an event of a type that this package does not define: one about orders,
// reviews or questions, or one that Market added later.
type Other struct {
	Type string          // notificationType
	Raw  json.RawMessage // copy of the whole notification
}

// ChatOf returns the chat that an event is about, and its business. Both are 0 for [Ping] and
// [Other]; the business is also 0 if the notification has no usable value for it.
func ChatOf(event Event) (chats.BusinessID, chats.ChatID) {
	switch e := event.(type) {
	case ChatCreated:
		return e.Business, e.Chat
	case MessageSent:
		return e.Business, e.Chat
	case ArbitrageStarted:
		return e.Business, e.Chat
	case ArbitrageFinished:
		return e.Business, e.Chat
	default:
		return 0, 0
	}
}
