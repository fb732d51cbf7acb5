package inbox

import (
	"errors"
	"fmt"

	"github.com/ymchats/ymchats-go/chats"
)

// refused ends the run at a 401: Market does not take the credential.
func (s *session) refused(err error) bool {
	if !errors.Is(err, chats.ErrUnauthorized) {
		return false
	}
	s.refuse(err)
	return true
}

// mostForbidden is how many lists in a row may be answered 403 before that is final:
// half a minute of trying.
const mostForbidden = 6

// isForbidden ends the run at the last of several 403. One may pass: an OAuth token that
// has expired is exchanged by its source, and Market is known to answer some calls with
// a 403 now and then. What a single chat is answered says nothing of the credential.
func (w *sweeper) isForbidden(err error) bool {
	if !errors.Is(err, chats.ErrForbidden) {
		return false
	}
	if w.forbidden++; w.forbidden < mostForbidden {
		return false
	}
	w.s.refuse(err)
	return true
}

func (s *session) refuse(err error) {
	s.end(&finalError{fmt.Errorf("inbox: the credential is refused: %w", err)})
}

// finalError is what a run returns.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }
