package notify

import (
	"encoding/json"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/gen/notification"
)

// Event is one of [Ping], [ChatCreated], [MessageSent], [ArbitrageStarted],
// [ArbitrageFinished] and [Other]. An event of a chat always has the chat; its other
// fields are zero if the notification has no usable value for them.
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

// MessageSent reports a new message in a chat of any type. Stickers are not
// announced; whether the shop's own messages are is not documented.
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

// Other is an event of a type that this package does not define: of orders,
// reviews or questions, or a type that Market added later.
type Other struct {
	Type string          // notificationType
	Raw  json.RawMessage // copy of the whole notification
}

// identity is equal for two copies of one event. An event without a chat has none.
type identity struct {
	kind     string
	business chats.BusinessID
	chat     chats.ChatID
	message  chats.MessageID
	at       time.Time // in UTC, so that == compares instants; zero if there is a message
}

func (e Ping) identity() identity { return identity{kind: string(notification.TypePing)} }

func (e ChatCreated) identity() identity {
	return identity{string(notification.TypeChatCreated), e.Business, e.Chat, 0, e.At.UTC()}
}

func (e MessageSent) identity() identity {
	return identity{string(notification.TypeChatMessageSent), e.Business, e.Chat, e.Message, time.Time{}}
}

func (e ArbitrageStarted) identity() identity {
	return identity{string(notification.TypeChatArbitrageStarted), e.Business, e.Chat, 0, e.At.UTC()}
}

func (e ArbitrageFinished) identity() identity {
	return identity{string(notification.TypeChatArbitrageFinished), e.Business, e.Chat, 0, e.At.UTC()}
}

func (e Other) identity() identity { return identity{kind: e.Type} }
