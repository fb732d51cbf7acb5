package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// follow begins to follow a business: it finds out what is old, and writes since
// when messages are new into the mark of chat 0. It gives the marks as they stand
// then, whoever wrote them.
//
// The moment is one of Market's clock, which may differ from ours. The newest
// UpdatedAt of all chats is a time that Market's clock had reached when the listing
// ended; less the time that has passed since we began, by our clock, it is a moment
// before we began. So nothing that arrives from then on is older than it. What is
// not older either although it was there already is in the few chats whose last
// message is as new as that: those get their marks now.
func (s *session) follow(ctx context.Context, marks map[chats.ChatID]Mark) (map[chats.ChatID]Mark, error) {
	var since time.Time
	if s.config.backfill != nil {
		since = *s.config.backfill
	} else {
		began := time.Now()
		all, err := s.listAll(ctx)
		if err != nil {
			return nil, err
		}
		before := newestOf(all).Add(-time.Since(began))
		since = second(before.Add(-2 * time.Second)) // times may be cut to the second
		if err := s.passOver(ctx, all, marks, since, later(began, before)); err != nil {
			return nil, err
		}
	}
	since = second(later(since, earliest))
	if err := s.ledger.commit(ctx, 0, marks[0], Mark{UpdatedAt: since}); err != nil && !errors.Is(err, ErrConflict) {
		return nil, err
	}
	return s.ledger.load(ctx)
}

// listAll lists every chat, those too that do not match: a chat that comes to match
// later brings no old messages with it. It takes as many attempts as are needed.
func (s *session) listAll(ctx context.Context) ([]chats.Chat, error) {
	for failures := 1; ; failures++ {
		var all []chats.Chat
		cost, err := s.sweeper.list(ctx, chats.Filter{}, func(chat chats.Chat) { all = append(all, chat) })
		if err == nil {
			return all, nil
		}
		sleep(ctx, s.sweeper.failed(ctx, err, failures, cost))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func newestOf(all []chats.Chat) (newest time.Time) {
	for _, chat := range all {
		newest = later(newest, chat.UpdatedAt)
	}
	return newest
}

// lately is how recent a chat's last message must be when we begin, by our clock,
// for another one to come in the same second. It allows for a clock that is wrong.
const lately = 10 * time.Minute

// passOver marks the chats that have changed since with what they held when we
// began, without a word to the handler: by the time of the last message, or by its
// id where another one may share the time.
func (s *session) passOver(
	ctx context.Context, all []chats.Chat, marks map[chats.ChatID]Mark, since, began time.Time,
) error {
	for _, chat := range all {
		if chat.UpdatedAt.Before(since) || !marks[chat.ID].isZero() {
			continue
		}
		mark := Mark{UpdatedAt: second(chat.UpdatedAt)}
		if began.Sub(chat.UpdatedAt) < lately {
			switch last, err := s.lastBefore(ctx, chat.ID, began); {
			case err == nil:
				mark = Mark{Message: last}
			case errors.Is(err, errUnread):
				s.log.LogAttrs(ctx, slog.LevelWarn, "inbox: what the chat holds counts as old",
					slog.Int64("chat", int64(chat.ID)), slog.Any("error", err))
			default:
				return err
			}
		}
		if mark.isZero() {
			continue
		}
		if err := s.ledger.commit(ctx, chat.ID, Mark{}, mark); err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}

// mostUnread is how often in a row a chat may fail to be read, which takes a quarter of
// a minute. The others wait for it.
const mostUnread = 5

// errUnread: the chat is passed over by the time of its last message instead.
var errUnread = errors.New("the chat cannot be read")

// lastBefore is the last message of a chat that was there when we began. What came
// while the chats were being listed is told from it by our clock, or Market's if
// that is known to be ahead. Where ours is ahead, it counts as old.
func (s *session) lastBefore(ctx context.Context, id chats.ChatID, began time.Time) (chats.MessageID, error) {
	for failures := 1; ; failures++ {
		last, err := s.scan(ctx, id, began)
		if err == nil || errors.Is(err, chats.ErrNotFound) {
			return last, nil
		}
		if ctx.Err() != nil || s.refused(err) {
			return 0, err
		}
		pause := backoff(failures, longestPause)
		if isLimited(err, chats.OpGetChatHistory) {
			pause, failures = s.pace.blocked(err), 0 // the hour's end helps
		}
		if failures >= mostUnread {
			return 0, fmt.Errorf("%w: %w", errUnread, err)
		}
		s.log.LogAttrs(ctx, slog.LevelWarn, "inbox: the chat cannot be read",
			slog.Int64("chat", int64(id)), slog.Any("error", err), slog.Duration("pause", pause))
		sleep(ctx, pause)
	}
}

func (s *session) scan(ctx context.Context, id chats.ChatID, began time.Time) (last chats.MessageID, err error) {
	for message, err := range s.client.History(ctx, id, 0) {
		if err != nil {
			return 0, err
		}
		if second(message.CreatedAt).After(second(began)) {
			return last, nil
		}
		last = message.ID
	}
	return last, nil
}
