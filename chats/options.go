package chats

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

const defaultBaseURL = "https://api.partner.market.yandex.ru"

type config struct {
	base           *url.URL
	client         *http.Client
	integration    string
	logger         *slog.Logger
	hook           func(context.Context, Attempt)
	retry          RetryPolicy
	maxParallel    int
	limiter        Limiter
	attachmentAuth func(context.Context, *http.Request) error
}

// Option sets up a [Client].
type Option func(*config) error

// WithBaseURL talks to another address than Market's: a proxy of your own, or a
// test server. It must be https; plain http is taken for loopback addresses
// only, because the credential goes there.
func WithBaseURL(address string) Option {
	return func(c *config) error {
		base, err := url.Parse(strings.TrimSuffix(address, "/"))
		switch {
		case err != nil:
			return badArgument("base URL", "not an address") // the parser's error would quote it whole
		case base.Hostname() == "" || base.Scheme != "https" && base.Scheme != "http":
			return badArgument("base URL", "give an absolute https address")
		case base.User != nil || base.RawQuery != "" || base.Fragment != "":
			return badArgument("base URL", "give scheme, host and path alone, without user, query or fragment")
		case base.Scheme == "http" && !isLoopback(base.Hostname()):
			return badArgument("base URL", "plain http would show the credential to the network: use https")
		}
		c.base = base
		return nil
	}
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// WithHTTPClient uses the caller's client: its transport, its jar, its timeout.
// The client is copied and never written to. Redirects of API calls are not
// followed whatever its CheckRedirect says, for the key would go with them.
func WithHTTPClient(client *http.Client) Option {
	return func(c *config) error {
		if client == nil {
			return badArgument("HTTP client", "is nil")
		}
		own := *client
		c.client = &own
		return nil
	}
}

// WithIntegration names the caller in the cabinet's request log (header
// X-Market-Integration: name/version) and at the end of the User-Agent. Printable
// ASCII without spaces; 100 characters together at most.
func WithIntegration(name, version string) Option {
	return func(c *config) error {
		c.integration = name + "/" + version
		switch {
		case name == "" || version == "":
			return badArgument("integration", "give a name and a version")
		case len(c.integration) > 100:
			return badArgument("integration", "%d characters with the slash, at most 100 allowed", len(c.integration))
		case checkSecret(c.integration) != nil:
			return badArgument("integration", "printable ASCII without spaces only")
		}
		return nil
	}
}

// WithLogger logs every attempt at debug level: operation, attempt, status,
// duration, traceparent and what remains of the hour's allowance. Never a body,
// never a credential.
func WithLogger(logger *slog.Logger) Option {
	return func(c *config) error {
		if logger == nil {
			return badArgument("logger", "is nil")
		}
		c.logger = logger
		return nil
	}
}

// WithHook calls hook once per attempt, when the attempt has ended: for metrics.
// It must be quick, and is called from several goroutines: a sequence fetches its next
// page beside the loop that reads it.
func WithHook(hook func(context.Context, Attempt)) Option {
	return func(c *config) error {
		if hook == nil {
			return badArgument("hook", "is nil")
		}
		c.hook = hook
		return nil
	}
}

// WithRetry replaces the [RetryPolicy]. A field that is zero means its default.
func WithRetry(policy RetryPolicy) Option {
	return func(c *config) error {
		c.retry = policy
		return policy.check()
	}
}

// WithMaxParallel bounds how many requests of this client are under way at once.
// The default, 4, is Market's bound for a business: give less where other
// programs share the business.
func WithMaxParallel(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return badArgument("max parallel", "%d, at least 1 needed", n)
		}
		c.maxParallel = n
		return nil
	}
}

// WithLimiter paces the requests, in addition to Market's own limits.
func WithLimiter(limiter Limiter) Option {
	return func(c *config) error {
		if limiter == nil {
			return badArgument("limiter", "is nil")
		}
		c.limiter = limiter
		return nil
	}
}

// WithAttachmentAuth lets auth add to the request of a [Client.Download] what the
// file's host asks for: it is called for the first request, whatever the host.
// What it added is not carried to another host by a redirect.
func WithAttachmentAuth(auth func(context.Context, *http.Request) error) Option {
	return func(c *config) error {
		if auth == nil {
			return badArgument("attachment auth", "is nil")
		}
		c.attachmentAuth = auth
		return nil
	}
}
