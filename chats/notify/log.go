package notify

import (
	"context"
	"errors"
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
		h.logger.LogAttrs(r.Context(), slog.LevelDebug, "notification", attrs...)
		return
	}
	level := slog.LevelWarn
	if no.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	attrs = append(append(attrs, slog.Int("status", no.status)), errorAttrs(no.cause)...)
	h.logger.LogAttrs(r.Context(), level, "notification", attrs...)
}

// logLate logs an outcome that nobody waited for any more.
func (h *Handler) logLate(ctx context.Context, event Event, began time.Time, err error) {
	attrs := append(eventAttrs(event), slog.Duration("duration", time.Since(began)))
	h.logger.LogAttrs(ctx, slog.LevelError, "notification: the function returned after the answer",
		append(attrs, errorAttrs(err)...)...)
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

func errorAttrs(err error) []slog.Attr {
	if err == nil {
		return nil
	}
	attrs := []slog.Attr{slog.String("error", err.Error())}
	var p *panicked
	if errors.As(err, &p) {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	return attrs
}
