package chats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/callerctx"
	"github.com/ymchats/ymchats-go/chats/internal/httpbody"
	"github.com/ymchats/ymchats-go/chats/internal/recent"
)

// errAttemptTimeout is the error of an attempt that timed out. It is not a context error,
// because the caller's context has not ended.
var errAttemptTimeout = errors.New("no response within RetryPolicy.AttemptTimeout")

// errEarlyResponse is the error of a 2xx that came before the server can have received the
// whole file.
var errEarlyResponse = errors.New("the response came before the file was sent")

// wire is the innermost function of the chain. It makes one attempt, from the request to
// the last byte of the response, within timeout. After a reused connection to the server has
// failed, the server is in silent, and every request asks it to close its connection: otherwise the
// outcome of every other send could be unknown, although the request had never arrived.
func wire(client *http.Client, server string, silent *recent.Set[string], timeout time.Duration) doFunc {
	return func(caller context.Context, c *call) (*response, error) {
		ctx, cancel := context.WithTimeout(caller, timeout)
		defer cancel()
		sent := &sentTrace{}
		req, err := c.newRequest(httptrace.WithClientTrace(ctx, sent.hooks()))
		if err != nil {
			return nil, err
		}
		if err := callerctx.Err(caller); err != nil {
			closeBody(req.Body)
			return nil, err // nothing was sent; an error from net/http would not say so
		}
		req.Close = req.Close || silent.Has(server)
		c.attempts++
		began := time.Now()
		defer func() { c.duration = time.Since(began) }()
		defer func() { _ = c.upload.Stop(ctx) }() // even after a panic in the transport
		resp, err := client.Do(req)               //nolint:bodyclose,gosec // httpbody closes it; the URL is the program's
		if err != nil {
			failed := c.newTransportError(ctx, c.attemptError(caller, ctx, err), sent)
			failed.permanent = failed.permanent || isTLSFailure(err) || sent.isRejection(err)
			if sent.reusedConn.Load() && !failed.permanent && callerctx.Err(caller) == nil {
				silent.Add(server)
			}
			return nil, failed
		}
		buf, err := httpbody.Read(ctx, resp)
		_ = c.upload.Stop(ctx) // not earlier, because net/http drops the connection if a request ends early
		if ended := callerctx.Err(caller); err != nil && ended != nil {
			httpbody.Release(buf)
			return nil, &transportError{err: ended, unsent: c.upload.Unsent()}
		}
		if err = c.attemptError(caller, ctx, err); err == nil && resp.StatusCode/100 == 2 && !c.upload.Whole() {
			err = errEarlyResponse
		}
		return &response{
			call: c, status: resp.StatusCode, header: resp.Header, body: buf, bodyErr: err,
			isWhole: resp.ContentLength == int64(buf.Len()), unsent: c.upload.Unsent(),
		}, nil
	}
}

// newTransportError returns the error of an attempt without a response.
func (c *call) newTransportError(ctx context.Context, err error, sent *sentTrace) *transportError {
	if readErr := c.upload.Stop(ctx); readErr != nil {
		// The request was aborted before its end.
		return &transportError{err: readErr, unsent: true, permanent: true}
	}
	if sent.provablyUnsent() { // if a proxy refuses, net/http returns only the status text
		err = fmt.Errorf("no connection: %w", err)
	}
	return &transportError{err: err, unsent: sent.provablyUnsent() || c.upload.Unsent()}
}

// attemptError returns the error of an attempt as the caller sees it: errAttemptTimeout if the
// attempt timed out, otherwise err without the address and the credential.
func (c *call) attemptError(caller, attempt context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case attempt.Err() != nil && callerctx.Err(caller) == nil:
		return errAttemptTimeout
	}
	return callerctx.HideOthers(caller, c.secrets.SanitizeError(withoutURL(err)))
}

// sentTrace records whether a request may have been sent. It is certain that nothing was sent
// if the transport reported that it needs a connection but not that it got one. WroteHeaders
// would be too late: if the context is done after a connection was found, net/http returns while
// its writer may still be writing.
type sentTrace struct {
	gettingConn, gotConn, reusedConn atomic.Bool
	rejection                        atomic.Pointer[error]
}

func (s *sentTrace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { s.gettingConn.Store(true) },
		GotConn: func(conn httptrace.GotConnInfo) { s.gotConn.Store(true); s.reusedConn.Store(conn.Reused) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) {
			ended := errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
			if err != nil && !ended && !is[net.Error](err) {
				s.rejection.Store(&err)
			}
		},
	}
}

// isRejection reports whether err was raised on the client's side of a TLS handshake, for example
// by the program's own check of the certificate, rather than by the network.
func (s *sentTrace) isRejection(err error) bool {
	rejection := s.rejection.Load()
	return rejection != nil && errors.Is(err, *rejection)
}

func (s *sentTrace) provablyUnsent() bool { return s.gettingConn.Load() && !s.gotConn.Load() }

// closeBody closes the body of a request that is not sent, if it can be closed. Otherwise a
// goroutine that writes the body to a pipe would block forever.
func closeBody(body io.Reader) {
	if closer, ok := body.(io.Closer); ok {
		_ = closer.Close()
	}
}
