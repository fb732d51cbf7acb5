package chats

import "time"

// IDs have distinct types, so that a message ID cannot be passed where a chat ID is expected.
// Valid IDs are greater than zero; zero means that there is none.
type (
	// BusinessID identifies a seller's account on Market, which the vendor calls a cabinet.
	// GET v2/campaigns of the Partner API returns it for every shop.
	BusinessID int64
	// CampaignID identifies one shop of a business.
	CampaignID int64
	// ChatID identifies a chat of a business. Do not take it from the chat's address in the cabinet,
	// which may contain another number; list the chats instead.
	ChatID int64
	// MessageID identifies a message within its chat. IDs appear to increase within a chat. Whether
	// messages of two chats may share an ID is not documented.
	MessageID int64
	// OrderID identifies an order.
	OrderID int64
	// ReturnID identifies a return of an order.
	ReturnID int64
)

// Chat is a conversation, without its messages.
type Chat struct {
	ID       ChatID
	Type     ChatType
	Status   Status
	Subject  Subject
	Customer Customer   // often empty
	Campaign CampaignID // the shop; 0 for SubjectDirect

	CreatedAt time.Time
	// UpdatedAt is the time of the chat's last message. In the vendor's examples it is in
	// whole seconds, so two messages may share a value.
	UpdatedAt time.Time
}

// Message is one message of a chat. It has a text, files or both; a sticker has neither.
type Message struct {
	ID        MessageID
	Sender    Sender
	Text      string
	Files     []File
	CreatedAt time.Time
}

// File is an attachment of a message. [Client.Download] opens it.
type File struct {
	Name string
	URL  string
	Size int64 // bytes
}

// Customer is the public profile of a customer.
type Customer struct {
	Name     string
	PublicID string
}

// Subject is what a chat is about; the API calls it context. In a Chat, Order is
// set for SubjectOrder, Order and Return for SubjectReturn, neither for SubjectDirect.
type Subject struct {
	Kind   SubjectKind
	Order  OrderID
	Return ReturnID
}

// AboutOrder returns the subject of a chat about an order, for [Client.OpenChat] and [Filter].
func AboutOrder(id OrderID) Subject { return Subject{Kind: SubjectOrder, Order: id} }

// AboutReturn returns the subject of a chat about a return, for [Client.OpenChat] and [Filter].
func AboutReturn(id ReturnID) Subject { return Subject{Kind: SubjectReturn, Return: id} }

// PageRequest selects one page. The zero PageRequest selects the first page, of the default size.
type PageRequest struct {
	Token string // Page.Next of the previous page
	Size  int    // number of items; 0 for Filter.PageSize or, without one, the maximum
}

// Page is one page of a list as the server sent it. Next is the token of the next page; it
// is empty on the last page. A page may have a Next even if it has no items.
type Page[T any] struct {
	Items []T
	Next  string
}
