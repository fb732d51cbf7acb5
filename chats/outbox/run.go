package outbox

import (
	"context"
	"time"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/tenure"
)

// stepTime is how long a step goes on with what is due.
const stepTime = 60 * time.Second

// Run posts the items that are put, until ctx ends. If another process serves the business,
// Run stands by and takes over when that process's lease ends.
//
// Run returns nil when ctx has ended. Posts in progress have 5 s to finish; the next run
// resumes any that do not. It returns an error if the server refuses the credential for a
// minute ([chats.ErrUnauthorized], or [chats.ErrForbidden] if not even the list of chats is
// allowed; nothing is lost), the lease cannot be acquired at all, or the outbox is running
// already ([ErrRunning]). Everything else is logged and retried.
func (o *Outbox) Run(ctx context.Context) error {
	if !o.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer o.running.Store(false)
	refusals := &refusals{}
	return o.keeper.Run(ctx, func(ctx context.Context, t *tenure.Tenure[inbox.Lease]) error {
		_, err := o.newSession(t, refusals).run(ctx, false)
		return err
	})
}

// Step posts what is due, for at most 60 s, and returns the time at which something is due
// next, or the zero time if nothing is queued. It is meant for programs that serve many
// businesses from a job queue; [Outbox.Run] loops by itself. After 60 s Step waits for posts
// in progress.
//
// If another process may have posted an item, Step goes on for [chats.SearchTime], 15.5 s,
// and searches for it. If ctx ends sooner, an [Outbox] that is kept continues in its next
// step, and one of a new process begins again.
//
// The error is an [inbox.LeaseHeldError] if another process serves the business, an
// [inbox.ErrLeaseLost] if the lease was lost meanwhile, the server's refusal of the
// credential ([chats.ErrUnauthorized], [chats.ErrForbidden] as for [Outbox.Run]), the
// store's error, or [ErrRunning]. In each case, next is the time to try again. Failures of a single item are
// not returned: they are stored and retried when due.
func (o *Outbox) Step(ctx context.Context) (next time.Time, err error) {
	if !o.running.CompareAndSwap(false, true) {
		return time.Now().Add(time.Second), ErrRunning
	}
	defer o.running.Store(false)
	return o.keeper.Once(ctx, func(ctx context.Context, t *tenure.Tenure[inbox.Lease]) (time.Time, error) {
		return o.newSession(t, &refusals{}).run(ctx, true)
	})
}
