package inbox

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// commitTime bounds one attempt to commit, and so how long a run goes on after its
// context has ended.
const commitTime = 5 * time.Second

// marksTime bounds one attempt to read the marks. A connection that is dead without
// knowing it must not keep the lease for ever.
const marksTime = 30 * time.Second

// ledger is the store, for as long as a lease is held.
type ledger struct {
	store    Store
	business chats.BusinessID
	log      *slog.Logger
	// held is what commits are made under. It outlives the context of the run: what
	// was handled is committed all the same.
	held context.Context //nolint:containedctx // it belongs to the lease, not to a call
}

// load reads the marks, however long the store takes to come back.
func (l *ledger) load(ctx context.Context) (map[chats.ChatID]Mark, error) {
	for failures := 1; ; failures++ {
		marks, err := l.marks(ctx)
		if err == nil {
			return marks, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.rest(ctx, failures, "inbox: the store does not give the marks", err)
	}
}

func (l *ledger) marks(ctx context.Context) (map[chats.ChatID]Mark, error) {
	ctx, cancel := context.WithTimeout(ctx, marksTime)
	defer cancel()
	return l.store.Marks(ctx, l.business)
}

// commit moves a mark, however long the store takes to come back. The attempt during
// or before which ctx has ended is the last. An ErrConflict is final: another worker
// has moved the mark, or an attempt that seemed to fail has.
func (l *ledger) commit(ctx context.Context, chat chats.ChatID, from, to Mark) error {
	for failures := 1; ; failures++ {
		err := l.attempt(chat, from, to) //nolint:contextcheck // it outlives ctx
		if err == nil || errors.Is(err, ErrConflict) || ctx.Err() != nil || l.held.Err() != nil {
			return err
		}
		l.rest(ctx, failures, "inbox: the store does not commit", err, slog.Int64("chat", int64(chat)))
	}
}

// attempt is made under held alone: ctx may have ended.
func (l *ledger) attempt(chat chats.ChatID, from, to Mark) error {
	ctx, cancel := context.WithTimeout(l.held, commitTime)
	defer cancel()
	return l.store.Commit(ctx, l.business, chat, from, to)
}

func (l *ledger) rest(ctx context.Context, failures int, text string, err error, attrs ...slog.Attr) {
	pause := backoff(failures, longestPause)
	attrs = append(attrs, slog.Any("error", err), slog.Duration("pause", pause))
	l.log.LogAttrs(ctx, slog.LevelWarn, text, attrs...)
	sleep(ctx, pause)
}
