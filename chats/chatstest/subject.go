package chatstest

import "github.com/ymchats/ymchats-go/chats"

// identifier is the wire form of a subject in requests.
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

// identity removes what does not distinguish subjects: the order of a return.
func identity(s chats.Subject) chats.Subject {
	if s.Kind == chats.SubjectReturn {
		return chats.AboutReturn(s.Return)
	}
	return s
}
