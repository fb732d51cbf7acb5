package live

import (
	"cmp"
	"slices"

	"github.com/ymchats/ymchats-go/chats"
)

// The orders in which messages may be listed.
const (
	OldestFirst            = "oldest first"
	NewestFirst            = "newest first"
	NewestPageFirst        = "newest page first, each page oldest first"
	OldestPageNewestWithin = "oldest page first, each page newest first"
	NoOrder                = "in no order"
	TooFew                 = "unknown: too few"
)

// direction returns 1 if a list ascends, -1 if it descends, and 0 otherwise. known is false if
// the list is too short.
func direction[T any](list []T, compare func(a, b T) int) (dir int, known bool) {
	for i := 1; i < len(list); i++ {
		step := compare(list[i], list[i-1])
		switch {
		case step == 0:
		case known && dir != step:
			return 0, true
		default:
			dir, known = step, true
		}
	}
	return dir, known
}

// orderOf returns the order of two consecutive pages of messages.
func orderOf(first, second []chats.Message) string {
	within, knownWithin := direction(first, byID)
	if within2, known2 := direction(second, byID); known2 && within2 != within {
		return NoOrder
	}
	if !knownWithin || len(second) == 0 {
		return TooFew
	}
	across := 0
	switch {
	case slices.MinFunc(second, byID).ID > slices.MaxFunc(first, byID).ID:
		across = 1
	case slices.MaxFunc(second, byID).ID < slices.MinFunc(first, byID).ID:
		across = -1
	}
	switch [2]int{within, across} {
	case [2]int{1, 1}:
		return OldestFirst
	case [2]int{-1, -1}:
		return NewestFirst
	case [2]int{1, -1}:
		return NewestPageFirst
	case [2]int{-1, 1}:
		return OldestPageNewestWithin
	default:
		return NoOrder
	}
}

func byID(a, b chats.Message) int { return cmp.Compare(a.ID, b.ID) }

// orderOfChats returns the order of a list of chats and the field by which it is sorted.
func orderOfChats(list []chats.Chat) string {
	for _, by := range []struct {
		name    string
		compare func(a, b chats.Chat) int
	}{
		{"updatedAt", func(a, b chats.Chat) int { return a.UpdatedAt.Compare(b.UpdatedAt) }},
		{"createdAt", func(a, b chats.Chat) int { return a.CreatedAt.Compare(b.CreatedAt) }},
		{"id", func(a, b chats.Chat) int { return cmp.Compare(a.ID, b.ID) }},
	} {
		dir, known := direction(list, by.compare)
		switch {
		case !known:
			return TooFew
		case dir > 0:
			return OldestFirst + ", by " + by.name
		case dir < 0:
			return NewestFirst + ", by " + by.name
		}
	}
	return NoOrder
}
