package fleet

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/notify"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// Notify is the handle function of [notify.NewHandler], on every machine. Once it has
// returned nil the chat is due, and a worker of any process takes it up at once.
//
// Events that concern no chat, or a business that is not followed, are ignored, so that
// Market does not send them again; the latter are counted in [Stats] and logged. The error
// is the database's, or [ErrNotStarted].
func (f *Fleet) Notify(ctx context.Context, event notify.Event) error {
	business, chat := chatOf(event)
	if business < 1 || chat < 1 {
		return nil
	}
	f.count(&f.stats.Pushes)
	isFollowed, err := f.isFollowed(ctx, business)
	if err == nil && !isFollowed {
		f.unknown(ctx, business)
		return nil
	}
	if err == nil {
		err = f.wakeChat(ctx, business, chat)
	}
	if err == nil {
		err = f.wakeUp(ctx, inboxes, business)
	}
	if err != nil {
		err = fmt.Errorf("fleet: notify business %d: %w", business, err)
	}
	return err
}

// isFollowed believes what this process knows: the worker of the wake looks again.
func (f *Fleet) isFollowed(ctx context.Context, business chats.BusinessID) (bool, error) {
	if _, id, err := f.turnID(inboxes, business); err != nil || id != 0 {
		return true, err
	}
	turn, err := f.turnOf(ctx, inboxes, business)
	return turn != nil, err
}

// wakeChat makes a chat due. A step that is under way in this process notices it at once.
func (f *Fleet) wakeChat(ctx context.Context, business chats.BusinessID, chat chats.ChatID) error {
	if e := f.cached(business); e != nil {
		return e.inbox.Wake(ctx, chat)
	}
	return f.store.Wake(ctx, business, chat, time.Now())
}

func (f *Fleet) unknown(ctx context.Context, business chats.BusinessID) {
	f.count(&f.stats.Unknown)
	f.log.LogAttrs(ctx, slog.LevelWarn, "fleet: business is not followed", slog.Int64("business", int64(business)))
}

func chatOf(event notify.Event) (chats.BusinessID, chats.ChatID) {
	switch e := event.(type) {
	case notify.MessageSent:
		return e.Business, e.Chat
	case notify.ChatCreated:
		return e.Business, e.Chat
	case notify.ArbitrageStarted:
		return e.Business, e.Chat
	case notify.ArbitrageFinished:
		return e.Business, e.Chat
	default:
		return 0, 0
	}
}

// Outbox returns the outbox of a business, for Put, Get, Resolve and Status, in any process.
// What is put or resolved is worked on at once, by any process. Do not call its Run or Step,
// and do not keep it: a later call has the current credential. The error is that of shop.
func (f *Fleet) Outbox(ctx context.Context, business chats.BusinessID) (*outbox.Outbox, error) {
	e, err := f.entry(ctx, business, false)
	if err != nil {
		return nil, err
	}
	return e.outbox, nil
}

// wakingStore is the store of the fleet's outboxes.
type wakingStore struct {
	Store

	f *Fleet
}

// Put implements [outbox.Store]. If the wake fails, so does Put, which may be repeated.
func (s wakingStore) Put(ctx context.Context, business chats.BusinessID, items ...outbox.Item) error {
	err := s.Store.Put(ctx, business, items...)
	if err == nil {
		err = s.f.wakeUp(ctx, outboxes, business)
	}
	return err
}

// ResolveItem implements [outbox.Store].
func (s wakingStore) ResolveItem(ctx context.Context, record *outbox.Record) error {
	if err := s.Store.ResolveItem(ctx, record); err != nil {
		return err
	}
	return s.f.wakeUp(ctx, outboxes, record.Business)
}

// TxInserter inserts jobs in a transaction of database/sql: a client of riverdatabasesql or
// riversqlite, which need not work any jobs.
type TxInserter interface {
	InsertTx(ctx context.Context, tx *sql.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
}

// PutTx adds items to the outbox of a business within the caller's transaction: they are
// posted at once if it is committed, and not added otherwise. The caller rolls back after
// any error. The fleet's store must have PutTx, as that of sqlstore does.
//
// It inserts a job of its own and touches no other, so a transaction that stays open holds
// up no other business.
func (f *Fleet) PutTx(
	ctx context.Context, jobs TxInserter, tx *sql.Tx, business chats.BusinessID, items ...outbox.Item,
) error {
	store, ok := f.store.(interface {
		PutTx(ctx context.Context, tx *sql.Tx, business chats.BusinessID, items ...outbox.Item) error
	})
	if !ok {
		return badArgument("store", "has no PutTx")
	}
	if err := store.PutTx(ctx, tx, business, items...); err != nil {
		return err
	}
	if _, err := jobs.InsertTx(ctx, tx, outboxes.wake(businessArgs{business}), outboxes.wakeOpts()); err != nil {
		return fmt.Errorf("fleet: wake business %d: %w", business, err)
	}
	return nil
}
