package chats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// transportError is an attempt that got no answer.
type transportError struct {
	err       error
	unsent    bool // certain: no byte of the request left
	permanent bool // the caller's own reader failed; nothing was posted, and no repeating would help
}

func (e *transportError) Error() string { return e.err.Error() }
func (e *transportError) Unwrap() error { return e.err }

// defaultTransport is one for all clients that bring none: they share its TLS
// sessions. Market closes every connection, so that a call costs a handshake, and
// a resumed one costs half. Nothing is read from the environment: for a proxy
// pass a client of your own. HTTP/1.1 only, because there "not connected" means
// "not sent", which is what the repeating of a send stands on.
var defaultTransport = sync.OnceValue(func() http.RoundTripper {
	return &http.Transport{
		DialContext: (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig: &tls.Config{
			MinVersion:         tls.VersionTLS12,
			ClientSessionCache: tls.NewLRUClientSessionCache(64),
		},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
	}
})

// errSlow is an attempt that took too long. It is not the context's error: the
// caller's context lives.
var errAttemptTimeout = errors.New("no answer within RetryPolicy.AttemptTimeout")

// wire is the innermost link: one attempt, from the request to the last byte of
// its answer, within timeout.
func wire(client *http.Client, timeout time.Duration) doFunc {
	return func(caller context.Context, c *call) (*response, error) {
		ctx, cancel := context.WithTimeout(caller, timeout)
		defer cancel()
		sent := &sentTrace{}
		req, err := c.newRequest(httptrace.WithClientTrace(ctx, sent.hooks()))
		if err != nil {
			return nil, err
		}
		if err := caller.Err(); err != nil {
			return nil, err // nothing has left, which net/http would not say
		}
		c.attempts++
		began := time.Now()
		defer func() { c.duration = time.Since(began) }()
		resp, err := client.Do(req) //nolint:bodyclose // readBody closes it
		if err != nil {
			return nil, c.newTransportError(c.attemptError(caller, ctx, err), sent)
		}
		buf, err := readBody(resp)
		_ = c.stopUpload() // not before: net/http drops the connection of a request that stops short
		if err != nil && caller.Err() != nil {
			putBuffer(buf)
			return nil, &transportError{err: caller.Err()}
		}
		err = c.attemptError(caller, ctx, err)
		return &response{
			op: c.op, rule: c.rule, status: resp.StatusCode, header: resp.Header,
			body: buf, bodyErr: err, secrets: secrets{c.secret.raw}, attempts: c.attempts,
		}, nil
	}
}

// broken is an attempt without an answer.
func (c *call) newTransportError(err error, sent *sentTrace) error {
	if readErr := c.stopUpload(); readErr != nil {
		// The request was broken off before its end: nothing can have been posted.
		return &transportError{err: fmt.Errorf("reading the file: %w", readErr), permanent: true}
	}
	return &transportError{err: err, unsent: sent.provablyUnsent()}
}

// explained is an attempt's error fit for the caller: with the reason where it was our
// own time limit, and without the address and the credential.
func (c *call) attemptError(caller, attempt context.Context, err error) error {
	if err != nil && attempt.Err() != nil && caller.Err() == nil {
		return errAttemptTimeout
	}
	return secrets{c.secret.raw}.sanitizeError(withoutURL(err))
}

// sentTrace tells whether a request may have left. Only a transport that says it
// is looking for a connection, and never that it has one, certainly sent nothing.
// WroteHeaders would be too late a mark: when the context ends after a connection
// was found, net/http returns while its writer may still be writing.
type sentTrace struct{ gettingConn, gotConn atomic.Bool }

func (s *sentTrace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { s.gettingConn.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { s.gotConn.Store(true) },
	}
}

func (s *sentTrace) provablyUnsent() bool { return s.gettingConn.Load() && !s.gotConn.Load() }

// withoutURL takes the address off: an error names the operation instead.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// next is the request of the next attempt: a copy of its own, for net/http may
// still hold the one before.
func (c *call) newRequest(ctx context.Context) (*http.Request, error) {
	req := c.request.Clone(context.WithValue(ctx, operationKey{}, c.op))
	if c.request.GetBody != nil {
		body, err := c.request.GetBody()
		if err != nil {
			return nil, err
		}
		req.Body = body
	}
	if !c.rule.repeatable {
		// net/http would use it to repeat a request by itself: over HTTP/2 also one that
		// has arrived whole.
		req.GetBody = nil
	}
	if c.secret.header != "" {
		req.Header.Set(c.secret.header, c.secret.value)
	}
	return req, nil
}

// rewindable: whether the request's body can be sent once more.
func (c *call) rewindable() bool {
	if c.upload != nil {
		return c.upload.rewindable()
	}
	return c.request.Body == nil || c.request.Body == http.NoBody || c.request.GetBody != nil
}

// closeUpload keeps the caller's reader from being read once the attempt is over,
// and tells whether that reader failed.
func (c *call) stopUpload() error {
	if c.upload == nil {
		return nil
	}
	return c.upload.stop()
}
