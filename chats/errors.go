package chats

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sentinels for errors.Is. An error may match several of them: a 503 in response to a send
// matches both ErrServer and ErrOutcomeUnknown.
var (
	// ErrInvalidArgument is matched by every [ArgumentError], which is returned before any request
	// is sent. A 400 does not match it.
	ErrInvalidArgument = errors.New("invalid argument")
	// ErrUnauthorized is returned for 401: the key is missing, malformed, unknown or
	// revoked.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrForbidden is returned for 403: the key lacks a scope or belongs to another
	// business, the API is disabled for the business, or an OAuth token is invalid or has
	// expired.
	ErrForbidden = errors.New("forbidden")
	// ErrNotFound is returned for 404: there is no such chat, message, order, return or
	// file. In response to an API call, a 404 whose body is not in the API's format is assumed to come
	// from a gateway and matches [ErrProtocol] instead.
	ErrNotFound = errors.New("not found")
	// ErrRateLimited is returned for 420 and 429. It is also returned, without a request, if a call
	// would have to wait longer than RetryPolicy.MaxDelay for an hourly quota to reset, or for the
	// Retry-After of an earlier 429 to end. The Until field of [Error.Limit] says when calls are
	// possible again, or is zero if the server has not reported that.
	ErrRateLimited = errors.New("rate limited")
	// ErrServer is returned for 5xx.
	ErrServer = errors.New("server error")
	// ErrProtocol is returned if a response violates the API contract: a 2xx is not JSON, is truncated
	// or too large, lacks its result, reports an error without details, or is for a different chat or
	// message; a status is below 200; or a 404 comes from a gateway. It is also returned if History
	// finds a message out of order (see [Error.ResumeAfter]), if a listing does not end, or if
	// Download receives an unexpected 2xx, such as a 206.
	ErrProtocol = errors.New("response violates the API contract")
	// ErrOutcomeUnknown is returned if a message or file was sent and may have been posted. To
	// find out without posting twice, make the confirmed send below, where last is the ID of
	// the newest message that you had seen before the failed call, and failed is the [*Error]
	// of that call. The confirmed send may also be made by another process. If it fails in the
	// same way, repeat it with the SentAt of the new error. After a crash there is no error;
	// see [ConfirmResume].
	//
	//	message, err := client.SendTextConfirmed(ctx, id, text, ConfirmAfter(last), ConfirmResume(failed.SentAt))
	//	message, err := client.SendFileConfirmed(ctx, id, name, file, ConfirmAfter(last), ConfirmResume(failed.SentAt))
	//
	// If the error of a send matches neither ErrOutcomeUnknown nor [ErrUnconfirmed], it is certain
	// that nothing was posted. The only exception is a gateway that breaks the rule under Retries in
	// the package documentation: it sends a 403, for example, although it has passed the
	// request on.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrUnconfirmed is returned by [Client.SendTextConfirmed] and
	// [Client.SendFileConfirmed] if the server accepted the message, but the history does
	// not show it as it was sent, or could not be read. Do not send it again. To find out
	// what happened to it, read the history as follows, where last is the ID of the newest
	// message before the call:
	//
	//	for message, err := range client.History(ctx, id, last) { ... }
	ErrUnconfirmed = errors.New("accepted, but unconfirmed")
	// ErrAmbiguous is matched in addition to [ErrOutcomeUnknown] or [ErrUnconfirmed] in two cases. In
	// the first, the history shows a new message from the shop that may be the one that was sent, but
	// has different content or no readable ID. In the second, the history repeatedly lacks messages
	// from the shop that it has shown before, as the history of another chat would. A person has to
	// decide: calling the method again does not help unless the message itself has appeared in the
	// history by then.
	ErrAmbiguous = errors.New("the history has a possible match")
)

// ArgumentError reports an invalid argument. It is returned before any request is sent and
// matches [ErrInvalidArgument].
type ArgumentError struct {
	Package string // the package of the function called: "chats", "inbox", "notify" ...
	Field   string // the parameter
	Reason  string // the rule that it violates
}

func (e *ArgumentError) Error() string { return e.Package + ": " + e.Field + ": " + e.Reason }

