package chatstest

import (
	"context"
	"net"
	"net/http/httptrace"
	"os"
	"syscall"
)

// errBrokenPipe is the error of writing to a connection that the server closed.
var errBrokenPipe = &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("write", syscall.EPIPE)}

// tracer calls those hooks of a trace that are set.
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
		conn, _ := net.Pipe() // for hooks that use its addresses
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
