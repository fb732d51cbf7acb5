package fleet

import (
	"context"
	"iter"
	"time"

	"github.com/riverqueue/river/rivertype"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

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
		for job, err := range turns(ctx, jobs, inboxes, nil) {
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
