package chats

import (
	"context"
	"errors"
	"time"
)

// contextEnd returns the error of a context that has ended. A dialer may notice that the
// deadline has passed before the context does.
func contextEnd(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// hideContextErrors returns err so that it matches a context error only if the context of
// the caller, ctx, has ended with it. The timeouts of an http.Client, a dialer or a limiter
// match, too, and a program would take them for its own deadline.
func hideContextErrors(ctx context.Context, err error) error {
	var late *tooLateError // about the caller's deadline
	if err == nil || errors.As(err, &late) {
		return err
	}
	ended := contextEnd(ctx)
	for _, target := range []error{context.Canceled, context.DeadlineExceeded} {
		if target != ended && errors.Is(err, target) { //nolint:errorlint // the sentinels themselves
			return &foreignTimeoutError{err, ended}
		}
	}
	return err
}

// foreignTimeoutError matches what err does, without the context errors other than ended.
type foreignTimeoutError struct{ err, ended error }

func (e *foreignTimeoutError) Error() string { return e.err.Error() }

func (e *foreignTimeoutError) Is(target error) bool {
	isContext := target == context.Canceled || target == context.DeadlineExceeded
	return (!isContext || target == e.ended) && errors.Is(e.err, target)
}

func (e *foreignTimeoutError) As(target any) bool { return errors.As(e.err, target) }
