package outbox

import (
	"context"
	"log/slog"
	"time"
)

// Option configures an [Outbox].
type Option func(*config) error

type config struct {
	workers   int
	settled   func(context.Context, Result) error
	retention time.Duration
	logger    *slog.Logger
}

func defaultConfig() config {
	return config{workers: 4, retention: 30 * 24 * time.Hour, logger: slog.New(slog.DiscardHandler)}
}

// WithWorkers sets how many chats are posted to at once. The default is 4, which is how
// many concurrent requests Market accepts.
func WithWorkers(n int) Option {
	return option(n >= 1, "workers", "must be at least 1", func(c *config) { c.workers = n })
}

// WithSettled sets the function to call for every item that is settled: Sent, Failed,
// Uncertain, Expired or Discarded, and again if Resolve changes the result. The function is
// called at least once per item, even after a crash, by the process that holds the lease,
// one call at a time. If it returns an error or panics, it is called again after 1 s, then
// 2 s, doubling to 5 min. Until it returns, no other item is reported, which is logged
// after a minute; items are still posted. Its context ends 5 s after the run, or with the
// lease; a call that has still not returned a second later is abandoned, as is one that is
// running when [Outbox.Step] ends after its 60 s. The item is reported again, but not
// before that call has returned. An item that was settled while no process had this option
// is not reported.
func WithSettled(settled func(context.Context, Result) error) Option {
	return option(settled != nil, "settled", "is nil", func(c *config) { c.settled = settled })
}

// WithRetention sets how long items are kept after they are settled. The default is 30
// days. Put is idempotent for that long: with the key of a deleted item it posts again.
// Items that are Uncertain or not reported yet are kept, including those that Resolve has
// settled, until a process with WithSettled has reported them.
func WithRetention(d time.Duration) Option {
	return option(d > 0, "retention", "must be greater than 0", func(c *config) { c.retention = d })
}

// WithLogger sets the logger for failures and what is done about them. Log lines contain
// the business, the chat, the key and the error, but never a text or a file.
func WithLogger(logger *slog.Logger) Option {
	return option(logger != nil, "logger", "is nil", func(c *config) { c.logger = logger })
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
