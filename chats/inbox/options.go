package inbox

import (
	"log/slog"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// Option sets up an [Inbox].
type Option func(*config) error

type config struct {
	workers  int
	interval time.Duration
	filter   chats.Filter
	senders  []chats.Sender
	backfill *time.Time
	reserve  float64
	logger   *slog.Logger
}

func defaultConfig() config {
	return config{workers: 8, interval: time.Minute, reserve: 0.5, logger: slog.New(slog.DiscardHandler)}
}

func (c *config) wants(sender chats.Sender) bool {
	return len(c.senders) == 0 || slices.Contains(c.senders, sender)
}

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

// WithPollInterval sets how long the inbox rests between two sweeps over the list of chats; 1
// minute by default. It rests longer where the hour's allowance asks for it, see
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

// WithFilter narrows the inbox to the chats that match the filter; by default it is
// all of them. A message of a chat that does not match is delivered later if the
// chat comes to match.
//
// A filter with Statuses makes every sweep one over all chats that it matches: see
// Sweeps in the package's documentation. One with Statuses or Types costs a getChat
// for every push, as only Market knows what they are at the moment.
func WithFilter(filter chats.Filter) Option {
	return func(c *config) error {
		if filter.PageSize < 0 || filter.PageSize > chats.MaxChatsPage {
			return badArgument("filter: page size", "must be 1 to 20, or 0 for the maximum")
		}
		c.filter = filter
		return nil
	}
}

// WithSenders hands over the messages of these senders only: WithSenders(chats.SenderCustomer)
// leaves out one's own, the automatic ones and the support's. The others count as
// handled.
func WithSenders(senders ...chats.Sender) Option {
	return func(c *config) error {
		if len(senders) == 0 {
			return badArgument("senders", "none is given: nothing would be handed over")
		}
		c.senders = slices.Clone(senders)
		return nil
	}
}

// WithStartTime begins with the messages that were created in that second or later, by
// Market's clock; the zero time is the beginning of every chat. It counts when a
// business is followed for the first time, and for nothing on a later start. By
// default only what arrives after the first start is delivered.
func WithStartTime(since time.Time) Option {
	return func(c *config) error {
		c.backfill = &since
		return nil
	}
}

// WithQuotaReserve sets the part of the hour's allowance that is left to the other programs
// of the business, from 0 to less than 1; one half by default. Sweeps are spread
// over the hour so that they do not touch it, and wait for the next hour where it
// is all that remains. The reading of histories, which is what brings the messages,
// slows down then, and does not stop before the server says so.
func WithQuotaReserve(fraction float64) Option {
	return func(c *config) error {
		if !(fraction >= 0 && fraction < 1) { // NaN is neither
			return badArgument("reserve", "must be at least 0 and less than 1")
		}
		c.reserve = fraction
		return nil
	}
}

// WithLogger logs what is waited out and what fails: the ids of chats and messages
// and the errors, the handler's among them. Never a text, never a customer's name.
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
