package chats

import "github.com/ymchats/ymchats-go/gen"

// Enums are open: Market may add values at any time. Unknown values are passed through
// unchanged; Known reports whether a value is defined here.
type (
	// ChatType is the type of a chat: a conversation or a dispute.
	ChatType string
	// Status is the status of a chat: it says who has to act next.
	Status string
	// Sender is the author of a message.
	Sender string
	// SubjectKind is the kind of thing that a chat is about.
	SubjectKind string
)

// Known types of chats.
const (
	ChatTypeChat      = ChatType(gen.ChatTypeChat)      // a conversation with the customer
	ChatTypeArbitrage = ChatType(gen.ChatTypeArbitrage) // a dispute with an arbiter from Market
)

// Known statuses.
const (
	StatusNew                = Status(gen.ChatStatusNew)                // has no messages yet
	StatusWaitingForCustomer = Status(gen.ChatStatusWaitingForCustomer) // waiting for a message from the customer
	StatusWaitingForPartner  = Status(gen.ChatStatusWaitingForPartner)  // waiting for a message from the shop
	StatusWaitingForArbiter  = Status(gen.ChatStatusWaitingForArbiter)  // waiting for a message from the arbiter
	StatusWaitingForMarket   = Status(gen.ChatStatusWaitingForMarket)   // waiting for a message from Market
	StatusFinished           = Status(gen.ChatStatusFinished)           // closed: it accepts no messages
)

// Known senders.
const (
	SenderPartner  = Sender(gen.SenderPartner)  // the shop
	SenderCustomer = Sender(gen.SenderCustomer) // the customer
	SenderMarket   = Sender(gen.SenderMarket)   // an automatic message
	SenderSupport  = Sender(gen.SenderSupport)  // an agent of Market's support
)

// Known kinds of subjects.
const (
	SubjectOrder  = SubjectKind(gen.ChatContextTypeOrder)
	SubjectReturn = SubjectKind(gen.ChatContextTypeReturn)
	SubjectDirect = SubjectKind(gen.ChatContextTypeDirect) // started by the customer; the shop cannot open such a chat
)

// Known reports whether the API contract of this version of the library defines the value.
func (t ChatType) Known() bool { return gen.ChatType(t).Valid() }

// Known reports whether the API contract of this version of the library defines the value.
func (s Status) Known() bool { return gen.ChatStatus(s).Valid() }

// Known reports whether the API contract of this version of the library defines the value.
func (s Sender) Known() bool { return gen.Sender(s).Valid() }

// Known reports whether the API contract of this version of the library defines the value.
func (k SubjectKind) Known() bool { return gen.ChatContextType(k).Valid() }
