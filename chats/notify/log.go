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
// [Other] is arbitrary text from the sender.
const maxLoggedType = 64

// eventLog writes one line per request, and one per handle function that returns
// after the response.
type eventLog struct {
	logger *slog.Logger
}

func (l eventLog) response(ctx context.Context, sender netip.Addr, id identity, began time.Time, rejected *rejection) {
	attrs := append(idAttrs(id), slog.Duration("duration", time.Since(began)))
	if sender.IsValid() {
		attrs = append(attrs, slog.String("remote", sender.String()))
	}
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

// lateReturn logs an outcome that came after the response.
func (l eventLog) lateReturn(ctx context.Context, id identity, began time.Time, err error) {
	level := slog.LevelWarn
	if err != nil {
		level = slog.LevelError
	}
	attrs := append(idAttrs(id), slog.Duration("duration", time.Since(began)))
	l.log(ctx, level, "notify: handler returned late", append(attrs, errorAttrs(err)...))
}

// log ignores a panic in the logger: the response has been sent, and on the goroutine of
// a late function nothing else would recover it.
func (l eventLog) log(ctx context.Context, level slog.Level, text string, attrs []slog.Attr) {
	_ = recoverPanic(func() error {
		l.logger.LogAttrs(ctx, level, text, attrs...)
		return nil
	})
}

// idAttrs omits unknown values.
func idAttrs(id identity) []slog.Attr {
	var attrs []slog.Attr
	if id.kind != "" {
		attrs = append(attrs, slog.String("type", id.kind[:min(len(id.kind), maxLoggedType)]))
	}
	for _, attr := range []slog.Attr{
		slog.Int64("business", int64(id.business)), slog.Int64("chat", int64(id.chat)), slog.Int64("message", int64(id.message)),
	} {
		if attr.Value.Int64() != 0 {
			attrs = append(attrs, attr)
		}
	}
	return attrs
}

// errorAttrs leaves it to fmt to call the methods of err: the error comes from the caller
// and may be a nil pointer in an interface, which fmt survives.
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
