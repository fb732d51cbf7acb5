package chats

import (
	"errors"
	"slices"

	"github.com/ymchats/ymchats-go/gen"
)

// Everything that crosses between the contract's types and the model crosses
// here. Only an id is indispensable: without it a chat or message could neither
// be told from another nor be asked for again. Whatever else is missing is zero.

var (
	errNoChatID    = errors.New("a chat without an id")
	errNoMessageID = errors.New("a message without an id")
	errNoChats     = errors.New("the answer has no list of chats")
	errNoMessages  = errors.New("the answer has no list of messages")
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
			continue // a null in the list, which the vendor's own example shows
		}
		all = append(all, File{Name: f.Name, URL: f.URL, Size: f.Size})
	}
	return all
}

// toList converts a list. Its T values are what the caller keeps: one allocation.
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

// checkList refuses a list that is not there, and any item of it that is no use.
func checkList[T any](list []T, absent error, check func(*T) error) error {
	if missing(list) {
		return absent
	}
	for i := range list {
		if err := check(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

func (f Filter) clone() Filter {
	f.Subjects, f.SubjectKinds = slices.Clone(f.Subjects), slices.Clone(f.SubjectKinds)
	f.Types, f.Statuses = slices.Clone(f.Types), slices.Clone(f.Statuses)
	return f
}

func (f *Filter) request() gen.GetChatsRequest {
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

// unique converts a filter's values and drops those given twice: the contract
// refuses them. Of no values it makes nil, which is left out of the request.
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

// missing tells an absent list from an empty one. encoding/json replaces a slice by
// an empty one for [], by nil for null, and leaves it as it was when it met none.
func missing[T any](list []T) bool { return list == nil || len(list) == 0 && cap(list) > 0 }
