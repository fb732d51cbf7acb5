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
type observer struct {
	hook   func(context.Context, Attempt) // may be nil
	logger *slog.Logger
}

func (o observer) middleware(next doFunc) doFunc {
	return func(ctx context.Context, call *call) (*response, error) {
		before := call.attempts
		resp, err := next(ctx, call)
		if call.attempts == before {
			return resp, err
		}
		if resp != nil && resp.ok() {
			resp.decodeErr = resp.bodyErr
			if call.decode != nil {
				resp.decodeErr = call.decode(resp)
			}
		}
		if o.hook != nil || o.logger.Enabled(ctx, slog.LevelDebug) {
			o.report(ctx, call, resp, err)
		}
		call.waited = 0
		return resp, err
	}
}

func (o observer) report(ctx context.Context, call *call, resp *response, err error) {
	attempt := Attempt{
		Operation: call.op, Number: call.attempts, Duration: call.duration, Wait: call.waited,
	}
	attrs := []slog.Attr{
		slog.String("operation", string(call.op)),
		slog.Int("attempt", call.attempts),
		slog.Duration("duration", call.duration),
	}
	if resp != nil {
		attempt.StatusCode, attempt.Limit = resp.status, resp.limit
		attrs = append(attrs,
			slog.Int("status", resp.status),
			slog.String("traceparent", resp.sanitize(resp.header.Get("Traceparent"))),
		)
		if resp.limit.Kind == LimitHourly { // told by this answer
			attrs = append(attrs, slog.Int("remaining", resp.limit.Remaining))
		}
		if failure := resp.err(); failure != nil {
			attempt.Err = failure
		}
	} else {
		attempt.Err = call.failure(ctx, err)
	}
	if o.hook != nil {
		o.hook(ctx, attempt)
	}
	o.logger.LogAttrs(ctx, slog.LevelDebug, "chats: attempt", attrs...)
}
