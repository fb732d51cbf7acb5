package chats

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/recent"
	"github.com/ymchats/ymchats-go/chats/internal/typednil"
)

type config struct {
	base           *url.URL
	plainHTTP      bool
	client         *http.Client
	silent         *recent.Set[string] // see wire
	integration    string
	logger         *slog.Logger
	hooks          []func(context.Context, Attempt)
	retry          RetryPolicy
	maxParallel    int
	limiter        Limiter
	attachmentAuth func(context.Context, *http.Request) error
}

func defaultConfig() config {
	return config{
		base:        &url.URL{Scheme: "https", Host: "api.partner.market.yandex.ru"},
		client:      &http.Client{Transport: defaultTransport()},
		silent:      &silentServers,
		logger:      slog.New(slog.DiscardHandler),
		retry:       RetryPolicy{}.withDefaults(),
		maxParallel: 4, // Market's limit for a business
	}
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	p.MaxAttempts = cmp.Or(p.MaxAttempts, 6)
	p.BaseDelay = cmp.Or(p.BaseDelay, 500*time.Millisecond)
	p.MaxDelay = cmp.Or(p.MaxDelay, 30*time.Second)
	p.AttemptTimeout = cmp.Or(p.AttemptTimeout, 30*time.Second)
	return p
}

// Option configures a [Client].
type Option func(*config) error

// notNil returns an option that fails if its argument is nil.
func notNil(name string, isNil bool, set func(*config)) Option {
	return func(c *config) error {
		if isNil {
			return badArgument(name, "is nil")
		}
		set(c)
		return nil
	}
}

// WithBaseURL sets the API base URL, for example that of a proxy, of a test server, or of Market
// Yandex Go (see docs/configuration.md). The credential is sent there, so the URL must be https;
// plain http is accepted for loopback addresses, and for any address with [WithPlainHTTP].
func WithBaseURL(address string) Option {
	return func(c *config) error {
		base, err := url.Parse(strings.TrimRight(address, "/#"))
		switch {
		case address == "":
			return badArgument("base URL", "is empty")
		case err != nil:
			return badArgument("base URL", "is not a URL") // the parser's error would quote it
		case base.Hostname() == "" || base.Scheme != "https" && base.Scheme != "http":
			return badArgument("base URL", "must be an absolute https URL")
		case base.User != nil || base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
			return badArgument("base URL", "must have no user, query or fragment")
		}
		c.base = base
		return nil
	}
}

// WithPlainHTTP makes [WithBaseURL] accept an http address that is not loopback, such as that
// of a sandbox in another container. The credential is then sent in clear text.
func WithPlainHTTP() Option {
	return func(c *config) error {
		c.plainHTTP = true
		return nil
	}
}

// checkScheme runs after all options, so that their order does not matter.
func (c *config) checkScheme() error {
	if c.base.Scheme == "http" && !c.plainHTTP && !isLoopback(c.base.Hostname()) {
		return badArgument("base URL", "must be https: plain http would expose the credential; WithPlainHTTP allows it")
	}
	return nil
}

func isLoopback(host string) bool {
	addr, _ := netip.ParseAddr(host)
	return host == "localhost" || addr.IsLoopback()
}

// WithHTTPClient sets the HTTP client: its transport, cookie jar and timeout. The client is copied
// and never modified. Without a Transport, it uses http.DefaultTransport, which takes its proxy
// from the environment. API calls never follow redirects, whatever CheckRedirect says, because the
// key would be forwarded. Downloads use CheckRedirect.
//
// The transport must not retry requests: a message could be posted several times without the
// library knowing. If the transport speaks HTTP/2, set its HTTP2.SendPingTimeout, or restrict
// its Protocols to HTTP/1.1. Over HTTP/2 all attempts share one connection; if that connection
// is dead, they keep using it for many minutes.
func WithHTTPClient(client *http.Client) Option {
	isInvalid := client == nil || client.Transport != nil && typednil.Is(client.Transport) || client.Jar != nil && typednil.Is(client.Jar)
	return notNil("HTTP client", isInvalid, func(c *config) {
		own := *client
		c.client, c.silent = &own, &recent.Set[string]{}
	})
}

// WithIntegration sets the name and version under which requests appear in the cabinet's
// request log (in the X-Market-Integration header, as name/version). Name and version are also
// appended to the User-Agent. They must be printable ASCII without spaces and have at most 100
// characters in total, including the slash.
func WithIntegration(name, version string) Option {
	return func(c *config) error {
		c.integration = name + "/" + version
		switch {
		case name == "" || version == "":
			return badArgument("integration", "must have a name and a version")
		case len(c.integration) > 100:
			return badArgument("integration", "%d characters with the slash, at most 100 allowed", len(c.integration))
		case checkSecret(c.integration) != nil:
			return badArgument("integration", "must be printable ASCII without spaces")
		}
		return nil
	}
}

// WithLogger sets the logger. Every attempt is logged at debug level, with business, operation,
// attempt, duration and, where known, status, traceparent and the remaining hourly quota. The
// number of skipped items is logged at warn level. Bodies and credentials are never logged. By
// default nothing is logged.
func WithLogger(logger *slog.Logger) Option {
	return notNil("logger", logger == nil || typednil.Is(logger.Handler()), func(c *config) { c.logger = logger })
}

// WithHook adds a function that is called at the end of every attempt, for example for metrics.
// Several hooks are called in the order of the options. A hook delays the call, so it should be
// fast. It must be safe for concurrent use, because a sequence fetches its next page in a
// separate goroutine. It must not send to the chat of a send that it observes: the two would wait
// for each other. If it calls the same Client, it must pass on the context that it receives: the
// attempt may hold a slot (see [WithMaxParallel]) that only calls with that context can use, and
// any other call may then wait for ever.
func WithHook(hook func(context.Context, Attempt)) Option {
	return notNil("hook", hook == nil, func(c *config) { c.hooks = append(c.hooks, hook) })
}

// WithRetry sets the [RetryPolicy]. Zero fields take their default values.
func WithRetry(policy RetryPolicy) Option {
	return func(c *config) error {
		if policy.MaxAttempts < 0 || policy.BaseDelay < 0 || policy.MaxDelay < 0 || policy.AttemptTimeout < 0 {
			return badArgument("retry policy", "has a negative field; zero means the default")
		}
		c.retry = policy.withDefaults()
		return nil
	}
}

// WithMaxParallel sets the maximum number of concurrent API requests that the client makes;
// downloads do not count. The default is 4, Market's limit for a business: lower it if other
// programs call the API for the same business.
func WithMaxParallel(n int) Option {
	return func(c *config) error {
		if n < 1 {
			return badArgument("max parallel", "%d, must be at least 1", n)
		}
		c.maxParallel = n
		return nil
	}
}

// WithLimiter sets a [Limiter] that paces requests in addition to Market's limits.
func WithLimiter(limiter Limiter) Option {
	return notNil("limiter", typednil.Is(limiter), func(c *config) { c.limiter = limiter })
}

// WithAttachmentAuth sets a function that authenticates attachment downloads. The function is
// called once per [Client.Download], for the initial request, whatever its host, before the
// credential is added. Headers that the function sets are not sent to another host after a
// redirect. Values of at least 8 characters that it adds to the headers, or of 4 to the query, are
// redacted like the credential. If it returns an error, the download fails. [AttachmentOAuth]
// returns such a function, which adds a token for Market's attachment hosts.
func WithAttachmentAuth(auth func(context.Context, *http.Request) error) Option {
	return notNil("attachment auth", auth == nil, func(c *config) { c.attachmentAuth = auth })
}
