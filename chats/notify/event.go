package notify

import (
	"encoding/json"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/gen/notification"
)

// Event is what Market tells: a [Ping], [ChatCreated], [MessageSent],
// [ArbitrageStarted], [ArbitrageFinished] or [Other].
type Event interface {
	identity() identity
}

// Ping tries whether the shop answers. The [Handler] answers it alone.
type Ping struct {
	At time.Time // zero where Market sent none
}

// ChatCreated tells of a new chat, of whatever kind.
type ChatCreated struct {
	Business chats.BusinessID
	Chat     chats.ChatID
	At       time.Time // when it began
}

// MessageSent tells of a new message in a chat of whatever kind. Stickers are not
// announced; whether the shop's own messages are is not documented.
type MessageSent struct {
	Business chats.BusinessID
	Chat     chats.ChatID
	Message  chats.MessageID
	At       time.Time // when it was posted
}

// ArbitrageStarted tells of a new dispute. Not sent for chats that the buyer
// began without an order ([chats.SubjectDirect]).
type ArbitrageStarted struct {
	Business chats.BusinessID
	Chat     chats.ChatID
	At       time.Time // when it began
}

// ArbitrageFinished tells of the end of a dispute. Not sent for chats that the
// buyer began without an order ([chats.SubjectDirect]).
type ArbitrageFinished struct {
	Business chats.BusinessID
	Chat     chats.ChatID
	At       time.Time // when it ended
}

// Other is an event of a type that this library does not describe: of an order, a
// review, a question, or one that Market added later.
type Other struct {
	Type string          // notificationType
	Raw  json.RawMessage // the whole notification, a copy
}

// identity is what two copies of one event have in common. An event without a
// chat has none of its own.
type identity struct {
	kind     string
	business chats.BusinessID
	chat     chats.ChatID
	message  chats.MessageID
	at       time.Time // in UTC, so that == compares instants; zero where there is a message
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
