package inbox

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/leasing"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// Step does the work that is due (polls, retries and pages of sweeps), and returns the time at
// which more work is due. It is meant for programs that serve many businesses from a job queue.
// After 20 s, Step begins no more polls; a poll in progress delivers messages until 20 s after its
// first delivery. Step waits for running handlers, and keeps the lease meanwhile; see
// [WithHandlerTimeout]. A request that is interrupted when the step or ctx ends counts as failed
// if it, with its retries, has taken 10 s or more.
//
// The error is a [LeaseHeldError] if another process serves the business, [ErrLeaseLost] if the
// lease was lost during the step, the server's refusal of the credential ([chats.ErrUnauthorized],
// [chats.ErrForbidden]), an error of the store, a [chats.ArgumentError], or [ErrRunning]. In each
// case, next is the time to try again. Failures of a single chat or of the handler are not
// returned; they are stored, and retried when due.
func (in *Inbox) Step(
	ctx context.Context, handle func(context.Context, Delivery) error,
) (next time.Time, err error) {
	if handle == nil {
		return time.Now().Add(wait.Max), badArgument("handle", "is nil")
	}
	if !in.running.CompareAndSwap(false, true) {
		return time.Now().Add(time.Second), ErrRunning
	}
	defer in.running.Store(false)
	return in.keeper.Once(ctx, func(ctx context.Context, t *leasing.Term[Lease]) (time.Time, error) {
		return in.work(ctx, t, in.config.workers, true, nil, handle)
	})
}

// work serves the business under a lease until ctx is done, and then returns nil, or until the
// session ends, and then returns the reason: ErrLeaseLost, a [leasing.FinalError], or an error of
// the store. With once, it works until nothing is due, or for stepTime; next is when work is due
// again.
func (in *Inbox) work(
	ctx context.Context, t *leasing.Term[Lease], workers int, once bool, asked <-chan struct{}, handle handleFunc,
) (next time.Time, err error) {
	var renewing sync.WaitGroup
	defer renewing.Wait()
	defer t.Lose(nil) // in case of a panic
	d := newDispatcher()
	renewing.Go(func() { t.Keep(d.note) }) // before the state is loaded, which may take long
	state, err := in.load(ctx)
	if err != nil {
		t.End(ctx, in.store.Release)
		return time.Now().Add(wait.Max), err
	}
	s := newSession(in, t, &state)
	s.workers, s.once, s.stepEnd, s.asked, s.handle = workers, once, time.Now().Add(stepTime), asked, handle
	d.session = s
	w := newSweeper(s, d.note)
	working, cancel := context.WithCancelCause(ctx)
	s.cancel = cancel
	defer cancel(nil)
	defer context.AfterFunc(t.Ctx, func() { s.end(ErrLeaseLost) })()
	d.note(state.DueAt)
	var sweeping sync.WaitGroup
	sweeping.Go(func() {
		if err := w.run(working); err != nil {
			s.end(err)
			return
		}
		s.swept.Store(true)
		d.signal()
	})
	d.run(working, s.swept.Load)
	var ended *endError
	if errors.As(context.Cause(working), &ended) {
		err = ended.error
	}
	cancel(nil)
	sweeping.Wait()
	due := d.finish(ctx)
	if !once {
		return time.Time{}, err
	}
	if err == nil && ctx.Err() == nil {
		err = cmp.Or(w.refused, s.refusals.poll)
	}
	_, next = w.next()
	return wait.Earliest(next, due), err
}
