package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"
	"unicode"
)

// handleFunc is the caller's handler.
type handleFunc func(context.Context, Delivery) error

// caller calls the handler.
type caller struct {
	timeout time.Duration // 0: none
	log     *slog.Logger
}

// slowAfter is how long a handler may run before it is logged.
const slowAfter = time.Minute

// handlerError is a failed delivery. Its text is rendered where the handler ran, because
// the Error method of the handler's error may panic, for example on a nil pointer.
type handlerError struct {
	err  error
	text string
}

func (e *handlerError) Error() string { return e.text }

// call runs handle in a separate goroutine, so that a handler that calls runtime.Goexit or
// never returns cannot end or block a worker for good.
func (c *caller) call(ctx context.Context, d Delivery, handle handleFunc) *handlerError {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	done := make(chan *handlerError, 1)
	go func() {
		failed := &handlerError{text: "the handler ended its goroutine"}
		defer func() {
			if cause := recover(); cause != nil {
				failed.text = fmt.Sprintf("panic: %v\n%s", cause, debug.Stack())
				failed.err = fmt.Errorf("panic: %v", cause)
			}
			done <- failed
		}()
		failed = asHandlerError(handle(ctx, d))
	}()
	return c.await(ctx, d, done)
}

func (c *caller) await(ctx context.Context, d Delivery, done <-chan *handlerError) *handlerError {
	var expired <-chan time.Time
	if c.timeout > 0 {
		limit := time.NewTimer(c.timeout)
		defer limit.Stop()
		expired = limit.C
	}
	began, slow := time.Now(), time.NewTimer(slowAfter)
	defer slow.Stop()
	for {
		select {
		case failed := <-done:
			if failed != nil && failed.err == nil {
				failed.err = failed
			}
			return failed
		case <-expired:
			failed := &handlerError{text: fmt.Sprintf("no return within %s", c.timeout)}
			failed.err = failed
			return failed
		case <-slow.C:
			running := time.Since(began)
			slow.Reset(running)
			c.log.LogAttrs(ctx, slog.LevelWarn, "inbox: handler still running",
				append(d.attrs(), slog.Duration("for", running))...)
		}
	}
}

// asHandlerError returns nil for nil, and an error whose text is safe otherwise.
func asHandlerError(err error) (failed *handlerError) {
	if err == nil {
		return nil
	}
	failed = &handlerError{err: err}
	defer func() {
		if recover() != nil {
			failed.text = fmt.Sprintf("an error of type %T whose Error method panics", err)
			failed.err = failed
		}
	}()
	failed.text = err.Error()
	return failed
}

func (d *Delivery) attrs() []slog.Attr {
	return []slog.Attr{slog.Int64("chat", int64(d.Chat.ID)), slog.Int64("message", int64(d.Message.ID))}
}

const maxFailure = 512

// shortened is a text as a row keeps it.
func shortened(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > maxFailure {
		text = strings.ToValidUTF8(text[:maxFailure], "")
	}
	return text
}
