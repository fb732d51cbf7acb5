// Package callerctx makes sure that errors match a context error only if the caller's own
// context is done, so that callers can rely on it.
package callerctx

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Err returns the error of ctx, or DeadlineExceeded if its deadline has passed, which a dialer may
// notice before the context does.
func Err(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// HideOthers returns an error like err that matches a context error only if the caller's
// context, ctx, has ended with that error. Otherwise the timeout of an http.Client, a dialer or
// a limiter could be mistaken for the caller's deadline.
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

// Bare returns ctx.Err() if err was caused by the end of ctx, and err otherwise.
func Bare(ctx context.Context, err error) error {
	if ctxErr := ctx.Err(); ctxErr != nil && errors.Is(err, ctxErr) {
		return ctxErr
	}
	return err
}

// foreignTimeoutError matches whatever err matches, except context errors other than ended.
type foreignTimeoutError struct{ err, ended error }

func (e *foreignTimeoutError) Error() string { return e.err.Error() }

func (e *foreignTimeoutError) Is(target error) bool {
	isContext := target == context.Canceled || target == context.DeadlineExceeded
	return (!isContext || target == e.ended) && errors.Is(e.err, target)
}

func (e *foreignTimeoutError) As(target any) bool {
	_, isLate := target.(**tooLateError) // concerns the deadline of another context
	return !isLate && errors.As(e.err, target)
}

// Wait sleeps for d. It returns early if ctx is done, and immediately if the deadline of ctx is
// before the end of d.
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

// tooLateError is returned instead of waiting if the deadline would expire during the wait.
type tooLateError struct {
	wait     time.Duration
	deadline time.Time // of the context
}

func (e *tooLateError) Error() string {
	return fmt.Sprintf("the next attempt is due in %s, after the context's deadline", e.wait.Round(time.Millisecond))
}

func (*tooLateError) Unwrap() error { return context.DeadlineExceeded }
