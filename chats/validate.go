package chats

import (
	"cmp"
	"slices"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats/internal/msgtext"
	"github.com/ymchats/ymchats-go/chats/internal/upload"
)

// The limits of the API contract.
const (
	MaxChatsPage   = 20      // chats per page
	MaxHistoryPage = 100     // messages per page
	MaxTextLength  = 4096    // characters (not bytes) per message
	MaxFileSize    = 5 << 20 // bytes per file
)

// maxRequestBody is the documented maximum size of a request without a file, in bytes.
const maxRequestBody = 512 << 10

// These checks run before anything is sent. They return an [ArgumentError].

func checkID[T ~int64](field string, id T) error {
	if id < 1 {
		return badArgument(field, "%d, must be greater than 0", int64(id))
	}
	return nil
}

// checkSince accepts 0, the beginning of a chat.
func checkSince(field string, id MessageID) error {
	if id < 0 {
		return badArgument(field, "%d, must not be negative; 0 is the beginning", int64(id))
	}
	return nil
}

func checkSize(field string, size, maximum int) error {
	if size < 0 || size > maximum {
		return badArgument(field, "%d, must be 1 to %d, or 0 for the maximum", size, maximum)
	}
	return nil
}

func checkText(text string) error {
	switch n := utf8.RuneCountInString(text); {
	case text == "":
		return badArgument("text", "is empty")
	case !utf8.ValidString(text):
		return badArgument("text", "is not valid UTF-8")
	case n > MaxTextLength:
		return badArgument("text", "%d characters, at most %d allowed", n, MaxTextLength)
	}
	return nil
}

// checkNotBlank rejects a text that could not be found in the history.
func checkNotBlank(text string) error {
	if msgtext.Normalize(text) == "" {
		return badArgument("text", "is blank and could not be confirmed")
	}
	return nil
}

// checkSubject accepts the subjects by which a chat can be opened or found.
func checkSubject(field string, s Subject) error {
	switch s.Kind {
	case SubjectOrder:
		return checkID(field+": order", s.Order)
	case SubjectReturn:
		return checkID(field+": return", s.Return)
	case SubjectDirect:
		return badArgument(field, "a DIRECT chat is started by the customer and has no order or return: use AboutOrder or AboutReturn")
	default:
		return badArgument(field, "kind %q: use AboutOrder or AboutReturn", string(s.Kind))
	}
}

func (f Filter) check() error {
	for _, s := range f.Subjects {
		if err := checkSubject("filter: subjects", s); err != nil {
			return err
		}
	}
	return cmp.Or(
		checkEnums("filter: subject kinds", f.SubjectKinds),
		checkEnums("filter: types", f.Types),
		checkEnums("filter: statuses", f.Statuses),
		checkSize("filter: page size", f.PageSize, MaxChatsPage),
	)
}

// checkEnums accepts unknown values, because Market may know them.
func checkEnums[T ~string](field string, values []T) error {
	if slices.Contains(values, "") {
		return badArgument(field, "has an empty value")
	}
	return nil
}

func checkFileName(name string) error {
	if reason := upload.CheckFileName(name); reason != "" {
		return badArgument("file name", "%s", reason)
	}
	return nil
}
