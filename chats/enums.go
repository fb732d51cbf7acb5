package chats

import "github.com/ymchats/ymchats-go/gen"

// The enumerations are open: Market adds words without notice, and a word that
// the library does not know reaches the caller as it came. Known tells them
// apart.
type (
	// ChatType tells a conversation from a dispute.
	ChatType string
	// Status tells who is to act next in a chat.
	Status string
	// Sender tells who wrote a message.
	Sender string
	// SubjectKind tells what a chat is about.
	SubjectKind string
)

// Known types of chats.
const (
	ChatTypeChat      = ChatType(gen.ChatTypeChat)      // with the buyer
	ChatTypeArbitrage = ChatType(gen.ChatTypeArbitrage) // a dispute, with an arbiter of Market
)

// Known statuses.
const (
	StatusNew                = Status(gen.ChatStatusNew)                // nobody has written yet
	StatusWaitingForCustomer = Status(gen.ChatStatusWaitingForCustomer) // the buyer is to answer
	StatusWaitingForPartner  = Status(gen.ChatStatusWaitingForPartner)  // the shop is to answer
	StatusWaitingForArbiter  = Status(gen.ChatStatusWaitingForArbiter)  // the arbiter is to answer
	StatusWaitingForMarket   = Status(gen.ChatStatusWaitingForMarket)   // Market is to answer
	StatusFinished           = Status(gen.ChatStatusFinished)           // closed; it takes no messages
)

// Known senders.
const (
	SenderPartner  = Sender(gen.SenderPartner)  // the shop
	SenderCustomer = Sender(gen.SenderCustomer) // the buyer
	SenderMarket   = Sender(gen.SenderMarket)   // an automatic message
	SenderSupport  = Sender(gen.SenderSupport)  // a person of Market's support
)

// Known kinds of subjects.
const (
	SubjectOrder  = SubjectKind(gen.ChatContextTypeOrder)
	SubjectReturn = SubjectKind(gen.ChatContextTypeReturn)
	SubjectDirect = SubjectKind(gen.ChatContextTypeDirect) // begun by the buyer, about no order; cannot be opened by the shop
)

// Known reports whether the contract this library was built from has the word.
func (t ChatType) Known() bool { return gen.ChatType(t).Valid() }

// Known reports whether the contract this library was built from has the word.
func (s Status) Known() bool { return gen.ChatStatus(s).Valid() }

// Known reports whether the contract this library was built from has the word.
func (s Sender) Known() bool { return gen.Sender(s).Valid() }

// Known reports whether the contract this library was built from has the word.
func (k SubjectKind) Known() bool { return gen.ChatContextType(k).Valid() }
