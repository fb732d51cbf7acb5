package inbox

import (
	"context"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/ymchats/ymchats-go/chats/internal/callback"
)

type handleFunc func(context.Context, Delivery) error

// call runs handle in a separate goroutine, so that a handler that calls runtime.Goexit or
// never returns cannot end or block a worker.
func (s *session) call(ctx context.Context, d Delivery, handle handleFunc) *callback.Error {
	if s.config.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.config.timeout)
		defer cancel()
	}
	return callback.Call{Name: "the handler", Timeout: s.config.timeout, Slow: func(running time.Duration) {
		s.log.LogAttrs(ctx, slog.LevelWarn, "inbox: handler still running", append(d.attrs(), slog.Duration("for", running))...)
	}}.Do(func() error { return handle(ctx, d) })
}

func (d *Delivery) attrs() []slog.Attr {
	return []slog.Attr{slog.Int64("chat", int64(d.Chat.ID)), slog.Int64("message", int64(d.Message.ID))}
}

const maxFailure = 512

// shortened returns an error's text in the form that is stored in a row.
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
