package chats

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The sentinels, for errors.Is. One error may be several of them: a 503 to a
// send is both ErrServer and ErrOutcomeUnknown.
var (
	// ErrInvalidArgument: refused by the library before anything was sent. The
	// error is an [ArgumentError]. A 400 from the server is not this one.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrUnauthorized: 401. The key is missing, malformed, unknown or revoked.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden: 403. A scope is missing, the business is another one, the API
	// is switched off for it, or an OAuth token is wrong or has expired.
	ErrForbidden = errors.New("forbidden")
	// ErrNotFound: 404. There is no such chat, message, order or return.
	ErrNotFound = errors.New("not found")
	// ErrRateLimited: 420 (or 429), or refused locally because the hour's
	// allowance is known to be used up. [Error.Limit] says until when.
	ErrRateLimited = errors.New("rate limited")
	// ErrServer: 5xx.
	ErrServer = errors.New("server error")
	// ErrProtocol: the answer breaks the contract: not JSON, cut off, too large,
	// without its result, or a listing without an end.
	ErrProtocol = errors.New("answer breaks the contract")
	// ErrOutcomeUnknown: a message or file was sent, and whether it was posted is
	// not known. Read the history before sending it again, or use
	// [Client.SendTextConfirmed], which does so.
	ErrOutcomeUnknown = errors.New("outcome unknown")
)

// ArgumentError is an argument that breaks a rule. Nothing was sent. It is
// [ErrInvalidArgument].
type ArgumentError struct {
	Package string // the package whose function was called: "chats", "inbox", "notify"
	Field   string // the parameter, as the signature names it
	Reason  string // the rule it breaks
}

func (e *ArgumentError) Error() string { return e.Package + ": " + e.Field + ": " + e.Reason }

// Is makes every ArgumentError an [ErrInvalidArgument].
func (e *ArgumentError) Is(target error) bool { return target == ErrInvalidArgument }

func badArgument(field, format string, args ...any) error {
	return &ArgumentError{Package: "chats", Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Detail is one reason of a failure, as the server gave it, without control
// characters and cut to 512 characters. Code is empty where the server sent mere
// text.
type Detail struct{ Code, Message string }

// Error is a call that failed: by its status where there was an answer, by its
// cause where there was none. Match it by errors.Is on the sentinels.
type Error struct {
	Operation   Operation
	StatusCode  int // 0 when no answer came
	Details     []Detail
	Attempts    int    // requests made; 0 when refused locally
	Limit       *Limit // of a 420, or of a local refusal
	TraceParent string // of the last answer; the vendor's support asks for it

	kinds []error // sentinels beyond the one of the status
	cause error
}

// Unwrap gives errors.Is and errors.As the sentinels and the cause.
func (e *Error) Unwrap() []error {
	all := append([]error(nil), e.kinds...)
	if kind := sentinelOf(e.StatusCode); kind != nil {
		all = append(all, kind)
	}
	if e.cause != nil {
		all = append(all, e.cause)
	}
	return all
}

func sentinelOf(status int) error {
	switch {
	case status == 401:
		return ErrUnauthorized
	case status == 403:
		return ErrForbidden
	case status == 404:
		return ErrNotFound
	case isRateLimited(status):
		return ErrRateLimited
	case status >= 500:
		return ErrServer
	}
	return nil
}

// Error says what happened and what to do next.
func (e *Error) Error() string {
	parts := []string{"chats: " + string(e.Operation)}
	if e.StatusCode != 0 {
		parts = append(parts, strconv.Itoa(e.StatusCode))
	}
	parts = append(parts, e.reason())
	text := strings.Join(parts, ": ")
	if errors.Is(e, ErrOutcomeUnknown) {
		text += "; whether it was posted is unknown: read the history before sending it again"
	}
	return text
}

// advice is for the statuses that a person has to do something about.
var advice = map[error]string{
	ErrUnauthorized: "the credential is missing, malformed or revoked: make a new key in the seller's cabinet",
	ErrForbidden:    "the credential does not open this: check its scopes and its business, and whether the token has expired",
}

func (e *Error) reason() string {
	var parts []string
	if e.Limit != nil {
		parts = append(parts, e.Limit.describe())
	} else if text, ok := advice[sentinelOf(e.StatusCode)]; ok {
		parts = append(parts, text)
	}
	for _, d := range e.Details {
		parts = append(parts, d.String())
	}
	if e.cause != nil {
		parts = append(parts, e.cause.Error())
	}
	if len(parts) == 0 {
		return "the server gave no reason"
	}
	return strings.Join(parts, "; ")
}

func (d Detail) String() string {
	if d.Code == "" || d.Message == "" {
		return d.Code + d.Message
	}
	return d.Code + ": " + d.Message
}
