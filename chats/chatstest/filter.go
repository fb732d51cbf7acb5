package chatstest

import (
	"slices"

	"github.com/ymchats/ymchats-go/chats"
)

// filter is the body of getChats. A nil field was absent or null.
type filter struct {
	Orders   []chats.OrderID     `json:"orderIds"`
	Contexts []identifier        `json:"contexts"`
	Kinds    []chats.SubjectKind `json:"contextTypes"`
	Types    []chats.ChatType    `json:"types"`
	Statuses []chats.Status      `json:"statuses"`
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

func (f filter) isEmpty() bool {
	return f.Orders == nil && f.Contexts == nil && f.Kinds == nil && f.Types == nil && f.Statuses == nil
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
