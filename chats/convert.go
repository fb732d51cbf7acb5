package chats

import (
	"errors"

	"github.com/ymchats/ymchats-go/chats/internal/httpbody"
	"github.com/ymchats/ymchats-go/gen"
)

// This file converts between the types of the contract and the model. Only the id of a chat
// or message is required, because an item without one can be neither identified nor
// requested again. Everything else that is missing is zero.

var (
	errNoChatID    = errors.New("response has a chat without an id")
	errNoMessageID = errors.New("response has a message without an id")
	errNoChats     = errors.New("response has no list of chats")
	errNoMessages  = errors.New("response has no list of messages")
)

func toChat(c *gen.Chat) Chat {
	return Chat{
		ID:        ChatID(c.ChatID),
		Type:      ChatType(c.Type),
		Status:    Status(c.Status),
		Subject:   toSubject(&c.Context),
		Customer:  Customer{Name: c.Context.Customer.Name, PublicID: c.Context.Customer.PublicID},
		Campaign:  CampaignID(c.Context.CampaignID),
		CreatedAt: c.CreatedAt,
		UpdatedAt: c.UpdatedAt,
	}
}

func toSubject(c *gen.ChatFullContext) Subject {
	return Subject{Kind: SubjectKind(c.Type), Order: OrderID(c.OrderID), Return: ReturnID(c.ReturnID)}
}

func toMessage(m *gen.Message) Message {
	return Message{
		ID:        MessageID(m.MessageID),
		Sender:    Sender(m.Sender),
		Text:      m.Text,
		Files:     toFiles(m.Files),
		CreatedAt: m.CreatedAt,
	}
}

func toFiles(files []gen.File) []File {
	var all []File
	for _, f := range files {
		if f == (gen.File{}) {
			continue // a null in the list, as in an example of the API documentation
		}
		all = append(all, File{Name: f.Name, URL: f.URL, Size: f.Size})
	}
	return all
}

// toList converts a list in one allocation.
func toList[G, T any](list []G, convert func(*G) T) []T {
	all := make([]T, len(list))
	for i := range list {
		all[i] = convert(&list[i])
	}
	return all
}

func checkChat(c *gen.Chat) error {
	if c.ChatID < 1 {
		return errNoChatID
	}
	return nil
}

func checkMessage(m *gen.Message) error {
	if m.MessageID < 1 {
		return errNoMessageID
	}
	return nil
}

// keepReadable drops the items of a page that fail check and returns how many they were. It
// fails if there is no list, or one of several times the requested size.
func keepReadable[T any](list *[]T, size int, absent error, check func(*T) error) (skipped int, err error) {
	if missing(*list) {
		return 0, absent
	}
	items, n := *list, 0
	if len(items) > max(4*size, MaxHistoryPage) {
		return 0, httpbody.ErrTooManyItems
	}
	for i := range items {
		if check(&items[i]) == nil {
			items[n] = items[i]
			n++
		}
	}
	*list = items[:n]
	return len(items) - n, nil
}

// missing reports whether a decoded list was absent or null. encoding/json sets a slice to
// an empty one for [] and to nil for null, and leaves it unchanged if the list is absent.
func missing[T any](list []T) bool { return list == nil || len(list) == 0 && cap(list) > 0 }
