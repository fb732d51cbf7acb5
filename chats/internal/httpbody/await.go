package httpbody

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"runtime/debug"
	"time"
)

// maxReturn is how long a read may take to return once its context is done.
const maxReturn = time.Second

var errAbandoned = errors.New("the body ignores its context")

// await calls read, which reads body. The body of a transport other than net/http's may ignore the
// context of its request, so it is read in a separate goroutine, which is abandoned if read does
// not return when ctx is done. If read panics or ends its goroutine, await does the same.
func await(ctx context.Context, body io.Reader, read func() error) error {
	if obeysContext(body) {
		return read()
	}
	var err error
	var returned bool
	var panicked any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if value := recover(); value != nil {
				panicked = panicValue(ctx, value)
			}
		}()
		err = read()
		returned = true
	}()
	select {
	case <-done:
	case <-ctx.Done():
		timer := time.NewTimer(maxReturn)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			return errAbandoned
		}
	}
	switch {
	case returned:
		return err
	case panicked != nil:
		panic(panicked)
	}
	runtime.Goexit()
	return nil
}

// obeysContext reports whether a body is net/http's. Its http.Client wraps a body of any transport
// if it has a Timeout.
func obeysContext(body io.Reader) bool {
	t := reflect.TypeOf(body)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath() == "net/http" && t.Name() != "cancelTimerBody"
}

type stackKey struct{}

// WithStack returns a context under which a panic of a body is an error that contains the stack of
// its origin. It is for calls whose goroutine is not the caller's, so that its stack is of no use.
func WithStack(ctx context.Context) context.Context {
	return context.WithValue(ctx, stackKey{}, true)
}

// panicValue returns the value with which to panic again. It must be called while the goroutine is
// panicking.
func panicValue(ctx context.Context, value any) any {
	if ctx.Value(stackKey{}) == nil {
		return value
	}
	cause, isError := value.(error)
	if !isError {
		cause = fmt.Errorf("%v", value)
	}
	return fmt.Errorf("%w\n\n%s", cause, debug.Stack())
}
