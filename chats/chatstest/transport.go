package chatstest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"syscall"
)

// Transport answers requests in process: no socket, no goroutine that outlives
// its request. It serves every host, calls the hooks of net/http/httptrace as
// net/http does, and heeds the context at every wait. All its waiting is in the
// time of the bubble where it runs in one of testing/synctest.
func (m *Market) Transport() http.RoundTripper { return &transport{m} }

type transport struct{ market *Market }

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if req.Body != nil {
		defer func() { _ = req.Body.Close() }() // ends a read that is under way, too
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	trace := traceOf(ctx)
	op := route(req.Method, req.URL.Path)
	v := t.market.arrive(op)
	rep, err := t.exchange(req, trace, v)
	if err != nil {
		v.leave()
		return nil, err
	}
	trace.gotFirstByte()
	return rep.response(req, v.leave), nil
}

func (t *transport) exchange(req *http.Request, trace tracer, v *visit) (reply, error) {
	if err := trace.connect(hostPort(req), v.fault.refused); err != nil {
		return reply{}, err
	}
	trace.wroteHeaders()
	body, err := upload(req)
	trace.wroteRequest(err)
	if err != nil {
		return reply{}, err
	}
	rep, err := t.market.serve(req.Context(), v, newRequest(req, v.op, body))
	if err == nil && rep.dropped {
		err = io.EOF // what net/http says of a connection that ends before the answer
	}
	return rep, err
}

// upload reads the request's body, and stops early at one that is too large to
// be looked at.
func upload(req *http.Request) ([]byte, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil, nil
	}
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(req.Body, maxFormBody+1))
		done <- result{data, err}
	}()
	select {
	case read := <-done:
		if read.err == nil && len(read.data) <= maxFormBody {
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

func (r reply) response(req *http.Request, leave func()) *http.Response {
	ctx, cancel := context.WithCancelCause(req.Context())
	stop := context.AfterFunc(ctx, leave)
	length := int64(len(r.body))
	if r.endless {
		length = -1
	}
	return &http.Response{
		Status:        strconv.Itoa(r.status) + " " + http.StatusText(r.status),
		StatusCode:    r.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        r.header,
		Body:          &body{stream: stream{reply: r}, ctx: ctx, cancel: cancel, leave: func() { stop(); leave() }},
		ContentLength: length,
		Request:       req,
	}
}

// body reads a stream.
type body struct {
	stream stream
	ctx    context.Context // the request's, which Read has no other way to
	cancel context.CancelCauseFunc
	leave  func()
	rest   []byte // of the piece that was begun
}

func (b *body) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		piece, err := b.stream.next(b.ctx)
		if err != nil {
			b.leave()
			return 0, err
		}
		b.rest = piece
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	if len(b.rest) == 0 && b.stream.over() {
		b.leave() // a caller who counts the bytes need not read on
	}
	return n, nil
}

func (b *body) Close() error {
	b.leave()
	b.cancel(http.ErrBodyReadAfterClose)
	return nil
}

// tracer calls the hooks of a trace that are set.
type tracer struct{ *httptrace.ClientTrace }

func traceOf(ctx context.Context) tracer {
	if trace := httptrace.ContextClientTrace(ctx); trace != nil {
		return tracer{trace}
	}
	return tracer{&httptrace.ClientTrace{}}
}

func (t tracer) connect(address string, refused bool) error {
	if t.GetConn != nil {
		t.GetConn(address)
	}
	if t.ConnectStart != nil {
		t.ConnectStart("tcp", address)
	}
	var err error
	if refused {
		err = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	if t.ConnectDone != nil {
		t.ConnectDone("tcp", address, err)
	}
	if t.GotConn != nil && !refused {
		conn, _ := net.Pipe() // for hooks that ask for its addresses
		t.GotConn(httptrace.GotConnInfo{Conn: conn})
	}
	return err
}

func (t tracer) wroteHeaders() {
	if t.WroteHeaders != nil {
		t.WroteHeaders()
	}
}

func (t tracer) wroteRequest(err error) {
	if t.WroteRequest != nil {
		t.WroteRequest(httptrace.WroteRequestInfo{Err: err})
	}
}

func (t tracer) gotFirstByte() {
	if t.GotFirstResponseByte != nil {
		t.GotFirstResponseByte()
	}
}
