package inbox

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// ErrRunning is returned if the inbox is running already: one [Inbox] runs once at a time.
var ErrRunning = errors.New("inbox: already running")

// Delivery is one message for the handler.
type Delivery struct {
	Business chats.BusinessID
	// Chat is the chat as it was last read. Of a message that was found by a push it may be as
	// old as the last sweep: its Status and UpdatedAt may lag behind.
	Chat    chats.Chat
	Message chats.Message
	Attempt int // 1 for the first; it counts on across restarts
}

// Inbox delivers every message of a business's chats. Make one with [New].
type Inbox struct {
	client  *chats.Client
	store   Store
	config  config
	log     *slog.Logger
	holder  string
	woken   chan struct{} // holds one element after a Wake in this process
	running atomic.Bool
	listing listing
}

// New returns an inbox on a client and a store. Nothing is sent and nothing is read before
// [Inbox.Run], [Inbox.Step] or [Inbox.Messages]. The error is a [chats.ArgumentError].
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
	return &Inbox{
		client: client, store: boundedStore{store}, config: cfg, holder: newHolder(), woken: make(chan struct{}, 1),
		log: cfg.logger.With(slog.Int64("business", int64(client.Business()))),
	}, nil
}

// newHolder names this inbox among all processes, for people as well.
func newHolder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d/%08x", host, os.Getpid(), rand.Uint32())
}

// Run delivers every message to handle until ctx ends. The messages of one chat come one
// at a time, in ascending order; those of several chats as many at once as [WithWorkers]
// allows.
//
// A message is handled if handle has returned nil. If it returns an error or panics, or
// ends its goroutine, the message comes again after 1 s, then 2 s, doubling to 5 min; the
// rest of its chat waits meanwhile, other chats do not. If the handler fails for one chat
// after the other, only one chat at a time is tried, at most every 30 s, until it works
// again. The context that handle gets ends when Run is to end, or when the lease is lost: a
// message whose handling was finished nevertheless counts as handled in the first case, not
// in the second.
//
// If another process has the lease, Run stands by and takes over when that one ends.
//
// Run returns nil when ctx has ended, after the last handler has returned and what it
// handled is saved (5 s are left for that). It returns an error if the server refuses the
// credential for a minute, the lease cannot be acquired at all, an argument is wrong
// ([chats.ErrInvalidArgument]), or the inbox is running already ([ErrRunning]). Everything
// else is logged and retried.
func (in *Inbox) Run(ctx context.Context, handle func(context.Context, Delivery) error) error {
	if handle == nil {
		return badArgument("handle", "is nil")
	}
	return in.run(ctx, in.config.workers, handle)
}

// Step does what is due, for 20 s at most, and returns when something is due again: a page
// of a sweep, a poll, a retry. It is for programs that work for many businesses by a job
// queue; [Inbox.Run] is a loop of its own. After 20 s no further message is delivered; a
// handler that is running then is waited for.
//
// The error is a [LeaseHeldError] if another process works for the business, an [ErrLeaseLost]
// if the lease was lost meanwhile, the server's refusal of the credential
// ([chats.ErrUnauthorized], [chats.ErrForbidden]), the store's error, an argument's, or
// [ErrRunning]. next is when to try again in each case. What goes wrong with a chat or a
// handler is no error: it is stored and tried again at its time.
func (in *Inbox) Step(
	ctx context.Context, handle func(context.Context, Delivery) error,
) (next time.Time, err error) {
	if handle == nil {
		return time.Now().Add(maxBackoff), badArgument("handle", "is nil")
	}
	return in.step(ctx, handle)
}

// Messages is the inbox as a sequence, for a loop that takes one message after the other:
//
//	for delivery, err := range in.Messages(ctx) {
//		if err != nil {
//			return err // the credential is refused, or the lease cannot be acquired
//		}
//		...
//	}
//
// A message is handled when the loop asks for the next one. If the loop is left, the last
// message is not handled: it comes again when the inbox is ranged over again. The sequence
// ends silently with the context; an error is yielded once, and last. All else is as with
// [Inbox.Run] and one worker, except that the loop does not notice when a lease is lost or
// a handler's time is over: what it was working on then is delivered again, here or
// elsewhere.
func (in *Inbox) Messages(ctx context.Context) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) { in.yieldMessages(ctx, yield) }
}

// Wake makes a chat due, for pushes as chats/notify receives them: the message arrives
// within a second, without a sweep. It writes to the store, so it may be called in any
// process, before, during and after a run; it works at once in the process that works for
// the business, and within a second if that is another one.
//
// Pushes that come twice, late or for chats that do not exist do no harm, and one that is
// lost costs time only, as the next sweep finds the message. If the history does not show
// anything new yet, it is read again, see Rechecks in the package documentation. A chat
// whose handling has failed waits for its next attempt all the same.
//
// The error is the store's, or a [chats.ArgumentError].
func (in *Inbox) Wake(ctx context.Context, id chats.ChatID) error {
	if id < 1 {
		return badArgument("chat", "must be greater than 0")
	}
	if err := in.store.Wake(ctx, in.client.Business(), id, time.Now()); err != nil {
		return fmt.Errorf("inbox: wake chat %d: %w", id, err)
	}
	select {
	case in.woken <- struct{}{}:
	default:
	}
	return nil
}
