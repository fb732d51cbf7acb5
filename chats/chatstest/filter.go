package chatstest

import (
	"slices"

	"github.com/ymchats/ymchats-go/chats"
)

// filter is the body of getChats. A field that is nil was absent or null.
type filter struct {
	Orders   []chats.OrderID     `json:"orderIds"`
	Contexts []identifier        `json:"contexts"`
	Kinds    []chats.SubjectKind `json:"contextTypes"`
	Types    []chats.ChatType    `json:"types"`
	Statuses []chats.Status      `json:"statuses"`
}

// identifier is an order or a return by its number.
type identifier struct {
	Type chats.SubjectKind `json:"type"`
	ID   int64             `json:"id"`
}

func (i identifier) check() *problem {
	if i.Type != chats.SubjectOrder && i.Type != chats.SubjectReturn {
		return badRequest("Field 'context.type' must be ORDER or RETURN: '%s'", i.Type)
	}
	if i.ID < 1 {
		return badRequest("Field 'context.id' must be above 0")
	}
	return nil
}

func (i identifier) subject() chats.Subject {
	if i.Type == chats.SubjectReturn {
		return chats.AboutReturn(chats.ReturnID(i.ID))
	}
	return chats.AboutOrder(chats.OrderID(i.ID))
}

// identity is what tells one subject from another: the order of a return does not.
func identity(s chats.Subject) chats.Subject {
	if s.Kind == chats.SubjectReturn {
		return chats.AboutReturn(s.Return)
	}
	return s
}

func (f filter) check() *problem {
	for _, context := range f.Contexts {
		if p := context.check(); p != nil {
			return p
		}
	}
	for _, p := range []*problem{
		checkList("orderIds", f.Orders, func(chats.OrderID) bool { return true }),
		checkList("contexts", f.Contexts, func(identifier) bool { return true }),
		checkList("contextTypes", f.Kinds, chats.SubjectKind.Known),
		checkList("types", f.Types, chats.ChatType.Known),
		checkList("statuses", f.Statuses, chats.Status.Known),
	} {
		if p != nil {
			return p
		}
	}
	return nil
}

func checkList[T comparable](name string, list []T, known func(T) bool) *problem {
	if list != nil && len(list) == 0 {
		return badRequest("Field '%s' must not be empty", name)
	}
	for i, value := range list {
		if !known(value) {
			return badRequest("Field '%s' has an unknown value: '%v'", name, value)
		}
		if slices.Contains(list[:i], value) {
			return badRequest("Field '%s' has a value twice: '%v'", name, value)
		}
	}
	return nil
}

// of is those chats of a list that match.
func (f filter) of(list []*chat) []*chat {
	if f.Orders == nil && f.Contexts == nil && f.Kinds == nil && f.Types == nil && f.Statuses == nil {
		return list
	}
	var matching []*chat
	for _, c := range list {
		if f.matches(c.Chat) {
			matching = append(matching, c)
		}
	}
	return matching
}

func (f filter) matches(c chats.Chat) bool {
	return allows(f.Orders, c.Subject.Order) &&
		(f.Contexts == nil || slices.ContainsFunc(f.Contexts, func(i identifier) bool {
			return i.subject() == identity(c.Subject)
		})) &&
		allows(f.Kinds, c.Subject.Kind) &&
		allows(f.Types, c.Type) &&
		allows(f.Statuses, c.Status)
}

func allows[T comparable](list []T, value T) bool {
	return list == nil || slices.Contains(list, value)
}
