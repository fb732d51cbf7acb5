package inbox

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// conclude decides what becomes of a chat after a look.
func (s *session) conclude(ctx context.Context, l *look, err error) {
	s.pace.note(chats.OpGetChatHistory)
	s.book.space(s.pace.gap(chats.OpGetChatHistory))
	if errors.Is(err, errLeft) {
		s.end(err)
		return
	}
	if ctx.Err() != nil {
		return // the next run begins with the marks
	}
	var failed *handlerError
	switch {
	case err == nil:
		s.book.finish(l.entry, l.began)
	case errors.Is(err, errPassed):
		s.book.drop(l.entry)
	case errors.As(err, &failed):
		pause := s.book.retry(l.entry, l.handled > 0, longestHandlerPause, time.Now())
		s.warn(ctx, "inbox: the handler failed", l, err, pause, slog.Int64("message", int64(failed.message)))
	case errors.Is(err, ErrConflict):
		s.conflict(ctx, l)
	default:
		s.unread(ctx, l, err)
	}
}

// conflict: another worker has moved the mark, or a commit of ours whose answer was
// lost. Its value is what we go on from.
func (s *session) conflict(ctx context.Context, l *look) {
	marks, err := s.ledger.load(ctx)
	if err != nil {
		return // the context has ended
	}
	s.book.moved(l.entry, marks[l.entry.id])
	s.book.adopt(marks)
	pause := s.book.retry(l.entry, l.handled > 0, longestPause, time.Now())
	s.warn(ctx, "inbox: the mark is not where it was", l, ErrConflict, pause)
}

// unread: the chat could not be read.
func (s *session) unread(ctx context.Context, l *look, err error) {
	if s.refused(err) {
		return
	}
	notOurs := errors.Is(err, chats.ErrForbidden) || errors.Is(err, chats.ErrNotFound)
	if notOurs && l.chat.ID == 0 {
		s.book.drop(l.entry)
		return
	}
	if isLimited(err, chats.OpGetChatHistory) {
		s.book.close(time.Now().Add(s.pace.blocked(err)))
	}
	longest := longestPause
	if notOurs {
		longest = longestHandlerPause // the list has it, the history has not
	}
	pause := s.book.retry(l.entry, l.handled > 0, longest, time.Now())
	s.warn(ctx, "inbox: the chat cannot be read", l, err, pause)
}

func isLimited(err error, op chats.Operation) bool {
	var failed *chats.Error
	return errors.As(err, &failed) && failed.Operation == op && errors.Is(err, chats.ErrRateLimited)
}

func (s *session) warn(
	ctx context.Context, text string, l *look, err error, pause time.Duration, attrs ...slog.Attr,
) {
	attrs = append(attrs,
		slog.Int64("chat", int64(l.entry.id)), slog.Any("error", err), slog.Duration("pause", pause))
	s.log.LogAttrs(ctx, slog.LevelWarn, text, attrs...)
}
