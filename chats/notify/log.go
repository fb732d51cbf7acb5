package notify

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"
)

// maxLoggedType is above the length of every type in the contract. The type of an
// [Other] is whatever the sender wrote.
const maxLoggedType = 64

// eventLog writes one line per request, and one per handle function that returns
// after the response.
type eventLog struct {
	logger *slog.Logger
}

func (l eventLog) response(ctx context.Context, sender netip.Addr, event Event, began time.Time, rejected *rejection) {
	attrs := append(eventAttrs(event), slog.Duration("duration", time.Since(began)), slog.String("remote", sender.String()))
	if rejected == nil {
		attrs = append(attrs, slog.Int("status", http.StatusOK))
		l.log(ctx, slog.LevelDebug, "notify: notification handled", attrs)
		return
	}
	level := slog.LevelWarn
	if rejected.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	attrs = append(append(attrs, slog.Int("status", rejected.status)), errorAttrs(rejected.cause)...)
	l.log(ctx, level, rejected.log, attrs)
}

// lateReturn logs an outcome that no response reports.
func (l eventLog) lateReturn(ctx context.Context, event Event, began time.Time, err error) {
	attrs := append(eventAttrs(event), slog.Duration("duration", time.Since(began)))
	l.log(ctx, slog.LevelError, "notify: handler returned late", append(attrs, errorAttrs(err)...))
}

// log ignores a panic of the logger: the response is out, and nothing would recover
// it on the goroutine of a late function.
func (l eventLog) log(ctx context.Context, level slog.Level, text string, attrs []slog.Attr) {
	_ = recoverPanic(func() error {
		l.logger.LogAttrs(ctx, level, text, attrs...)
		return nil
	})
}

func eventAttrs(event Event) []slog.Attr {
	if event == nil {
		return nil
	}
	id := event.identity()
	attrs := []slog.Attr{slog.String("type", id.kind[:min(len(id.kind), maxLoggedType)])}
	if id.chat != 0 {
		attrs = append(attrs, slog.Int64("chat", int64(id.chat)))
	}
	if id.message != 0 {
		attrs = append(attrs, slog.Int64("message", int64(id.message)))
	}
	return attrs
}

// errorAttrs calls no method of err, which is the caller's and may be a nil pointer
// in an interface: fmt survives that.
func errorAttrs(err error) []slog.Attr {
	if err == nil {
		return nil
	}
	attrs := []slog.Attr{slog.String("error", fmt.Sprint(err))}
	if p, ok := err.(*panicError); ok { //nolint:errorlint // our own, unwrapped
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	return attrs
}
