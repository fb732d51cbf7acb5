package chats

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

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
