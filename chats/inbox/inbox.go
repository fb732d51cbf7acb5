package inbox

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync/atomic"

	"github.com/ymchats/ymchats-go/chats"
)

// ErrRunning says that the inbox is being run already: one [Inbox] is run once at a
// time.
var ErrRunning = errors.New("inbox: is running already")

// Delivery is one message for the handler.
type Delivery struct {
	// Chat as it was last read. Of a message found by a push alone it may be as old
	// as the last sweep: its Status and UpdatedAt may lag behind.
	Chat    chats.Chat
	Message chats.Message
}

// Inbox hands over every message of a business's chats. Make one with [New].
type Inbox struct {
	client  *chats.Client
	store   Store
	config  config
	log     *slog.Logger
	wakes   wakes
	running atomic.Bool
}

// New makes an inbox on a client and a store. Nothing is sent and nothing is read
// before [Inbox.Run] or [Inbox.Messages]. The error is a [chats.ArgumentError].
func New(client *chats.Client, store Store, options ...Option) (*Inbox, error) {
	if client == nil {
		return nil, badArgument("client", "is nil")
	}
	if store == nil {
		return nil, badArgument("store", "is nil")
	}
	cfg := defaultConfig()
	for _, option := range options {
		if option == nil {
			return nil, badArgument("option", "is nil")
		}
		if err := option(&cfg); err != nil {
			return nil, err
		}
	}
	log := cfg.logger.With(slog.Int64("business", int64(client.Business())))
	return &Inbox{client: client, store: store, config: cfg, log: log, wakes: newWakes()}, nil
}

// Run hands every message to handle, until the context ends. Of one chat the
// messages come one at a time, in ascending order; of several chats as many at once as
// [WithWorkers] allows.
//
// A message is handled when handle has returned nil. Where it returns an error or
// panics, the message comes again after 1 s, then 2 s, doubling to 5 min; the rest
// of its chat waits meanwhile, other chats do not. The context that handle gets
// ends when Run is to end, or when the lease is lost: a message whose handling was
// finished nevertheless counts as handled in the first case, not in the second.
//
// Run returns nil when the context has ended, after the last handler has returned
// and what it handled is committed (5 s are left for that). It returns an error
// when Market refuses the credential, the lease cannot be had at all, an argument
// is wrong ([chats.ErrInvalidArgument]), or it is running already ([ErrRunning]).
// Everything else it logs and waits out.
func (in *Inbox) Run(ctx context.Context, handle func(context.Context, Delivery) error) error {
	if handle == nil {
		return badArgument("handle", "is nil")
	}
	return in.run(ctx, in.config.workers, recovered(handle))
}

// Messages is the inbox as a sequence, for a loop that takes one message after the
// other:
//
//	for delivery, err := range in.Messages(ctx) {
//		if err != nil {
//			return err // the credential is refused, or the lease cannot be had
//		}
//		...
//	}
//
// A message is handled when the loop asks for the next one. Whoever leaves the loop
// has not handled the last: it comes again when the inbox is ranged over again. The
// sequence ends silently with the context; an error is yielded once, and last. All
// else is as with [Inbox.Run] and one worker, except that the loop is not told when
// a lease is lost: what it was working on then is delivered again, here or elsewhere.
func (in *Inbox) Messages(ctx context.Context) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		left := false
		err := in.run(ctx, 1, func(_ context.Context, d Delivery) error {
			if left = !yield(d, nil); left {
				return errLeft
			}
			return nil
		})
		if err != nil && !left {
			yield(Delivery{}, err)
		}
	}
}

// Wake says that a push arrived for a chat: its history is read at once, without
// waiting for a sweep. It may be called from any goroutine, before, during and
// after a run, and never blocks. Before a run and on a stand-by it has no effect: a run
// begins with a sweep over all chats. So where several copies run, a push must reach
// the one that works to save time, all of them for example; the sweeps find what it
// does not.
//
// Pushes that come twice, late or for chats that do not exist do no harm, and one
// that is lost costs time only, as the next sweep finds the message. Where the
// history does not show anything new yet, it is read again after 1 s and after
// 5 s. A chat whose handling has failed waits for its next try all the same.
func (in *Inbox) Wake(_ context.Context, id chats.ChatID) error {
	if id < 1 {
		return badArgument("chat", "must be greater than 0")
	}
	in.wakes.add(id)
	return nil
}
