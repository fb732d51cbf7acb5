package notify

import (
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/typednil"
)

// The defaults of [WithDedupe]. Market may wait an hour before it sends an event again.
const (
	defaultWindow = 2 * time.Hour
	defaultSize   = 10_000
)

type config struct {
	senders senders
	dedupe  *dedupe
	logger  *slog.Logger
}

// Option configures a [Handler].
type Option func(*config) error

// WithAllowedNetworks allows only senders in these networks, usually [MarketNetworks].
// Requests from other senders get 403 and are logged. Without this option all senders are allowed.
// The option may be given more than once; the networks are combined.
//
// The sender is the peer of the connection. If the server is behind a proxy, the peer is
// the proxy: add [WithTrustedProxies].
func WithAllowedNetworks(networks ...netip.Prefix) Option {
	return func(c *config) error {
		if err := checkNetworks("networks", networks); err != nil {
			return err
		}
		c.senders.networks = append(c.senders.networks, networks...)
		return nil
	}
}

func checkNetworks(field string, networks []netip.Prefix) error {
	if len(networks) == 0 {
		return badArgument(field, "must not be empty")
	}
	for _, network := range networks {
		if !network.IsValid() {
			return badArgument(field, "contains an invalid prefix")
		}
		// IPv4 addresses are compared in IPv4 form, so such a network would contain none.
		if network.Addr().Is4In6() {
			return badArgument(field, "must have IPv4 networks in IPv4 form: "+network.String())
		}
	}
	return nil
}

// WithTrustedProxies names the proxies in front of the server. Each proxy must append the address
// of its peer to X-Forwarded-For, or set the header to that address alone. The address of the
// sender is then the last entry that is not one of these proxies. Anything before that entry is
// ignored, because the sender may have written it. The option may be given more than once; the
// proxies are combined.
//
// If the peer of the connection is not one of the proxies, the peer is the sender, and the header
// is ignored. If the peer is a proxy, and the header is missing, names only proxies, or has no
// valid IP address in the sender's place, [WithAllowedNetworks] refuses the request with 403. An
// address may have a port, and an IPv6 address may be in brackets. Without WithAllowedNetworks the
// option affects only the address in the log.
//
// WithTrustedProxies cannot be combined with [WithClientAddr].
func WithTrustedProxies(proxies ...netip.Prefix) Option {
	return func(c *config) error {
		if err := checkNetworks("trusted proxies", proxies); err != nil {
			return err
		}
		c.senders.proxies = append(c.senders.proxies, proxies...)
		return nil
	}
}

// WithClientAddr sets a function that returns the address of the sender, for setups that
// [WithTrustedProxies] does not cover: another header, or a proxy that connects over a
// Unix socket. If the function returns an error or panics, the request is refused with 403.
//
// Anyone can set a header. Trust a header only if the request comes from your proxy, and
// then only the part that the proxy itself wrote.
func WithClientAddr(addr func(*http.Request) (netip.Addr, error)) Option {
	return func(c *config) error {
		if addr == nil {
			return badArgument("client address", "is nil")
		}
		c.senders.clientAddr = addr
		return nil
	}
}

// WithDedupe sets how long a handled event is remembered, and the maximum number of events
// remembered. The maximum applies separately to events that are compared by their fields and to
// those that are compared by the bytes of their bodies. A duplicate of a remembered event gets 200
// without a call to the handle function. The default is two hours and 10,000 events, which is
// plenty: Market retries an event at intervals of at most an hour. The window and the size must
// both be greater than 0, or both be 0: WithDedupe(0, 0) turns deduplication off, so that every
// duplicate reaches the function, even while the function is still handling an earlier copy.
// Remembered events are lost when the process ends.
//
// Events are duplicates if they have the same type, business and chat, and the same message or, if
// the event is not about a message, the same time. An event that lacks this information, such as an
// [Other] or a [MessageSent] without a usable ID, is compared by the bytes of its body, and only
// until a 200 has been sent for it: after that, a second event with the same bytes reaches the
// function as well.
//
// An event whose handling failed is not remembered. A duplicate that arrives while the function is
// running waits for the outcome, for at most 9 seconds, and gets the same response. So the function
// never runs twice for one event at the same time, even if a call outlives the request that started
// it. A request that is still waiting 9 seconds after its arrival gets 500; if the function then
// succeeds, the next duplicate gets 200. Running calls do not count towards size.
func WithDedupe(window time.Duration, size int) Option {
	return func(c *config) error {
		switch {
		case window == 0 && size == 0:
			c.dedupe = nil
			return nil
		case window <= 0:
			return badArgument("window", "must be greater than 0")
		case size <= 0:
			return badArgument("size", "must be greater than 0")
		}
		c.dedupe = newDedupe(window, size)
		return nil
	}
}

// WithLogger sets the logger; the default is [slog.Default]. Every request is logged once, at debug
// level if it got 200, at warn level for 400 and 403, and at error level for 500. A line contains,
// as far as they are known, the event's type, business, chat and message, the status, the duration,
// the sender's address ("remote") and the error, with the stack of a panic. A body is never logged.
// The messages are:
//
//   - "notify: notification handled"
//   - "notify: notification rejected", with the reason as error
//   - "notify: sender refused"
//   - "notify: reading body failed"
//   - "notify: handler failed", also if the handler did not return in time
//   - "notify: handler returned late", an additional line when a handler returns after the
//     response: at warn level if it succeeded, at error level if it failed
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) error {
		if logger == nil || typednil.Is(logger.Handler()) {
			return badArgument("logger", "is nil")
		}
		c.logger = logger
		return nil
	}
}
