package outbox

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// stepTime is how long after its start a step still begins new work.
const stepTime = 60 * time.Second

// Run posts queued items until ctx is done. If another process serves the business, Run stands by
// and takes over when the lease of that process ends.
//
// Run returns nil after ctx is done. Posts in progress have 5 s to finish; the next run
// resumes those that do not. Run returns an error in three cases: the server refuses the credential
// for a minute ([chats.ErrUnauthorized], or [chats.ErrForbidden] if not even the list of chats is
// allowed); the store fails for about half a minute (six attempts) when Run first tries to acquire
// the lease; or the outbox is already running ([ErrRunning]). No item is lost. All other failures
// are logged and retried.
func (o *Outbox) Run(ctx context.Context) error {
	if !o.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer o.running.Store(false)
	o.refusals.reset() // refusals in an earlier run must not end this one
	return o.keeper.Run(ctx, func(ctx context.Context, t *leasing.Term[inbox.Lease]) error {
		_, err := (&session{Outbox: o, term: t}).run(ctx, false)
		return err
	})
}

// Step posts the items that are due, and returns the time at which more work is due, or the zero
// time if there is nothing left to post or to report. Step is meant for programs that serve many
// businesses from a job queue. After 60 s, Step begins no more posts. It waits for posts in
// progress, but not for a call to the WithSettled function that is still running; the item of that
// call is reported again. If ctx is done, posts have 5 s to finish, and Step waits at most 6 s for
// a call to the WithSettled function.
//
// If another process may have posted an item, Step searches the history for its message for 15.5 s
// ([chats.SearchTime]), or for twice as long if the item's NotAfter has passed. If ctx is done
// before the search has ended, the same [Outbox] continues the search in its next Step; a new
// Outbox starts over.
//
// The error is an [inbox.LeaseHeldError] if another process serves the business,
// [inbox.ErrLeaseLost] if the lease was lost meanwhile, the server's refusal of the credential
// ([chats.ErrUnauthorized], [chats.ErrForbidden] as for [Outbox.Run]), an error of the store,
// or [ErrRunning]. In each case, next is the time to try again. Failures of a single item are not
// returned; they are stored, and the item is retried when due.
func (o *Outbox) Step(ctx context.Context) (next time.Time, err error) {
	if !o.running.CompareAndSwap(false, true) {
		return time.Now().Add(time.Second), ErrRunning
	}
	defer o.running.Store(false)
	return o.keeper.Once(ctx, func(ctx context.Context, t *leasing.Term[inbox.Lease]) (time.Time, error) {
		return (&session{Outbox: o, term: t}).run(ctx, true)
	})
}

// run works until ctx is done, and then returns nil, or until the session ends, and then returns
// the reason: [inbox.ErrLeaseLost] or a [leasing.FinalError]. With once, it works until nothing
// is due, or for stepTime; next is when work is due again.
func (s *session) run(ctx context.Context, once bool) (next time.Time, err error) {
	ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.cancel(nil)
	s.ending, s.once, s.until = ctx, once, time.Now().Add(stepTime)
	defer context.AfterFunc(s.term.Ctx, func() { s.end(inbox.ErrLeaseLost) })()
	posting, stopPosting := context.WithCancel(s.term.Ctx)
	defer stopPosting()
	s.posting = posting
	defer context.AfterFunc(ctx, func() {
		wait.Sleep(posting, graceTime)
		stopPosting()
	})()
	var renewing sync.WaitGroup
	renewing.Go(func() { s.term.Keep(func(time.Time) {}) })
	d := newDispatcher(s)
	d.run(ctx)
	var ended *endError
	if errors.As(context.Cause(ctx), &ended) {
		err = ended.error
	}
	next = d.next()
	s.term.End(ctx, s.store.Release)
	renewing.Wait()
	return next, err
}
