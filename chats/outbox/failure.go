package outbox

import (
	"errors"
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

func (f *Failure) clone() *Failure {
	return &Failure{f.Reason, f.StatusCode, slices.Clone(f.Details)}
}

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
