package inbox

import (
	"slices"

	"github.com/ymchats/ymchats-go/chats"
)

// matches reports whether a chat matches the filter, as the server decides it in a list.
func matches(f *chats.Filter, c *chats.Chat) bool {
	about := func(s chats.Subject) bool { return sameSubject(s, c.Subject) }
	return (len(f.Subjects) == 0 || slices.ContainsFunc(f.Subjects, about)) &&
		allows(f.SubjectKinds, c.Subject.Kind) && allows(f.Types, c.Type) && allows(f.Statuses, c.Status)
}

func allows[T comparable](list []T, value T) bool {
	return len(list) == 0 || slices.Contains(list, value)
}

// sameSubject compares returns by their own number: a chat about a return names its order
// too, which a filter does not.
func sameSubject(a, b chats.Subject) bool {
	if a.Kind != b.Kind {
		return false
	}
	if a.Kind == chats.SubjectReturn {
		return a.Return == b.Return
	}
	return a.Order == b.Order
}

// dependsOnState reports whether a chat may match now and not a moment later.
func dependsOnState(f *chats.Filter) bool { return len(f.Statuses) > 0 || len(f.Types) > 0 }
