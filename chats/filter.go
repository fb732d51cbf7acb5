package chats

import (
	"slices"

	"github.com/ymchats/ymchats-go/gen"
)

// Filter selects chats. The zero Filter matches every chat. A chat matches if it matches at
// least one value of every field that is set. Whether Market accepts several fields at once is
// not documented. Duplicate values are sent once.
type Filter struct {
	Subjects     []Subject     // made by AboutOrder or AboutReturn
	SubjectKinds []SubjectKind // for example all chats about orders
	Types        []ChatType
	Statuses     []Status
	// PageSize is the number of chats per request, 1 to [MaxChatsPage]. The default is the
	// maximum. The Size of a [PageRequest] overrides it.
	PageSize int
}

// Matches reports whether the chat's current fields match the filter. A subject matches only the
// chat about exactly that order or return: a chat about a return also has an order, but does not
// match [AboutOrder] with the ID of that order.
func (f Filter) Matches(chat Chat) bool {
	isAbout := func(s Subject) bool { return fromSubject(s) == fromSubject(chat.Subject) }
	return (len(f.Subjects) == 0 || slices.ContainsFunc(f.Subjects, isAbout)) &&
		allows(f.SubjectKinds, chat.Subject.Kind) && allows(f.Types, chat.Type) && allows(f.Statuses, chat.Status)
}

func allows[T comparable](values []T, value T) bool {
	return len(values) == 0 || slices.Contains(values, value)
}

func (f Filter) clone() Filter {
	f.Subjects, f.SubjectKinds = slices.Clone(f.Subjects), slices.Clone(f.SubjectKinds)
	f.Types, f.Statuses = slices.Clone(f.Types), slices.Clone(f.Statuses)
	return f
}

func (f Filter) request() gen.GetChatsRequest {
	return gen.GetChatsRequest{
		Contexts:     unique(f.Subjects, fromSubject),
		ContextTypes: unique(f.SubjectKinds, func(k SubjectKind) gen.ChatContextType { return gen.ChatContextType(k) }),
		Types:        unique(f.Types, func(t ChatType) gen.ChatType { return gen.ChatType(t) }),
		Statuses:     unique(f.Statuses, func(s Status) gen.ChatStatus { return gen.ChatStatus(s) }),
	}
}

func fromSubject(s Subject) gen.ChatContext {
	id := int64(s.Order)
	if s.Kind == SubjectReturn {
		id = int64(s.Return)
	}
	return gen.ChatContext{Type: gen.IdentifiableContextType(s.Kind), ID: id}
}

// unique converts the values of a filter and drops duplicates, which the contract forbids. It
// returns nil if there are no values, so that the request omits the field.
func unique[T any, G comparable](values []T, convert func(T) G) []G {
	var all []G
	seen := make(map[G]bool, len(values))
	for _, v := range values {
		if g := convert(v); !seen[g] {
			seen[g] = true
			all = append(all, g)
		}
	}
	return all
}
