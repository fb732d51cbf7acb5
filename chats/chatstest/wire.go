package chatstest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// The shapes of the contract, written a second time on purpose: a Market on the
// library's own types would share their mistakes.

type envelope struct {
	Status string  `json:"status"`
	Result any     `json:"result,omitempty"`
	Errors []trait `json:"errors,omitempty"`
}

type trait struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

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
	return wireChat{
		ID: c.ID, Order: c.Subject.Order, Context: contextOf(c), Type: c.Type, Status: c.Status,
		CreatedAt: s.stamp(c.CreatedAt), UpdatedAt: s.stamp(c.UpdatedAt),
	}
}

func contextOf(c chats.Chat) wireContext {
	return wireContext{
		Type: c.Subject.Kind, Order: c.Subject.Order, Return: c.Subject.Return, Campaign: c.Campaign,
		Customer: wireCustomer(c.Customer),
	}
}

func (s settings) wireMessage(m chats.Message) wireMessage {
	w := wireMessage{ID: m.ID, CreatedAt: s.stamp(m.CreatedAt), Sender: m.Sender, Text: m.Text}
	for _, f := range m.Files {
		w.Files = append(w.Files, wireFile{Name: f.Name, Size: f.Size, URL: f.URL})
	}
	return w
}

// stamp is a time as it reaches a client: in whole seconds unless told
// otherwise, of Moscow as in the vendor's examples. It goes through its text and
// so takes the zone that a reader of the text would give it: what [Market.Messages]
// tells equals what a client reads, on whichever machine.
func (s settings) stamp(t time.Time) time.Time {
	if !s.preciseTimes {
		t = t.Truncate(time.Second)
	}
	text := t.In(time.FixedZone("", 3*60*60)).Format(time.RFC3339Nano)
	read, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic("chatstest: " + err.Error()) // a year beyond 9999
	}
	return read
}

// reply is an answer and the way it travels.
type reply struct {
	status int
	header http.Header
	body   []byte

	dropped bool          // the connection ends instead
	wait    time.Duration // before the header
	pause   time.Duration // in the middle of the body
	cut     bool          // the connection ends after keep bytes of the body
	keep    int
	endless bool
}

func jsonReply(status int, body envelope) reply {
	text, err := json.Marshal(body)
	if err != nil {
		panic("chatstest: " + err.Error()) // only a time beyond the year 9999 could
	}
	return plainReply(status, "application/json", text)
}

func plainReply(status int, contentType string, body []byte) reply {
	return reply{
		status: status,
		header: http.Header{
			"Content-Type":   {contentType},
			"Content-Length": {strconv.Itoa(len(body))},
		},
		body: body,
	}
}

// problem is a refusal. The nil problem is none.
type problem struct {
	status  int
	code    string
	message string
}

func (p *problem) reply() reply {
	return jsonReply(p.status, envelope{Status: "ERROR", Errors: []trait{{p.code, p.message}}})
}
