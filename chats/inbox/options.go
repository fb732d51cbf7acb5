package inbox

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// Option configures an [Inbox].
type Option func(*config) error

type config struct {
	workers     int
	interval    time.Duration
	filter      chats.Filter
	senders     []chats.Sender
	startTime   *time.Time
	reserve     float64
	lookback    int
	timeout     time.Duration
	maxAttempts int
	dead        func(context.Context, Delivery, error) error
	logger      *slog.Logger
}

func defaultConfig() config {
	return config{
		workers: 8, interval: time.Minute, reserve: 0.5, lookback: 50, logger: slog.New(slog.DiscardHandler),
	}
}

func (c *config) wants(sender chats.Sender) bool {
	return len(c.senders) == 0 || slices.Contains(c.senders, sender)
}

// isTiered reports whether there are incremental sweeps between the full ones.
func (c *config) isTiered() bool { return len(c.filter.Statuses) == 0 }

// WithWorkers sets how many chats are handled at once. The default is 8.
func WithWorkers(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return badArgument("workers", "must be at least 1")
		}
		c.workers = n
		return nil
	}
}

// WithPollInterval sets the time between the beginnings of two sweeps over the list of
// chats. The default is one minute. It is longer if the quota asks for it, see
// [WithQuotaReserve].
func WithPollInterval(interval time.Duration) Option {
	return func(c *config) error {
		if interval <= 0 {
			return badArgument("interval", "must be greater than 0")
		}
		c.interval = interval
		return nil
	}
}

// WithFilter restricts the inbox to the chats that match the filter; by default it is all
// of them. A message of a chat that does not match is delivered later if the chat comes
// to match.
//
// A filter with Statuses makes every sweep a full one: see Sweeps in the package
// documentation. One with Statuses or Types costs a getChat whenever a push or a recheck
// finds something, because only the server knows them at that moment.
func WithFilter(filter chats.Filter) Option {
	return func(c *config) error {
		if filter.PageSize < 0 || filter.PageSize > chats.MaxChatsPage {
			return badArgument("filter: page size", "must be 1 to 20, or 0 for the maximum")
		}
		c.filter = filter
		return nil
	}
}

// WithSenders delivers the messages of these senders only: WithSenders(chats.SenderCustomer)
// leaves out the shop's own, the automatic ones and the support's. The others count as
// handled. A sender that this library does not know is logged once when it is left out.
func WithSenders(senders ...chats.Sender) Option {
	return func(c *config) error {
		if len(senders) == 0 {
			return badArgument("senders", "must not be empty: nothing would be delivered")
		}
		c.senders = slices.Clone(senders)
		return nil
	}
}

// WithStartTime begins with the messages created in that second or later, by Market's
// clock; the zero time is the beginning of every chat. It counts when a business is
// followed for the first time and has no effect on later starts. By default only what
// arrives after the first start is delivered.
func WithStartTime(since time.Time) Option {
	return func(c *config) error {
		c.startTime = &since
		return nil
	}
}

// WithQuotaReserve sets the fraction of Market's hourly quota that the inbox leaves alone,
// from 0 to less than 1. The default is one half: the inbox makes at most half of the
// requests that an operation allows for. What other programs use does not count. Sweeps
// are spread over the hour accordingly.
func WithQuotaReserve(fraction float64) Option {
	return func(c *config) error {
		if !(fraction >= 0 && fraction < 1) { // NaN is neither
			return badArgument("reserve", "must be at least 0 and less than 1")
		}
		c.reserve = fraction
		return nil
	}
}

// WithLookback sets how many of a chat's last handled messages are read again by every
// poll. The default is 50. A message that becomes visible late, below others that were
// handled before, is delivered if no more than so many handled ones are above it. Up to
// about 90 it costs no further requests, as a page of the history has 100 messages.
func WithLookback(messages int) Option {
	return func(c *config) error {
		if messages < 0 || messages > maxLookback {
			return badArgument("lookback", "must be 0 to 1000")
		}
		c.lookback = messages
		return nil
	}
}

const maxLookback = 1000

// WithHandlerTimeout sets how long a handler may take. By default it may take as long as
// it likes. After that time its context ends and the delivery counts as failed, even if
// the handler does not return: it may then run next to a later call for the same message.
func WithHandlerTimeout(d time.Duration) Option {
	return func(c *config) error {
		if d <= 0 {
			return badArgument("handler timeout", "must be greater than 0")
		}
		c.timeout = d
		return nil
	}
}

// WithMaxAttempts sets how often a message is delivered before it is given up: after the
// n-th failure dead is called with the delivery and the last error. If dead returns nil,
// the message counts as handled; otherwise the message comes again like any other that has
// failed. By default a message is delivered until it is handled.
func WithMaxAttempts(n int, dead func(context.Context, Delivery, error) error) Option {
	return func(c *config) error {
		if n < 1 {
			return badArgument("attempts", "must be at least 1")
		}
		if dead == nil {
			return badArgument("dead", "is nil")
		}
		c.maxAttempts, c.dead = n, dead
		return nil
	}
}

// WithLogger sets the logger for failures and what is done about them. A line has the
// business, ids of chats and messages, and errors, the handler's among them. It never has a
// message's text or a customer's name.
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) error {
		if logger == nil {
			return badArgument("logger", "is nil")
		}
		c.logger = logger
		return nil
	}
}

func badArgument(field, reason string) error {
	return &chats.ArgumentError{Package: "inbox", Field: field, Reason: reason}
}
