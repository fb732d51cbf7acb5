package outbox

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/ymchats/ymchats-go/chats"
)

// Failure is the reason why an item has not been posted, or why its outcome is unknown.
type Failure struct { //nolint:errname // mainly part of an item's state
	Reason     string
	StatusCode int            // of the server's response; 0 if there was none
	Details    []chats.Detail // the server's reasons
}

func (f *Failure) Error() string { return f.Reason }

// maxReason is the maximum length of a reason, in bytes.
const maxReason = 2000

func newFailure(err error) *Failure {
	f := &Failure{Reason: shortened(err.Error())}
	var e *chats.Error
	if errors.As(err, &e) {
		f.StatusCode, f.Details = e.StatusCode, e.Details
	}
	return f
}

func shortened(text string) string {
	if len(text) > maxReason {
		text = text[:maxReason]
	}
	return strings.ToValidUTF8(text, "")
}

// isDoubtful reports whether a refusal may come from a gateway or be temporary, because it is
// for the history or has no API error code.
func isDoubtful(e *chats.Error) bool {
	if e == nil {
		return false
	}
	hasCode := slices.ContainsFunc(e.Details, func(d chats.Detail) bool { return d.Code != "" })
	return e.Operation == chats.OpGetChatHistory || !hasCode
}

// isRefusal reports whether the server, or this library, has refused the request itself.
func isRefusal(e *chats.Error, err error) bool {
	switch {
	case errors.Is(err, chats.ErrInvalidArgument):
		return true
	case e == nil || errors.Is(err, chats.ErrProtocol):
		return false
	default:
		return e.StatusCode/100 == 4 && e.StatusCode != http.StatusRequestTimeout && e.StatusCode != 499 || e.StatusCode/100 == 2
	}
}
