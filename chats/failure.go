package chats

import (
	"context"
	"errors"
	"net/http"
	"net/url"
)

// failed is the answer as an error, or nil for a good one.
func (r *response) err() *Error {
	if r.ok() && r.decodeErr == nil {
		return nil
	}
	e := &Error{
		Operation:   r.op,
		StatusCode:  r.status,
		Details:     r.details(),
		Attempts:    r.attempts,
		TraceParent: r.sanitize(r.header.Get("Traceparent")),
		cause:       r.stopReason,
	}
	if isRateLimited(r.status) {
		limit := r.limit
		e.Limit = &limit
	}
	e.applyRefusal()
	if r.ok() {
		e.classify2xx(r)
	}
	if !r.rule.repeatable && r.outcomeUnknown(e) {
		e.kinds = append(e.kinds, ErrOutcomeUnknown)
	}
	return e
}

// classify2xx: a declared error is one by its details; anything else, and an ERROR
// without any, breaks the contract. Of a body that is not an envelope the text is
// of no use.
func (e *Error) classify2xx(r *response) {
	if r.decodeErr == errStatusError && len(e.Details) > 0 {
		return
	}
	e.kinds = append(e.kinds, ErrProtocol)
	e.cause = joinCause(r.decodeErr, e.cause)
	e.Details = nil
}

// leavesDoubt: whether a send that was answered so may have been posted.
func (r *response) outcomeUnknown(e *Error) bool {
	if r.ok() {
		return errors.Is(e, ErrProtocol)
	}
	return r.status >= 500 || isTimeoutStatus(r.status)
}

// isGivenUp: 408 and 499 speak of a request given up on, not of one refused.
func isTimeoutStatus(status int) bool { return status == http.StatusRequestTimeout || status == 499 }

// refused takes out of the cause that the hour is used up: Limit says so.
func (e *Error) applyRefusal() {
	var exhausted *quotaError
	if !errors.As(e.cause, &exhausted) {
		return
	}
	e.Limit, e.kinds = &exhausted.limit, append(e.kinds, ErrRateLimited)
	var stopped *stoppedError
	if errors.As(e.cause, &stopped) {
		e.cause = joinCause(stopped.last, exhausted.cause)
	} else {
		e.cause = exhausted.cause
	}
}

// failure makes an *Error of a call that has no answer.
func (c *call) failure(ctx context.Context, err error) *Error {
	e := &Error{Operation: c.op, Attempts: c.attempts, cause: err}
	e.applyRefusal()
	var broken *transportError
	if errors.As(err, &broken) && !c.rule.repeatable && !broken.unsent && !broken.permanent {
		e.kinds = append(e.kinds, ErrOutcomeUnknown)
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		// net/http gives the context's cause instead.
		e.kinds = append(e.kinds, ended)
	}
	return e
}

// transportError is an attempt that got no answer.
type transportError struct {
	err       error
	unsent    bool // certain: no byte of the request left
	permanent bool // the caller's own reader failed; nothing was posted, and no repeating would help
}

func (e *transportError) Error() string { return e.err.Error() }

func (e *transportError) Unwrap() error { return e.err }

// withoutURL takes the address off: an error names the operation instead.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// refusal is a call that was not made, for its hour is known to be used up.
type quotaError struct {
	limit Limit
	cause error // why it was not waited for, where it would have been
}

func (e *quotaError) Error() string { return e.limit.describe() }

// because is a failure and why nothing more was tried.
func joinCause(last, stop error) error {
	switch {
	case last == nil:
		return stop
	case stop == nil:
		return last
	}
	return &stoppedError{last: last, stop: stop}
}

type stoppedError struct{ last, stop error }

func (e *stoppedError) Error() string { return e.last.Error() + "; " + e.stop.Error() }

func (e *stoppedError) Unwrap() []error { return []error{e.last, e.stop} }
