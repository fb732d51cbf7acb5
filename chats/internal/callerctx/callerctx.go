// Package callerctx relates waits and errors to the context of the caller: a program must
// be able to rely on it that a context error is about its own context.
package callerctx

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Err returns the error of a context that has ended. A dialer may notice that the
// deadline has passed before the context does.
func Err(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// HideOthers returns err so that it matches a context error only if the context of
// the caller, ctx, has ended with it. The timeouts of an http.Client, a dialer or a limiter
// would match as well, and a program would take them for its own deadline.
func HideOthers(ctx context.Context, err error) error {
	var late *tooLateError
	if deadline, _ := ctx.Deadline(); err == nil || errors.As(err, &late) && late.deadline.Equal(deadline) {
		return err
	}
	ended := Err(ctx)
	for _, target := range []error{context.Canceled, context.DeadlineExceeded} {
		if target != ended && errors.Is(err, target) { //nolint:errorlint // the sentinels themselves
			return &foreignTimeoutError{err, ended}
		}
	}
	return err
}

// Bare returns the bare ctx.Err() if err was caused by the end of ctx, and err otherwise.
func Bare(ctx context.Context, err error) error {
	if ctxErr := ctx.Err(); ctxErr != nil && errors.Is(err, ctxErr) {
		return ctxErr
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

func (e *foreignTimeoutError) As(target any) bool {
	_, isLate := target.(**tooLateError) // about another context's deadline
	return !isLate && errors.As(e.err, target)
}

// Wait sleeps for d. It returns early if ctx ends, and at once if the deadline of ctx
// comes before d is over.
func Wait(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return &tooLateError{d, deadline}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tooLateError is returned instead of waiting for a deadline only to fail then.
type tooLateError struct {
	wait     time.Duration
	deadline time.Time // of the context
}

func (e *tooLateError) Error() string {
	return fmt.Sprintf("the next attempt is due in %s, after the context's deadline", e.wait.Round(time.Millisecond))
}

func (*tooLateError) Unwrap() error { return context.DeadlineExceeded }
