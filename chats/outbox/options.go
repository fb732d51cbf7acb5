package outbox

import (
	"context"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/typednil"
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

// WithWorkers sets how many chats are posted to concurrently. The default is 4, the number of
// concurrent requests that Market accepts.
func WithWorkers(n int) Option {
	return option(n >= 1, "workers", "must be at least 1", func(c *config) { c.workers = n })
}

// WithSettled sets the function to call when an item is settled (Sent, Failed, Uncertain,
// Expired or Discarded), and again if Resolve changes the result. The process that holds the lease
// calls the function at least once per item, even after a crash, and makes one call at a time. If
// the function returns an error or panics, it is called again after 1 s, then 2 s, doubling up to 5
// min. While a call is running, items are still posted, but no other item is reported; after a
// minute, this is logged.
//
// The context of a call ends when the lease is lost. It also ends at most 5 s after the context of
// Run or Step is done, or after the run has failed. A call is abandoned if it is still running one
// second after its context ends, or when Step returns (see [Outbox.Step]). The item is then
// reported again; the same process does so only after the abandoned call has returned. An item that
// a process without this option has settled is not reported, unless Resolve has set its result; the
// next process with this option then reports it.
func WithSettled(settled func(context.Context, Result) error) Option {
	return option(settled != nil, "settled", "is nil", func(c *config) { c.settled = settled })
}

// WithRetention sets how long items are kept after they are settled. The default is 30 days.
// Put is idempotent for that long; after that, an item with the same key is posted again. Two kinds
// of items are kept longer: Uncertain items, and items that have not been reported if the process
// that serves the business has a WithSettled function.
func WithRetention(d time.Duration) Option {
	return option(d > 0, "retention", "must be greater than 0", func(c *config) { c.retention = d })
}

// WithLogger sets the logger; by default nothing is logged. Log lines contain the business, the
// chat, the key and the error. The error may come from the WithSettled function or quote the
// server's response; the outbox itself adds neither a text nor the content of a file.
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
