package chats

import (
	"errors"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/httpbody"
	"github.com/ymchats/ymchats-go/gen"
)

// This file converts between the types of the contract and the model. Only the ID of a chat or
// message is required, because an item without one can be neither identified nor requested
// again. Any other field that is missing is zero.

var (
	errNoChatID    = errors.New("response has a chat without an ID")
	errNoMessageID = errors.New("response has a message without an ID")
	errNoChats     = errors.New("response has no list of chats")
	errNoMessages  = errors.New("response has no list of messages")
	errAnotherItem = errors.New("response has another chat or message than the one requested")
)

// only returns a function that converts an item and rejects it if it is not the one requested. A
// cache between the program and Market may ignore the query of a request, which names the item.
func only[G, T any](convert func(*G) (T, error), requested func(T) bool) func(*G) (T, error) {
	return func(received *G) (T, error) {
		item, err := convert(received)
		if err == nil && !requested(item) {
			err = errAnotherItem
		}
		return item, err
	}
}

func toChat(c *gen.Chat) (Chat, error) {
	if c.ChatID < 1 {
		return Chat{}, errNoChatID
	}
	return Chat{
		ID:        ChatID(c.ChatID),
		Type:      ChatType(c.Type),
		Status:    Status(c.Status),
		Subject:   Subject{SubjectKind(c.Context.Type), OrderID(c.Context.OrderID), ReturnID(c.Context.ReturnID)},
		Customer:  Customer{Name: c.Context.Customer.Name, PublicID: c.Context.Customer.PublicID},
		Campaign:  CampaignID(c.Context.CampaignID),
		CreatedAt: toTime(c.CreatedAt),
		UpdatedAt: toTime(c.UpdatedAt),
	}, nil
}

// toMessage returns the readable part of a message even if it returns an error.
func toMessage(m *gen.Message) (Message, error) {
	message := Message{
		ID:        MessageID(m.MessageID),
		Sender:    Sender(m.Sender),
		Text:      m.Text,
		Files:     toFiles(m.Files),
		CreatedAt: toTime(m.CreatedAt),
	}
	if message.ID < 1 {
		return message, errNoMessageID
	}
	return message, nil
}

// toTime returns the zero time for a time that encoding/json can read but refuses to write.
func toTime(t time.Time) time.Time {
	if _, offset := t.Zone(); offset <= -24*60*60 || offset >= 24*60*60 {
		return time.Time{}
	}
	return t
}

func toFiles(files []gen.File) []File {
	var all []File
	for _, f := range files {
		if f == (gen.File{}) {
			continue // a null in the list, as in an example in the API documentation
		}
		all = append(all, File{Name: f.Name, URL: f.URL, Size: f.Size})
	}
	return all
}

// readList converts the items of a page in one allocation. It skips items that convert
// rejects. It fails if there is no list, or if the list is several times as long as requested.
func readList[G, T any](list []G, size int, absent error, convert func(*G) (T, error)) (items, skipped []T, err error) {
	switch {
	case missing(list):
		return nil, nil, absent
	case len(list) > max(4*size, MaxHistoryPage):
		return nil, nil, httpbody.ErrTooManyItems
	}
	items = make([]T, 0, len(list))
	for i := range list {
		item, err := convert(&list[i])
		if err != nil {
			skipped = append(skipped, item)
			continue
		}
		items = append(items, item)
	}
	return items, skipped, nil
}

// missing reports whether a decoded list was absent or null. encoding/json sets a slice to
// an empty one for [] and to nil for null, and leaves it unchanged if the list is absent.
func missing[T any](list []T) bool { return list == nil || len(list) == 0 && cap(list) > 0 }
