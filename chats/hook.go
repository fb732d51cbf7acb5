package chats

import (
	"context"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/attempts"
)

// Attempt describes one attempt, that is, one HTTP request. It is passed to the functions set
// with [WithHook].
type Attempt struct {
	Business   BusinessID
	Operation  Operation
	Number     int           // from 1
	StatusCode int           // 0 if the server did not respond
	Duration   time.Duration // from dialing to the last byte
	Wait       time.Duration // before the attempt: for a slot, the Limiter, the hourly quota, or backoff
	Limit      Limit         // as this response reported it; zero if it did not
	Skipped    int           // items of a page that were dropped because they have no readable ID
	Err        error         // why the attempt failed; nil if it succeeded
}

// observer reports every attempt to the hooks and a logger. A call that fails before anything
// is sent makes no attempt.
type observer struct {
	hooks  []func(context.Context, Attempt)
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
			if resp.bodyErr == nil && call.decode != nil {
				resp.decodeErr = call.decode(resp)
			}
		}
		attempts.Made(ctx, string(call.op), call.skipped)
		if call.skipped > 0 {
			o.logger.LogAttrs(ctx, slog.LevelWarn, "chats: unreadable items skipped",
				slog.Int64("business", int64(call.business)),
				slog.String("operation", string(call.op)), slog.Int("count", call.skipped))
		}
		if len(o.hooks) > 0 || o.logger.Enabled(ctx, slog.LevelDebug) {
			o.report(ctx, call, resp, err)
		}
		call.waited = 0
		return resp, err
	}
}

func (o observer) report(ctx context.Context, call *call, resp *response, err error) {
	attempt := Attempt{
		Business: call.business, Operation: call.op, Number: call.attempts, Duration: call.duration, Wait: call.waited,
		Skipped: call.skipped,
	}
	attrs := []slog.Attr{
		slog.Int64("business", int64(call.business)),
		slog.String("operation", string(call.op)),
		slog.Int("attempt", call.attempts),
		slog.Duration("duration", call.duration),
	}
	if resp != nil {
		attempt.StatusCode, attempt.Limit = resp.status, resp.limit
		attrs = append(attrs,
			slog.Int("status", resp.status),
			slog.String("traceparent", call.secrets.Sanitize(resp.header.Get("Traceparent"))),
		)
		if resp.limit.Kind == LimitHourly { // this response reported it
			attrs = append(attrs, slog.Int("remaining", resp.limit.Remaining))
		}
		attempt.Err = resp.err()
	} else {
		attempt.Err = call.failure(ctx, err)
	}
	for _, hook := range o.hooks {
		hook(ctx, attempt)
	}
	o.logger.LogAttrs(ctx, slog.LevelDebug, "chats: attempt", attrs...)
}
