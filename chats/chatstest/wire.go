package chatstest

import (
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// These types deliberately duplicate the library's: a Market built on the library's own
// types would share its mistakes.

type wireContext struct {
	Type     chats.SubjectKind `json:"type"`
	Order    chats.OrderID     `json:"orderId,omitzero"`
	Return   chats.ReturnID    `json:"returnId,omitzero"`
	Campaign chats.CampaignID  `json:"campaignId,omitzero"`
	Customer wireCustomer      `json:"customer,omitzero"`
}

type wireCustomer struct {
	Name     string `json:"name,omitzero"`
	PublicID string `json:"publicId,omitzero"`
}

type wireChat struct {
	ID        chats.ChatID   `json:"chatId"`
	Order     chats.OrderID  `json:"orderId,omitzero"`
	Context   wireContext    `json:"context"`
	Type      chats.ChatType `json:"type"`
	Status    chats.Status   `json:"status"`
	CreatedAt time.Time      `json:"createdAt"`
	UpdatedAt time.Time      `json:"updatedAt"`
}

type wireMessage struct {
	ID        chats.MessageID `json:"messageId"`
	CreatedAt time.Time       `json:"createdAt"`
	Sender    chats.Sender    `json:"sender"`
	Text      string          `json:"message,omitzero"`
	Files     []wireFile      `json:"payload,omitempty"`
}

type wireFile struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	URL  string `json:"url"`
}

type wirePaging struct {
	Next string `json:"nextPageToken,omitzero"`
}

type chatsResult struct {
	Chats  []wireChat `json:"chats"`
	Paging wirePaging `json:"paging,omitzero"`
}

type historyResult struct {
	Order    chats.OrderID `json:"orderId,omitzero"`
	Context  wireContext   `json:"context"`
	Messages []wireMessage `json:"messages"`
	Paging   wirePaging    `json:"paging,omitzero"`
}

type createdResult struct {
	Chat chats.ChatID `json:"chatId"`
}

func (s settings) wireChat(c chats.Chat) wireChat {
	c = s.renderChat(c)
	return wireChat{
		ID: c.ID, Order: s.legacyOrder(c), Context: wireContextOf(c), Type: c.Type, Status: c.Status,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
}

// legacyOrder is the order ID outside the context, which the vendor has switched off.
func (s settings) legacyOrder(c chats.Chat) chats.OrderID {
	if !s.legacyOrderIDs {
		return 0
	}
	return c.Subject.Order
}

func wireContextOf(c chats.Chat) wireContext {
	return wireContext{
		Type: c.Subject.Kind, Order: c.Subject.Order, Return: c.Subject.Return, Campaign: c.Campaign,
		Customer: wireCustomer(c.Customer),
	}
}

func (s settings) wireMessage(m chats.Message) wireMessage {
	w := wireMessage{ID: m.ID, CreatedAt: s.renderTime(m.CreatedAt), Sender: m.Sender, Text: m.Text}
	for _, f := range m.Files {
		w.Files = append(w.Files, wireFile{Name: f.Name, Size: f.Size, URL: f.URL})
	}
	return w
}

// renderChat returns a chat with its times as clients read them.
func (s settings) renderChat(c chats.Chat) chats.Chat {
	c.CreatedAt, c.UpdatedAt = s.renderTime(c.CreatedAt), s.renderTime(c.UpdatedAt)
	return c
}

// renderTime returns a time as a client reads it: in Moscow time, as in the vendor's
// examples. It parses the formatted time so that its location is the one that a client
// gets, and Market.Messages equals what a client reads on every machine.
func (s settings) renderTime(t time.Time) time.Time {
	if !s.preciseTimes {
		t = t.Truncate(time.Second)
	}
	text := t.In(time.FixedZone("", 3*60*60)).Format(time.RFC3339Nano)
	read, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic("chatstest: " + err.Error()) // a year after 9999
	}
	return read
}
