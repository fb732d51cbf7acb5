package chatstest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

// Transport returns a transport that serves requests in process, without a socket. No goroutine
// outlives its request, unless a read of the request's body blocks even after the body has been
// closed. The transport serves every host, calls the hooks of net/http/httptrace as net/http does,
// and stops every wait when the request's context is done. In a testing/synctest bubble, all waits
// use the bubble's fake clock.
func (m *Market) Transport() http.RoundTripper { return &transport{m} }

type transport struct{ market *Market }

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if req.Body != nil {
		defer func() { _ = req.Body.Close() }() // also ends a pending read
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	trace := traceOf(ctx)
	f := t.market.begin(ctx, route(req.Method, req.URL.Path))
	responds := false
	defer func() { // even after a panic
		if !responds {
			f.done()
		}
	}()
	resp, err := t.exchange(req, trace, f)
	if err != nil {
		return nil, err
	}
	trace.gotFirstByte()
	if resp.unreadRequest {
		trace.wroteRequest(errBrokenPipe)
	}
	responds = true
	return resp.toHTTP(req, f.done), nil
}

func (t *transport) exchange(req *http.Request, trace tracer, f *inflight) (response, error) {
	if err := trace.connect(hostPort(req), f.fault.dialError); err != nil {
		return response{}, err
	}
	trace.wroteHeaders()
	body, err := readBody(req, f.fault)
	unread := err == nil && f.fault.early && int64(len(body)) != req.ContentLength
	if !unread {
		trace.wroteRequest(err)
	}
	if err != nil {
		return response{}, err
	}
	resp, err := t.market.serve(req.Context(), f, newRequest(req, f.op, body))
	resp.unreadRequest = unread
	switch {
	case err != nil:
	case resp.dropped:
		err = io.EOF // net/http's error for a connection that closes before the response
	case resp.statusLine != "":
		trace.gotFirstByte()
		err = fmt.Errorf("net/http: HTTP/1.x transport connection broken: malformed HTTP response %q", resp.statusLine)
	}
	return resp, err
}

// readBody reads the request's body up to the fault's limit, or up to the maximum size.
func readBody(req *http.Request, fault Fault) ([]byte, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil, nil
	}
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(req.Body, fault.bodyLimit()))
		done <- result{data, err}
	}()
	select {
	case read := <-done:
		if read.err == nil && !fault.early && len(read.data) <= maxFormBody {
			read.err = checkLength(req.ContentLength, len(read.data))
		}
		return read.data, read.err
	case <-req.Context().Done():
		return nil, context.Cause(req.Context())
	}
}

func checkLength(declared int64, n int) error {
	if declared > 0 && declared != int64(n) {
		return fmt.Errorf("http: ContentLength=%d with Body length %d", declared, n)
	}
	return nil
}

func hostPort(req *http.Request) string {
	port := req.URL.Port()
	if port == "" && req.URL.Scheme == "http" {
		port = "80"
	} else if port == "" {
		port = "443"
	}
	return net.JoinHostPort(req.URL.Hostname(), port)
}

func (r response) toHTTP(req *http.Request, done func()) *http.Response {
	ctx, cancel := context.WithCancelCause(req.Context())
	stop := context.AfterFunc(ctx, done)
	resp := &http.Response{
		Status:        strconv.Itoa(r.status) + " " + http.StatusText(r.status),
		StatusCode:    r.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        r.header,
		Body:          &body{stream: stream{response: r}, ctx: ctx, cancel: cancel, done: func() { stop(); done() }},
		ContentLength: r.length(),
		Close:         r.undelimited,
		Request:       req,
	}
	decompress(resp)
	return resp
}

// body reads a stream.
type body struct {
	stream stream
	ctx    context.Context //nolint:containedctx // the request's: Read has no parameter for it
	cancel context.CancelCauseFunc
	done   func()
	unread []byte // of the current piece
}

func (b *body) Read(p []byte) (int, error) {
	if len(b.unread) == 0 {
		piece, err := b.stream.next(b.ctx)
		if err != nil {
			b.done()
			return 0, err
		}
		b.unread = piece
	}
	n := copy(p, b.unread)
	b.unread = b.unread[n:]
	if len(b.unread) == 0 && b.stream.complete() {
		b.done() // a reader that counts bytes need not wait for EOF
	}
	return n, nil
}

func (b *body) Close() error {
	b.done()
	b.cancel(http.ErrBodyReadAfterClose)
	return nil
}
