package chats

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/ymchats/ymchats-go/chats/internal/callerctx"
	"github.com/ymchats/ymchats-go/chats/internal/envelope"
)

// err returns the error of an attempt that received a response, or nil if the attempt
// succeeded.
func (r *response) err() *Error {
	if r.ok() && r.decodeErr == nil {
		return nil
	}
	e := &Error{
		Business:    r.business,
		Operation:   r.op,
		StatusCode:  r.status,
		Details:     r.details(),
		Attempts:    r.attempts,
		TraceParent: r.secrets.Sanitize(r.header.Get("Traceparent")),
		cause:       r.stopReason,
	}
	if isRateLimited(r.status) {
		limit := r.limit
		e.Limit = &limit
	}
	e.applyRefusal()
	switch {
	case r.ok():
		e.classify2xx(r)
	case r.isGatewayNotFound():
		e.kinds = append(e.kinds, ErrProtocol)
		e.cause = joinCause(errNotTheAPI, e.cause)
	case r.status/100 == 3 && r.op != OpDownload:
		e.cause = joinCause(errRedirect, e.cause)
	case r.status < 200:
		e.kinds = append(e.kinds, ErrProtocol)
	}
	if !r.rule.repeatable && r.outcomeUnknown(e) {
		e.setOutcomeUnknown()
	}
	return e
}

// classify2xx classifies a 2xx that is an error. If the status is ERROR and there are details,
// they describe the error. Everything else, including ERROR without details, is a protocol
// error; details taken from a body that is not an envelope are dropped.
func (e *Error) classify2xx(r *response) {
	if r.decodeErr == envelope.ErrStatus && len(e.Details) > 0 { //nolint:errorlint // Decode returns it unwrapped
		return
	}
	e.kinds = append(e.kinds, ErrProtocol)
	e.cause = joinCause(r.decodeErr, e.cause)
	if r.decodeErr != envelope.ErrErrors { //nolint:errorlint // as above
		e.Details = nil
	}
}

// errNotTheAPI is the cause of an [Error] for a 404 from a gateway.
var errNotTheAPI = errors.New("the response comes from a gateway, not from the API")

// errRedirect is the cause of an [Error] for a 3xx.
var errRedirect = errors.New("redirects are not followed: check the base URL, and the proxies before it")

// outcomeUnknown reports whether a send with this response may have been posted. A 4xx, or
// an error in a 2xx, from the API means that it was not. A redirect may follow a send that
// was processed, and a gateway's response or a status below 200 is inconclusive.
func (r *response) outcomeUnknown(e *Error) bool {
	doubtful := errors.Is(e, ErrProtocol) || r.status/100 == 3 || r.status >= 500 || isTimeoutStatus(r.status)
	return doubtful && (r.ok() || !r.unsent)
}

// isTimeoutStatus reports whether the server gave up on a request instead of rejecting it.
func isTimeoutStatus(status int) bool { return status == http.StatusRequestTimeout || status == 499 }

// applyRefusal moves a quotaError from the cause to Limit, which describes it.
func (e *Error) applyRefusal() {
	var exhausted *quotaError
	if errors.As(e.cause, &exhausted) {
		e.Limit, e.kinds, e.cause = &exhausted.limit, append(e.kinds, ErrRateLimited), exhausted.cause
	}
}

// failure returns the *Error of a call without a response.
func (c *call) failure(ctx context.Context, err error) *Error {
	e := &Error{Business: c.business, Operation: c.op, Attempts: c.attempts, cause: callerctx.HideOthers(ctx, err)}
	e.applyRefusal()
	var failed *transportError
	if c.attempts > 0 && errors.As(err, &failed) && !c.rule.repeatable && !failed.unsent {
		e.setOutcomeUnknown()
	}
	e.addEnded(ctx)
	return e
}

// addEnded makes the error match ctx.Err() if the caller's context is done; net/http returns
// the cause of the context instead.
func (e *Error) addEnded(ctx context.Context) {
	if ended := callerctx.Err(ctx); ended != nil && !errors.Is(e, ended) {
		e.kinds = append(e.kinds, ended)
	}
}

// transportError is the error of an attempt without a response.
type transportError struct {
	err       error
	unsent    bool // the server cannot have processed the request
	permanent bool // a retry would not help: TLS is impossible, or the caller's reader failed
}

func (e *transportError) Error() string { return e.err.Error() }

func (e *transportError) Unwrap() error { return e.err }

// isTLSFailure reports whether TLS failed for a reason that a retry cannot change: the server
// does not speak TLS, or its certificate is not trusted.
func isTLSFailure(err error) bool {
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError // this one and the next two come from a caller's VerifyConnection
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var noTLS tls.RecordHeaderError
	return errors.As(err, &certificate) || errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid) ||
		errors.As(err, &noTLS) || errors.Is(err, http.ErrSchemeMismatch)
}

// withoutURL removes the method and address that net/http adds; an Error names the operation
// instead.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// quotaError is returned for an attempt that is not made because the hourly quota is
// known to be exhausted.
type quotaError struct {
	limit Limit
	// cause holds the last failure, if there was one, and the error that ended the wait for
	// the next window. It is nil if there is neither.
	cause error
}

func (e *quotaError) Error() string { return e.limit.describe() }

func (e *quotaError) Unwrap() error { return e.cause }

// joinCause returns the last failure together with the reason for not retrying. Either may
// be nil. A quotaError remains the outermost error.
func joinCause(last, stop error) error {
	var exhausted *quotaError
	switch {
	case last == nil || stop == nil:
		return cmp.Or(last, stop)
	case errors.As(stop, &exhausted):
		return &quotaError{exhausted.limit, joinCause(last, exhausted.cause)}
	}
	return fmt.Errorf("%w; %w", last, stop)
}
