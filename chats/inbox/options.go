package inbox

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/typednil"
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
		workers: 8, interval: time.Minute, reserve: defaultReserve, lookback: 50, logger: slog.New(slog.DiscardHandler),
	}
}

func (c *config) wants(sender chats.Sender) bool {
	return len(c.senders) == 0 || sender == "" || slices.Contains(c.senders, sender)
}

// dependsOnState reports whether a chat that matches the filter may cease to match it.
func (c *config) dependsOnState() bool { return len(c.filter.Statuses) > 0 || len(c.filter.Types) > 0 }

// isTiered reports whether there are incremental sweeps between the full ones.
func (c *config) isTiered() bool { return len(c.filter.Statuses) == 0 }

// WithWorkers sets how many chats are handled concurrently. The default is 8.
func WithWorkers(n int) Option {
	return option(n >= 1, "workers", "must be at least 1", func(c *config) { c.workers = n })
}

// WithPollInterval sets the interval at which sweeps start. The default is one minute. The
// actual interval is longer if the quota requires it; see [WithQuotaReserve].
func WithPollInterval(interval time.Duration) Option {
	return option(interval > 0, "interval", "must be greater than 0", func(c *config) { c.interval = interval })
}

// WithFilter restricts the inbox to the chats that match the filter; the default is all
// chats. A message in a chat that does not match is delivered if the chat matches later.
//
// A filter with Statuses makes all sweeps full. A filter with Statuses or Types costs a getChat
// request whenever a push or a recheck finds a message, because the stored status and type may be
// out of date. If the quota does not allow that request, the message waits for the next quota
// window, or until a sweep lists the chat with a new UpdatedAt.
func WithFilter(filter chats.Filter) Option {
	isValid := filter.PageSize >= 0 && filter.PageSize <= chats.MaxChatsPage
	return option(isValid, "filter: page size", "must be 1 to 20, or 0 for the maximum",
		func(c *config) { c.filter = filter })
}

// WithSenders restricts the inbox to messages from the given senders. For example,
// WithSenders(chats.SenderCustomer) leaves out automatic messages and those from the shop and from
// support. Messages that are left out count as handled; the first from each sender unknown to this
// library is logged. A message without a sender is delivered.
func WithSenders(senders ...chats.Sender) Option {
	isValid := len(senders) > 0 && !slices.Contains(senders, "")
	return option(isValid, "senders", "must not be empty or contain an empty value: nothing would be delivered",
		func(c *config) { c.senders = slices.Clone(senders) })
}

// WithStartTime makes the inbox deliver the messages created at the given time or later, to the
// second, by Market's clock; the zero time means the beginning of every chat. By default only
// messages that arrive after the start of the first run are delivered. The option takes effect when
// an inbox serves a business for the first time, and not in later runs. The time may be in the
// future. In that case, a message created before it is delivered only if the message becomes
// visible late, that is, after the inbox has read the chat to its end once the start time has come.
func WithStartTime(since time.Time) Option {
	return func(c *config) error {
		c.startTime = &since
		return nil
	}
}

// WithQuotaReserve sets the fraction of Market's hourly quota that the inbox leaves unused, at
// least 0 and less than 1. The default is one half: the inbox makes at most half of the allowed
// requests for each operation. Only retries, and the further pages of polls that have begun, may
// exceed that. Requests from other programs are ignored until the quota is exhausted. Sweeps are
// spread over the quota window.
func WithQuotaReserve(fraction float64) Option {
	isValid := fraction >= 0 && fraction < 1 // NaN is neither
	return option(isValid, "reserve", "must be at least 0 and less than 1", func(c *config) { c.reserve = fraction })
}

// WithLookback sets how many of a chat's last handled messages every poll reads again. The
// default is 50. A message that becomes visible late, with an ID below those of messages
// already handled, is delivered if at most that many handled messages have higher IDs. Values
// up to about 90 cost no additional requests, because a history page has 100 messages.
func WithLookback(messages int) Option {
	return option(messages >= 0 && messages <= maxLookback, "lookback", "must be 0 to 1000",
		func(c *config) { c.lookback = messages })
}

const maxLookback = 1000

// WithHandlerTimeout sets how long a handler may take; by default there is no limit. If a handler
// takes longer, its context is canceled and the delivery counts as failed, even if the handler does
// not return. The handler may then still be running when the message is delivered again.
//
// Step waits for running handlers and keeps the lease meanwhile; so does Run after its context is
// done. Set a limit if a handler might ignore its context: a handler that never returns would keep
// the business from being served, on any machine, until its process ends.
func WithHandlerTimeout(d time.Duration) Option {
	return option(d > 0, "handler timeout", "must be greater than 0", func(c *config) { c.timeout = d })
}

// WithMaxAttempts sets the number of failures of a message after which the function dead is called,
// with the delivery and the last error. If dead returns nil, the message counts as handled;
// otherwise the message is retried, as after any other failure. By default a message is retried
// until it is handled.
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

// WithLogger sets the logger; by default nothing is logged. Log lines contain the business, IDs
// of chats and messages, and errors, including those of the handler. The inbox adds neither the
// text of a message nor the name of a customer.
func WithLogger(logger *slog.Logger) Option {
	return option(logger != nil && !typednil.Is(logger.Handler()), "logger", "is nil", func(c *config) { c.logger = logger })
}

// option returns an option that sets a valid value, or reports an invalid one.
func option(isValid bool, field, reason string, set func(*config)) Option {
	return func(c *config) error {
		if !isValid {
			return badArgument(field, reason)
		}
		set(c)
		return nil
	}
}

func badArgument(field, reason string) error {
	return &chats.ArgumentError{Package: "inbox", Field: field, Reason: reason}
}
