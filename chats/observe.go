package chats

import (
	"context"
	"log/slog"
	"time"
)

// Attempt is one attempt, as [WithHook] sees it.
type Attempt struct {
	Operation  Operation
	Number     int           // from 1
	StatusCode int           // 0 when no answer came
	Duration   time.Duration // from the connection to the last byte
	Wait       time.Duration // before it: for a place, the caller's limiter, the hour, or the pause after a failure
	Limit      Limit         // as this answer told it
	Err        error         // why the attempt failed, a 5xx included; nil when it succeeded
}

// observe tells hook and logger of every attempt. What was refused before
// anything was sent is none.
func (c *Client) observe(next handler) handler {
	return func(ctx context.Context, call *call) (*answer, error) {
		before := call.attempts
		a, err := next(ctx, call)
		if call.attempts == before {
			return a, err
		}
		if a != nil && a.ok() {
			a.decodeErr = a.bodyErr
			if call.decode != nil {
				a.decodeErr = call.decode(a)
			}
		}
		if c.config.hook != nil || c.config.logger.Enabled(ctx, slog.LevelDebug) {
			c.report(ctx, call, a, err)
		}
		call.waited = 0
		return a, err
	}
}

func (c *Client) report(ctx context.Context, call *call, a *answer, err error) {
	seen := Attempt{
		Operation: call.op, Number: call.attempts, Duration: call.took, Wait: call.waited,
	}
	attrs := []slog.Attr{
		slog.String("operation", string(call.op)),
		slog.Int("attempt", call.attempts),
		slog.Duration("duration", call.took),
	}
	if a != nil {
		seen.StatusCode, seen.Limit = a.status, a.limit
		attrs = append(attrs,
			slog.Int("status", a.status),
			slog.String("traceparent", a.clean(a.header.Get("Traceparent"))),
		)
		if a.limit.Kind == LimitHourly { // told by this answer
			attrs = append(attrs, slog.Int("remaining", a.limit.Remaining))
		}
		if failed := a.failed(); failed != nil {
			seen.Err = failed
		}
	} else {
		seen.Err = call.failure(ctx, err)
	}
	if c.config.hook != nil {
		c.config.hook(ctx, seen)
	}
	c.config.logger.LogAttrs(ctx, slog.LevelDebug, "chats: attempt", attrs...)
}
