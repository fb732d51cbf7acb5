package inbox

import (
	"context"
	"iter"

	"github.com/ymchats/ymchats-go/chats/internal/leasing"
)

// Run calls handle for every message until ctx is done. The messages of a chat are delivered one
// at a time, in ascending order; messages of different chats are handled concurrently, up to
// [WithWorkers] at a time.
//
// A message counts as handled when handle has returned nil. If handle returns an error, panics or
// calls [runtime.Goexit], the message is delivered again later: see Failures in the package
// documentation. The context passed to handle ends when ctx is done, the run ends with an error,
// the handler timeout expires or the lease is lost. If handle nevertheless returns nil, the message
// counts as handled, unless the lease is lost or the handler timeout has expired.
//
// If another process holds the lease, Run stands by and takes over when the lease ends.
//
// When ctx is done, Run waits for the running handlers, saves their results, and returns nil.
// Saving may take up to 10 s if the store does not respond. Run keeps the lease until it returns:
// see [WithHandlerTimeout].
//
// Run returns an error if the server refuses the credential for a minute, if the store fails for
// about half a minute (six attempts) when Run first tries to acquire the lease, if an argument is
// invalid ([chats.ErrInvalidArgument]), or if the inbox is already running ([ErrRunning]). All
// other failures are logged and retried.
func (in *Inbox) Run(ctx context.Context, handle func(context.Context, Delivery) error) error {
	if handle == nil {
		return badArgument("handle", "is nil")
	}
	return in.run(ctx, in.config.workers, nil, handle)
}

// Messages returns a sequence of the messages, for a loop that handles them one at a time:
//
//	for delivery, err := range in.Messages(ctx) {
//		if err != nil {
//			return err // the credential is refused, or the lease cannot be acquired
//		}
//		...
//	}
//
// A message counts as handled when the loop has asked for the next one. If the loop exits early, the
// last message does not count as handled and is delivered again in the next run. When ctx is done,
// the sequence ends without an error. Any error ends the sequence. Otherwise Messages behaves like
// [Inbox.Run] with one worker, but the loop is not notified when the lease is lost or the handler
// timeout expires. The message that the loop is handling is then delivered again, by this process
// or another one.
func (in *Inbox) Messages(ctx context.Context) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) { in.yieldMessages(ctx, yield) }
}

// run works under one lease after another until ctx is done. If asked is not nil, each call to
// handle waits for a value from it.
func (in *Inbox) run(ctx context.Context, workers int, asked <-chan struct{}, handle handleFunc) error {
	if !in.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer in.running.Store(false)
	return in.keeper.Run(ctx, func(ctx context.Context, t *leasing.Term[Lease]) error {
		_, err := in.work(ctx, t, workers, false, asked, handle)
		return err
	})
}

// yieldMessages runs the inbox in a separate goroutine and yields its deliveries on the
// goroutine of the loop.
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
		cancel()
		open <- ctx.Err() // the loop was exited by a break or a panic: the delivery is interrupted
		<-done            //nolint:errcheck // the loop has ended and takes no error
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
			if err != nil {
				yield(Delivery{}, err)
			}
			return
		}
	}
}
