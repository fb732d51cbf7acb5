package notify

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"time"
)

// maxLoggedType is more than any word of the contract has. The word of an [Other]
// is whatever the sender wrote.
const maxLoggedType = 64

// logAnswer logs what a request was answered.
func (h *Handler) logAnswer(r *http.Request, sender netip.Addr, event Event, began time.Time, no *refusal) {
	attrs := append(eventAttrs(event), slog.Duration("duration", time.Since(began)), slog.String("remote", sender.String()))
	if no == nil {
		attrs = append(attrs, slog.Int("status", http.StatusOK))
		h.log(r.Context(), slog.LevelDebug, "notification", attrs)
		return
	}
	level := slog.LevelWarn
	if no.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	attrs = append(append(attrs, slog.Int("status", no.status)), errorAttrs(no.cause)...)
	h.log(r.Context(), level, "notification", attrs)
}

// logLate logs an outcome that nobody waited for any more.
func (h *Handler) logLate(ctx context.Context, event Event, began time.Time, err error) {
	attrs := append(eventAttrs(event), slog.Duration("duration", time.Since(began)))
	h.log(ctx, slog.LevelError, "notification: the function returned after the answer", append(attrs, errorAttrs(err)...))
}

// log survives a logger that panics: the answer is out, and a late function's
// goroutine has nobody else to catch it.
func (h *Handler) log(ctx context.Context, level slog.Level, text string, attrs []slog.Attr) {
	_ = safely(func() error {
		h.logger.LogAttrs(ctx, level, text, attrs...)
		return nil
	})
}

func eventAttrs(event Event) []slog.Attr {
	if event == nil {
		return nil
	}
	of := event.identity()
	attrs := []slog.Attr{slog.String("type", of.kind[:min(len(of.kind), maxLoggedType)])}
	if of.chat != 0 {
		attrs = append(attrs, slog.Int64("chat", int64(of.chat)))
	}
	if of.message != 0 {
		attrs = append(attrs, slog.Int64("message", int64(of.message)))
	}
	return attrs
}

// errorAttrs calls no method of the error: it is the caller's, may be a nil in an
// interface, and fmt survives that.
func errorAttrs(err error) []slog.Attr {
	if err == nil {
		return nil
	}
	attrs := []slog.Attr{slog.String("error", fmt.Sprint(err))}
	if p, ok := err.(*panicked); ok { //nolint:errorlint // our own, unwrapped
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	return attrs
}
