package notify

import (
	"crypto/sha256"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/gen/notification"
)

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
	id := chatIdentity(notification.TypeChatMessageSent, e.Business, e.Chat, time.Time{}) // two messages may have the same time
	id.message = e.Message
	return id
}

func (e ArbitrageStarted) identity() identity {
	return chatIdentity(notification.TypeChatArbitrageStarted, e.Business, e.Chat, e.At)
}

func (e ArbitrageFinished) identity() identity {
	return chatIdentity(notification.TypeChatArbitrageFinished, e.Business, e.Chat, e.At)
}

func chatIdentity(kind notification.Type, business chats.BusinessID, chat chats.ChatID, at time.Time) identity {
	return identity{kind: string(kind), business: business, chat: chat, at: at.UTC()}
}
