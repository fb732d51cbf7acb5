package inbox

import (
	"context"
	"iter"

	"github.com/ymchats/ymchats-go/chats/internal/tenure"
)

// Run delivers every message to handle until ctx ends. The messages of one chat come one at
// a time, in ascending order; messages of different chats are handled concurrently, up to
// [WithWorkers] at once.
//
// A message is handled if handle has returned nil. If it returns an error, panics or calls
// [runtime.Goexit], the message is delivered again after 1 s, then 2 s, doubling up to 5
// min. Later messages of the chat wait meanwhile; other chats do not. If the handler fails
// for one chat after another, only one chat at a time is tried, after 1 s, with the delay
// doubling to 30 s, until it works again. The context passed to handle ends when ctx ends
// or when the lease is lost. If handle still finishes and returns nil, the message counts
// as handled in the first case but not in the second.
//
// If another process has the lease, Run stands by and takes over when that lease ends.
//
// Run returns nil when ctx has ended, after the last handler has returned and its result
// has been saved (which may take up to 5 s). It returns an error if the server refuses
// the credential for a minute, the store fails for about half a minute (six attempts)
// when Run first tries to acquire the lease, an argument is invalid
// ([chats.ErrInvalidArgument]), or the inbox is already running ([ErrRunning]).
// Everything else is logged and retried.
func (in *Inbox) Run(ctx context.Context, handle func(context.Context, Delivery) error) error {
	if handle == nil {
		return badArgument("handle", "is nil")
	}
	return in.run(ctx, in.config.workers, nil, handle)
}

// Messages returns the messages of the inbox as a sequence, for a loop that handles one
// message at a time:
//
//	for delivery, err := range in.Messages(ctx) {
//		if err != nil {
//			return err // the credential is refused, or the lease cannot be acquired
//		}
//		...
//	}
//
// A message is handled when the loop asks for the next one. If the loop exits early, the
// last message does not count as handled and is delivered again when the inbox is next
// ranged over. When ctx ends, the sequence ends without an error; any other error is
// yielded once and ends the sequence. Otherwise Messages behaves like [Inbox.Run] with one
// worker, except that the loop is not notified when the lease is lost or the handler
// timeout expires; the message it was working on is then delivered again, by this process
// or another one.
func (in *Inbox) Messages(ctx context.Context) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) { in.yieldMessages(ctx, yield) }
}

// run works under one lease after another until ctx ends. If asked is not nil, handle is called
// only once something was received from it.
func (in *Inbox) run(ctx context.Context, workers int, asked <-chan struct{}, handle handleFunc) error {
	if !in.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer in.running.Store(false)
	return in.keeper.Run(ctx, func(ctx context.Context, t *tenure.Tenure[Lease]) error {
		_, err := in.work(ctx, t, workers, false, asked, handle)
		return err
	})
}

// yieldMessages runs the inbox in a separate goroutine and passes its deliveries to the
// loop, on the loop's goroutine.
func (in *Inbox) yieldMessages(ctx context.Context, yield func(Delivery, error) bool) {
	ctx, cancel := context.WithCancel(ctx)
	type handover struct {
		Delivery

		result chan error
	}
	asked, deliveries, done := make(chan struct{}), make(chan handover), make(chan error, 1)
	go func() {
		done <- in.run(ctx, 1, asked, func(ctx context.Context, d Delivery) error {
			h := handover{d, make(chan error, 1)}
			select {
			case deliveries <- h:
				return <-h.result
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	open := make(chan error, 1) // the result of the delivery that the loop is working on
	defer func() {
		open <- errLeft // by a break, or by a panic in the loop
		cancel()
		<-done //nolint:errcheck // the loop has ended and takes no error
	}()
	for {
		select {
		case asked <- struct{}{}:
		case h := <-deliveries:
			open = h.result
			if !yield(h.Delivery, nil) {
				return
			}
			h.result <- nil
			open = make(chan error, 1)
		case err := <-done:
			done <- nil
			if err != nil && err != errLeft { //nolint:errorlint // our own, unwrapped
				yield(Delivery{}, err)
			}
			return
		}
	}
}
