package notify

import (
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/gen/notification"
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

// Other is an event of a type that this package does not define: one about orders,
// reviews or questions, or one that Market added later.
type Other struct {
	Type string          // notificationType
	Raw  json.RawMessage // copy of the whole notification
}

// identityOf returns the identity of an event of a business that was parsed from body.
func identityOf(event Event, business chats.BusinessID, body []byte) identity {
	id := event.identity()
	id.business = business
	if !id.isUnique() {
		id.body = sha256.Sum256(body)
	}
	return id
}

func (e Ping) identity() identity  { return identity{kind: string(notification.TypePing)} }
func (e Other) identity() identity { return identity{kind: e.Type} }

func (e ChatCreated) identity() identity {
	return chatIdentity(notification.TypeChatCreated, e.Business, e.Chat, e.At)
}

func (e MessageSent) identity() identity {
	id := chatIdentity(notification.TypeChatMessageSent, e.Business, e.Chat, time.Time{}) // two may have the same time
	id.message = e.Message
	return id
}

func (e ArbitrageStarted) identity() identity {
	return chatIdentity(notification.TypeChatArbitrageStarted, e.Business, e.Chat, e.At)
}

func (e ArbitrageFinished) identity() identity {
	return chatIdentity(notification.TypeChatArbitrageFinished, e.Business, e.Chat, e.At)
}
