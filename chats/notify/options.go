package notify

import (
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

type config struct {
	networks   []netip.Prefix // empty: everyone
	clientAddr func(*http.Request) (netip.Addr, error)
	dedupe     *dedupe
	logger     *slog.Logger
}

// Option sets up a [Handler].
type Option func(*config) error

// WithAllowedNetworks lets in only senders of these networks, as a rule
// [MarketNetworks]; others get 403 and a log line. Without it everyone is let in.
//
// The sender is the address at the other end of the connection. Behind a proxy
// that is the proxy: see [WithClientAddr].
func WithAllowedNetworks(networks ...netip.Prefix) Option {
	return func(c *config) error {
		if len(networks) == 0 {
			return badArgument("networks", "give at least one")
		}
		for _, network := range networks {
			if !network.IsValid() {
				return badArgument("networks", "one of them is not a network")
			}
			// Senders are compared as IPv4: such a network would match nobody.
			if network.Addr().Is4In6() {
				return badArgument("networks", "write IPv4 networks as IPv4: "+network.String())
			}
		}
		c.networks = append(c.networks, networks...)
		return nil
	}
}

// WithClientAddr tells who the sender is where that is not the other end of the
// connection: behind a proxy. An error, and a panic, refuses the request with
// 403.
//
// Anybody can write a header. Believe X-Forwarded-For or Forwarded only when the
// request comes from your proxy (look at the request's RemoteAddr), and only the
// part that the proxy itself wrote: the last address, not the first.
func WithClientAddr(addr func(*http.Request) (netip.Addr, error)) Option {
	return func(c *config) error {
		if addr == nil {
			return badArgument("client address", "is nil")
		}
		c.clientAddr = addr
		return nil
	}
}

// WithDedupe answers copies of an event 200 without calling the function, for the
// given time after it was handled; of the size most recent events at most. Both
// must be greater than zero. Market repeats for up to 14 days, but a copy of an
// event that was answered well comes soon: an hour and some ten thousand events
// are plenty. Calls under way come on top of size. What is remembered is lost with
// the process.
//
// Copies are events of the same type, business, chat and message, or time where
// there is no message. [Other] events have no identity that the library knows of
// and all reach the function.
//
// An event whose handling failed is not remembered. A copy that arrives while the
// function is at work on the event waits for the outcome, as long as its own
// answer may wait, and gets the same answer: the function is never called twice
// for one event at one moment, even where it is still running after its own
// answer, a 500, had to go out. Should it succeed late, the next copy is
// answered 200.
func WithDedupe(window time.Duration, size int) Option {
	return func(c *config) error {
		switch {
		case window <= 0:
			return badArgument("window", "must be greater than 0")
		case size <= 0:
			return badArgument("size", "must be greater than 0")
		}
		c.dedupe = newDedupe(window, size)
		return nil
	}
}

// WithLogger logs to logger instead of [slog.Default]: 200 at debug level, what is
// refused at warning, 500 at error level. A line has the event's type, chat and
// message, the status, the duration, the sender's address and what went wrong:
// the function's error, or its panic with the stack. Never a body.
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
	return &chats.ArgumentError{Package: "notify", Field: field, Reason: reason}
}