// Is reports whether target is [ErrInvalidArgument].
func (e *ArgumentError) Is(target error) bool { return target == ErrInvalidArgument }

func badArgument(field, format string, args ...any) error {
	return &ArgumentError{Package: "chats", Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Detail is one reason for a failure, as reported by the server, without control characters
// and truncated to 512 characters. Code is empty if the server sent plain text.
type Detail struct{ Code, Message string }

// Error describes a failed call. StatusCode is set if the server responded. Match the error
// against the sentinels with errors.Is; Unwrap also returns the cause, if there is one.
type Error struct {
	Business    BusinessID
	Operation   Operation
	StatusCode  int // 0 if the server did not respond
	Details     []Detail
	Attempts    int    // number of requests made for Operation; for a confirmed send, only those that send the message; 0 if there were none
	Limit       *Limit // the limit that was reached, for ErrRateLimited; otherwise nil
	TraceParent string // of the last response; the vendor's support asks for it
	// SentAt is set if the error matches [ErrOutcomeUnknown] or [ErrUnconfirmed]: all
	// requests that may have posted the message had ended by then. Pass it to [ConfirmResume].
	SentAt time.Time
	// ResumeAfter is set if [Client.History] found a message after it had yielded messages with higher
	// IDs. It equals the since argument of that call. To get every message, read the history again
	// from there with the same Client.
	ResumeAfter *MessageID

	kinds      []error // sentinels in addition to that of the status
	cause      error
	isGateways bool // the response is a 4xx that is not the API's
}

// Unwrap returns the matching sentinels and the cause.
func (e *Error) Unwrap() []error {
	all := append([]error(nil), e.kinds...)
	// A 404 from a gateway says nothing about chats.
	if kind := sentinelOf(e.StatusCode); kind != nil && (kind != ErrNotFound || !slices.Contains(e.kinds, ErrProtocol)) { //nolint:errorlint // a sentinel itself
		all = append(all, kind)
	}
	if e.cause != nil {
		all = append(all, e.cause)
	}
	return all
}

// setOutcomeUnknown makes the error match [ErrOutcomeUnknown]. It sets SentAt to the current
// time, so call it as soon as the attempt has ended.
func (e *Error) setOutcomeUnknown() {
	e.kinds, e.SentAt = append(e.kinds, ErrOutcomeUnknown), time.Now()
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

// Error describes the failure and, if there is one, the remedy.
func (e *Error) Error() string {
	text := "chats: " + string(e.Operation) + ": "
	if e.StatusCode != 0 {
		text += strconv.Itoa(e.StatusCode) + ": "
	}
	text += e.reason()
	switch {
	case errors.Is(e, ErrOutcomeUnknown):
		text += "; it may have been posted: confirm it with ConfirmAfter and ConfirmResume instead of sending it again"
	case errors.Is(e, ErrUnconfirmed):
		text += "; the server accepted it: do not send it again"
	}
	return text
}

// advice holds the error texts for statuses that require action by a person.
var advice = map[error]string{
	ErrUnauthorized: "the credential is missing, malformed or revoked: create a new key in the seller's cabinet",
	ErrForbidden:    "the credential lacks access: check its scopes and its business, and whether the token has expired",
}

// downloadAdvice takes the place of advice for a download, which rarely carries the credential.
const downloadAdvice = "the link may have expired, or its host requires WithAttachmentAuth"

func (e *Error) reason() string {
	var parts []string
	if e.Limit != nil && (e.cause == nil || !strings.Contains(e.cause.Error(), e.Limit.describe())) {
		parts = append(parts, e.Limit.describe())
	} else if text, ok := advice[sentinelOf(e.StatusCode)]; ok && e.Operation != OpDownload {
		parts = append(parts, text)
	} else if ok {
		parts = append(parts, downloadAdvice)
	}
	for _, d := range e.Details {
		parts = append(parts, d.String())
	}
	if e.cause != nil {
		parts = append(parts, e.cause.Error())
	}
	return cmp.Or(strings.Join(parts, "; "), "the server gave no reason")
}

func (d Detail) String() string {
	if d.Code == "" || d.Message == "" {
		return d.Code + d.Message
	}
	return d.Code + ": " + d.Message
}
