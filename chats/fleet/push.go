package fleet

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
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
	_, id, err := f.turnID(inboxes, business)
	if err == nil && id == 0 {
		turn, lookupErr := f.turnOf(ctx, inboxes, business)
		if err = lookupErr; err == nil && turn == nil {
			f.unknown(ctx, business)
			return nil
		}
	}
	if err == nil {
		err = f.store.Wake(ctx, business, chat, time.Now())
	}
	if err == nil {
		err = f.wakeUp(ctx, inboxes, business)
	}
	if err != nil {
		err = fmt.Errorf("fleet: notify business %d: %w", business, err)
	}
	return err
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
	err := s.Store.ResolveItem(ctx, record)
	if err == nil {
		err = s.f.wakeUp(ctx, outboxes, record.Business)
	}
	return err
}

// TxInserter inserts jobs in a transaction of database/sql: a client of riverdatabasesql or
// riversqlite, which need not work any jobs.
type TxInserter interface {
	InsertTx(ctx context.Context, tx *sql.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
}

// PutTx adds items to the outbox of a business within the caller's transaction: they are
// posted at once if it is committed, and not added otherwise. The caller rolls back after
// any error.
//
// It inserts a job of its own and touches no other, so a transaction that stays open holds
// up no other business.
func (f *Fleet) PutTx(
	ctx context.Context, jobs TxInserter, tx *sql.Tx, business chats.BusinessID, items ...outbox.Item,
) error {
	err := f.store.PutTx(ctx, tx, business, items...)
	if err == nil {
		_, err = jobs.InsertTx(ctx, tx, outboxes.wake(businessArgs{business}), outboxes.options(1, time.Time{}))
	}
	return err
}

// ShopStatus is the state of a business.
type ShopStatus struct {
	Business chats.BusinessID
	Job      *rivertype.JobRow // of the inbox: its state, when it is due, who has worked it
	Failures int               // in a row: refusals of the credential, or failures of shop
	RetryAt  time.Time         // when the same credential is tried again; zero without failures
	Failure  string
	Inbox    inbox.Summary
	State    inbox.BusinessState
	Outbox   outbox.Summary
}

// Status returns the state of every business that is followed, in the order in which they
// were started, from River's rows and the store: some five statements a business. An error
// ends the sequence.
func (f *Fleet) Status(ctx context.Context) iter.Seq2[ShopStatus, error] {
	return func(yield func(ShopStatus, error) bool) {
		jobs, _, err := f.turnID(inboxes, 0)
		if err != nil {
			yield(ShopStatus{}, err)
			return
		}
		for job, err := range turns(ctx, jobs, inboxes) {
			var status ShopStatus
			if err == nil {
				status, err = f.status(ctx, job)
			}
			if !yield(status, err) || err != nil {
				return
			}
		}
	}
}

func (f *Fleet) status(ctx context.Context, job *rivertype.JobRow) (s ShopStatus, err error) {
	t := troubleOf(job)
	s = ShopStatus{Business: businessOf(job), Job: job, Failures: t.Failures, RetryAt: t.Until, Failure: t.Error}
	if s.Inbox, err = f.store.Summary(ctx, s.Business, time.Now()); err != nil {
		return s, err
	}
	if s.State, err = f.store.Business(ctx, s.Business); err != nil {
		return s, err
	}
	s.Outbox, err = f.store.Counts(ctx, s.Business)
	return s, err
}
