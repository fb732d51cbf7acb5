package chats

import "time"

// The ids are types of their own, so that a message's id cannot pass for a
// chat's. All are greater than zero where they are known; zero means absent.
type (
	// BusinessID is a seller's cabinet: GET v2/campaigns of the Partner API
	// tells it for every shop.
	BusinessID int64
	// CampaignID is one shop of a business, as the API numbers it.
	CampaignID int64
	// ChatID is a chat within a business.
	ChatID int64
	// MessageID is a message within its chat. Ids grow within a chat; whether
	// two chats may share one is not documented.
	MessageID int64
	// OrderID is an order.
	OrderID int64
	// ReturnID is a return of an order.
	ReturnID int64
)

// Chat is a conversation, without its messages.
type Chat struct {
	ID       ChatID
	Type     ChatType
	Status   Status
	Subject  Subject
	Customer Customer   // what the buyer's public profile tells; often empty
	Campaign CampaignID // the shop; 0 for SubjectDirect

	CreatedAt time.Time
	// UpdatedAt is the time of the chat's last message. Whole seconds have been
	// seen, so two messages may share one value.
	UpdatedAt time.Time
}

// Message is one message of a chat. It has a text, files, both or, where the
// buyer sent a sticker, neither.
type Message struct {
	ID        MessageID
	Sender    Sender
	Text      string
	Files     []File
	CreatedAt time.Time
}

// File is an attachment. [Client.Download] opens it.
type File struct {
	Name string
	URL  string
	Size int64 // bytes
}

// Customer is a buyer, as far as the buyer's public profile tells.
type Customer struct {
	Name     string
	PublicID string
}

// Subject is what a chat is about; the API calls it the chat's context. An
// order has an Order, a return has both, a buyer's own question has neither.
type Subject struct {
	Kind   SubjectKind
	Order  OrderID
	Return ReturnID
}

// AboutOrder is the subject of an order's chat, for [Client.OpenChat] and [Filter].
func AboutOrder(id OrderID) Subject { return Subject{Kind: SubjectOrder, Order: id} }

// AboutReturn is the subject of a return's chat, for [Client.OpenChat] and [Filter].
func AboutReturn(id ReturnID) Subject { return Subject{Kind: SubjectReturn, Return: id} }

// Filter narrows a list of chats. The zero Filter matches every chat; a chat
// matches when it matches every field that is set. Whether Market accepts
// several of the fields at once is not documented. Values given twice are sent
// once.
type Filter struct {
	Subjects     []Subject     // SubjectOrder and SubjectReturn, by number
	SubjectKinds []SubjectKind // all chats about orders, say
	Types        []ChatType
	Statuses     []Status
	// PageSize is how many chats one request asks for: 1 to [MaxChatsPage], 0
	// for the maximum. A [PageRequest] with a size of its own overrides it.
	PageSize int
}

// PageRequest asks for one page. The zero PageRequest is the first page, of the
// largest size.
type PageRequest struct {
	Token string // Page.Next of the page before
	Size  int    // 0 for the maximum
}

// Page is one page of a list, as the server sent it. Next is the token of the
// following page and is empty on the last one. A page may be empty and still
// have a Next.
type Page[T any] struct {
	Items []T
	Next  string
}

// The bounds of the contract.
const (
	MaxChatsPage   = 20      // chats of one page
	MaxHistoryPage = 100     // messages of one page
	MaxTextLength  = 4096    // characters of a message, not bytes
	MaxFileSize    = 5 << 20 // bytes of a file
)
