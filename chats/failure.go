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
	"regexp"
	"slices"

	"github.com/ymchats/ymchats-go/chats/internal/callerctx"
	"github.com/ymchats/ymchats-go/chats/internal/envelope"
)

// err returns the error of an attempt that received a response, or nil if the attempt
// succeeded.
func (r *response) err() error {
	if r.ok() && r.decodeErr == nil {
		return nil
	}
	e := &Error{
		Business:    r.call.business,
		Operation:   r.call.op,
		StatusCode:  r.status,
		Details:     r.details(),
		Attempts:    r.call.attempts,
		TraceParent: r.call.secrets.Sanitize(r.header.Get("Traceparent")),
		isGateways:  r.isGateways(),
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
	case e.isGateways && r.status == http.StatusNotFound:
		e.kinds = append(e.kinds, ErrProtocol)
		e.cause = joinCause(errNotTheAPI, e.cause)
	case r.status/100 == 3 && r.call.op != OpDownload:
		e.cause = joinCause(errRedirect, e.cause)
	case r.status < 200:
		e.kinds = append(e.kinds, ErrProtocol)
	}
	if !r.call.repeatable && r.outcomeUnknown(e) {
		e.setOutcomeUnknown()
	}
	return e
}

// classify2xx classifies a 2xx that is an error. If the status is ERROR and there is a reason, the
// details describe the error. Everything else, including ERROR without a reason, is a protocol
// error; details taken from a body that is not an envelope are dropped.
func (e *Error) classify2xx(r *response) {
	if r.decodeErr == envelope.ErrStatus { //nolint:errorlint // Decode returns it unwrapped
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

// outcomeUnknown reports whether a send with this response may have been posted. It was not if the
// API sent a 4xx other than 408 or 499, or a 2xx with the details of an error. A redirect may
// follow a send that was processed, and a status below 200 is inconclusive. So is a gateway's 4xx,
// unless its status means that the gateway has not passed the request on.
func (r *response) outcomeUnknown(e *Error) bool {
	declined := isRateLimited(r.status) || slices.Contains([]int{401, 403, 413, 414, 431}, r.status)
	doubtful := errors.Is(e, ErrProtocol) || r.status/100 == 3 || r.status >= 500 || isTimeoutStatus(r.status) || e.isGateways && !declined
	return doubtful && (r.ok() || !r.unsent)
}

// isTimeoutStatus reports whether the server gave up on a request instead of rejecting it.
func isTimeoutStatus(status int) bool { return status == http.StatusRequestTimeout || status == 499 }

// applyRefusal moves a quotaError from the cause to Limit, which describes it.
func (e *Error) applyRefusal() {
	if exhausted, ok := as[*quotaError](e.cause); ok {
		e.Limit, e.kinds, e.cause = &exhausted.limit, append(e.kinds, ErrRateLimited), exhausted.cause
	}
}

// failure returns the *Error of a call without a response.
func (c *call) failure(ctx context.Context, err error) *Error {
	e := &Error{Business: c.business, Operation: c.op, Attempts: c.attempts, cause: callerctx.HideOthers(ctx, err)}
	if exhausted, ok := as[*quotaError](err); ok && c.attempts == 0 { // a confirmed send also needs the quota of the history
		e.Operation = exhausted.op
	}
	e.applyRefusal()
	if failed, ok := as[*transportError](err); ok && c.attempts > 0 && !c.repeatable && !failed.unsent {
		e.setOutcomeUnknown()
	}
	if ended := callerctx.Err(ctx); ended != nil && !errors.Is(e, ended) { // net/http returns the cause of the context instead
		e.kinds = append(e.kinds, ended)
	}
	return e
}

// transportError is the error of an attempt without a response.
type transportError struct {
	err       error
	unsent    bool // the server cannot have processed the request
	permanent bool // a retry would not help: TLS is impossible, or the caller's reader failed
}

func (e *transportError) Error() string { return e.err.Error() }

func (e *transportError) Unwrap() error { return e.err }

// tlsRefusal matches the texts of TLS errors that have no types: the server rejects the client's
// certificate, requires one, or denies the client access; or client and server have no version,
// cipher or protocol in common. Other alerts may be transient.
var tlsRefusal = regexp.MustCompile(`tls: .*(certificate|handshake failure|protocol version|security level|application protocol|access denied)`)

// isTLSFailure reports whether TLS failed for a reason that a retry cannot change: the server
// does not speak TLS, its certificate is not trusted, or it refuses the client.
func isTLSFailure(err error) bool {
	return is[*tls.CertificateVerificationError](err) || is[tls.RecordHeaderError](err) || errors.Is(err, http.ErrSchemeMismatch) ||
		is[x509.UnknownAuthorityError](err) || is[x509.HostnameError](err) || is[x509.CertificateInvalidError](err) || // of a caller's VerifyConnection
		tlsRefusal.MatchString(err.Error())
}

// is reports whether err wraps an error of type T.
func is[T error](err error) bool { return errors.As(err, new(T)) }

// as returns the first error of type T that err wraps.
func as[T error](err error) (found T, ok bool) { ok = errors.As(err, &found); return found, ok }

// withoutURL removes the method and address that net/http adds; an Error names the operation
// instead.
func withoutURL(err error) error {
	if wrapped, ok := as[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// quotaError is returned for an attempt that is not made because the hourly quota is
// known to be exhausted.
type quotaError struct {
	op    Operation // whose quota it is
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
	exhausted, ok := as[*quotaError](stop)
	switch {
	case last == nil || stop == nil:
		return cmp.Or(last, stop)
	case ok:
		return &quotaError{exhausted.op, exhausted.limit, joinCause(last, exhausted.cause)}
	}
	return fmt.Errorf("%w; %w", last, stop)
}
