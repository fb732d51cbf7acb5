package outbox

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/tenure"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// stepTime is how long a step continues with what is due.
const stepTime = 60 * time.Second

// Run posts queued items until ctx ends. If another process serves the business, Run stands
// by and takes over when that process's lease ends.
//
// Run returns nil when ctx has ended. Posts in progress have 5 s to finish; the next run
// resumes any that do not. It returns an error if the server refuses the credential for a
// minute ([chats.ErrUnauthorized], or [chats.ErrForbidden] if not even the list of chats is
// allowed; nothing is lost), the store fails for about half a minute (six attempts) when
// Run first tries to acquire the lease, or the outbox is already running ([ErrRunning]).
// Everything else is logged and retried.
func (o *Outbox) Run(ctx context.Context) error {
	if !o.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer o.running.Store(false)
	o.refusals.reset() // those of an earlier run do not end this one
	return o.keeper.Run(ctx, func(ctx context.Context, t *tenure.Tenure[inbox.Lease]) error {
		_, err := (&session{Outbox: o, tenure: t}).run(ctx, false)
		return err
	})
}

// Step posts what is due, for at most 60 s, and returns the time at which something is due
// next, or the zero time if nothing is queued. It is meant for programs that serve many
// businesses from a job queue; [Outbox.Run] loops by itself. After 60 s Step waits for posts
// in progress, but not for a WithSettled function, whose item is then reported again. If ctx
// ends, posts have 5 s to finish, and Step waits at most 6 s for a WithSettled function.
//
// If another process may have posted an item, Step continues for [chats.SearchTime], 15.5
// s, and searches for it. If ctx ends sooner, the same [Outbox] continues the search in its
// next Step; a new Outbox starts it over.
//
// The error is an [inbox.LeaseHeldError] if another process serves the business, an
// [inbox.ErrLeaseLost] if the lease was lost meanwhile, the server's refusal of the
// credential ([chats.ErrUnauthorized], [chats.ErrForbidden] as for [Outbox.Run]), an error
// of the store, or [ErrRunning]. In each case, next is the time to try again. Failures of a
// single item are not returned: they are stored and retried when due.
func (o *Outbox) Step(ctx context.Context) (next time.Time, err error) {
	if !o.running.CompareAndSwap(false, true) {
		return time.Now().Add(time.Second), ErrRunning
	}
	defer o.running.Store(false)
	return o.keeper.Once(ctx, func(ctx context.Context, t *tenure.Tenure[inbox.Lease]) (time.Time, error) {
		return (&session{Outbox: o, tenure: t}).run(ctx, true)
	})
}

// run works until ctx ends, and returns nil then, or until something ends the session, and
// returns what: [inbox.ErrLeaseLost] or a [tenure.FinalError]. With once, it works until
// nothing is due, or for stepTime; next is when something is due again.
func (s *session) run(ctx context.Context, once bool) (next time.Time, err error) {
	ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.cancel(nil)
	s.ending, s.once, s.until = ctx, once, time.Now().Add(stepTime)
	defer context.AfterFunc(s.tenure.Ctx, func() { s.end(inbox.ErrLeaseLost) })()
	posting, stopPosting := context.WithCancel(s.tenure.Ctx)
	defer stopPosting()
	s.posting = posting
	defer context.AfterFunc(ctx, func() {
		wait.Sleep(posting, graceTime)
		stopPosting()
	})()
	var renewing sync.WaitGroup
	renewing.Go(func() { s.tenure.Keep(func(time.Time) {}) })
	d := newDispatcher(s)
	d.run(ctx)
	var ended *endError
	if errors.As(context.Cause(ctx), &ended) {
		err = ended.error
	}
	next = d.next()
	s.tenure.End(ctx, s.store.Release)
	renewing.Wait()
	return next, err
}
