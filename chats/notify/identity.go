package notify

import (
	"crypto/sha256"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/gen/notification"
)

// identity is equal for two copies of one event. It is also what the log says about it.
type identity struct {
	kind     string
	business chats.BusinessID // of an Other, too
	chat     chats.ChatID
	message  chats.MessageID
	at       time.Time         // in UTC, so that == compares instants; zero for a message
	body     [sha256.Size]byte // set if the rest is not unique
}

// isUnique reports whether the fields of the chat identify the event uniquely.
func (id identity) isUnique() bool { return id.message != 0 || !id.at.IsZero() }

func chatIdentity(kind notification.Type, business chats.BusinessID, chat chats.ChatID, at time.Time) identity {
	return identity{kind: string(kind), business: business, chat: chat, at: at.UTC()}
}
