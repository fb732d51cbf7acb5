package inbox

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/callback"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// unhandled schedules the next attempt at a message whose handler has failed.
func (l *poll) unhandled(ctx context.Context, failed *callback.Error, now time.Time) {
	l.row.SeenWakes, l.row.RefusedSince = l.row.Wakes, time.Time{}
	l.row.fail(failed.Text, now)
	l.retry(ctx, "inbox: handler failed", failed, now, wait.Backoff(l.row.Attempts, maxHandlerBackoff))
}

// forget ignores a chat until a list or a push names it again.
func (l *poll) forget() {
	row := l.row
	row.recovered()
	row.SeenWakes, row.DueAt, row.Snapshot.UpdatedAt = row.Wakes, time.Time{}, time.Time{}
}

// unread decides what to do with a chat that could not be read.
func (l *poll) unread(ctx context.Context, err error, now time.Time) {
	row := l.row
	var failed *chats.Error
	errors.As(err, &failed)
	isAbsent := errors.Is(err, chats.ErrNotFound) || errors.Is(err, chats.ErrForbidden)
	if row.Snapshot.ID == 0 && (isAbsent || failed != nil && failed.StatusCode == http.StatusBadRequest) {
		if l.woken || !row.FailingSince.IsZero() {
			row.SeenAt = l.began
		}
		row.recovered()
		row.SeenWakes, row.DueAt = row.Wakes, firstAfter(row.SeenAt, unknownAfter, l.began)
		return
	}
	if failed != nil && failed.Limit != nil && *failed.Limit != (chats.Limit{}) { // a gateway's 429 is like a 503
		l.limited(ctx, failed, err, now)
		return
	}
	l.refusals.add(err, false)
	isRefused := isAbsent || isRefusal(err, chats.OpGetChatHistory) || errors.Is(err, chats.ErrProtocol)
	if !isRefused {
		row.RefusedSince = time.Time{}
	} else if row.RefusedSince.IsZero() {
		row.RefusedSince = now
	}
	if isAbsent && now.Sub(row.RefusedSince) > goneAfter {
		l.log.LogAttrs(ctx, slog.LevelWarn, "inbox: chat is gone; not polled until it is listed or pushed",
			slog.Int64("chat", int64(row.Chat)), slog.Time("failing_since", row.FailingSince), slog.Any("error", err))
		l.forget()
		return
	}
	if failed == nil || failed.Operation != chats.OpGetChat { // most polls do not need getChat
		l.reads.failed(row.Chat, row.FailingSince.IsZero() || row.Attempts > 0)
	}
	row.fail(err.Error(), now)
	if l.woken {
		row.expect(l.began)
	}
	row.SeenWakes = row.Wakes // so that its pushes no longer come first
	since, longest := row.FailingSince, maxHandlerBackoff
	switch {
	case l.reads.isOpen():
		longest = wait.Max // the breaker limits the requests; once it closes, all chats are tried
	case row.Attempts > 0: // neither a push nor a change in the list brings the retry forward
	case isRefused: // only this chat is affected
		since, longest = row.RefusedSince, maxRefusedBackoff
	}
	l.retry(ctx, "inbox: reading a chat failed", err, now, backoffSince(since, now, longest))
}

// limited handles a rate limit: the quota of an operation, or the limit of parallel requests.
func (l *poll) limited(ctx context.Context, failed *chats.Error, err error, now time.Time) {
	next := l.quota.refuse(failed.Operation, err)
	if failed.Operation != chats.OpGetChatHistory || failed.Limit.Kind != chats.LimitHourly {
		l.row.DueAt = next // so that the others come first
	}
	if failed.Operation == chats.OpGetChatHistory && failed.Limit.Kind == chats.LimitParallel {
		l.reads.failed(l.row.Chat, true)
	}
	l.isLimited.Store(true)
	l.log.LogAttrs(ctx, slog.LevelWarn, "inbox: reading a chat refused", slog.Int64("chat", int64(l.row.Chat)),
		slog.Any("error", err), slog.Duration("retry_in", next.Sub(now)))
}

func (l *poll) retry(ctx context.Context, text string, err error, now time.Time, delay time.Duration) {
	l.row.DueAt = now.Add(delay)
	attrs := []slog.Attr{slog.Int64("chat", int64(l.row.Chat)), slog.Any("error", err), slog.Duration("retry_in", delay)}
	if l.row.Head != 0 {
		attrs = append(attrs, slog.Int64("message", int64(l.row.Head)), slog.Int("attempts", l.row.Attempts))
	}
	l.log.LogAttrs(ctx, slog.LevelWarn, text, attrs...)
}
