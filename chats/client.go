package chats

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ymchats/ymchats-go/gen"
)

// Client talks with Market for one business. It is safe for concurrent use, and
// one client per business is what the limits on requests at once are kept by.
type Client struct {
	business   BusinessID
	credential Credential
	config     config
	limits     *limits
	sendLocks  *keyedMutex
	http       *http.Client // for the API: follows no redirect
	chain      doFunc
	api        *gen.ClientWithResponses
}

// New makes a client for a business. Nothing is sent. The error is an
// [ArgumentError].
func New(business BusinessID, credential Credential, options ...Option) (*Client, error) {
	if business < 1 {
		return nil, badArgument("business", "%d, must be greater than 0", business)
	}
	if err := credential.check(); err != nil {
		return nil, err
	}
	base, _ := url.Parse(defaultBaseURL)
	cfg := config{base: base, maxParallel: 4, logger: slog.New(slog.DiscardHandler)}
	for _, option := range options {
		if option == nil {
			return nil, badArgument("option", "is nil")
		}
		if err := option(&cfg); err != nil {
			return nil, err
		}
	}
	cfg.retry = cfg.retry.withDefaults()
	if cfg.client == nil {
		cfg.client = &http.Client{Transport: defaultTransport()}
	}
	c := &Client{
		business: business, credential: credential, config: cfg,
		limits: newLimits(cfg.maxParallel, cfg.limiter, cfg.retry.MaxDelay), sendLocks: &keyedMutex{},
	}
	c.http = withRedirectPolicy(cfg.client, func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse })
	c.http.Transport = hideLocation{cmp.Or(cfg.client.Transport, http.DefaultTransport)}
	c.chain = newChain(&c.config, c.http, credential, c.limits)
	api, err := gen.NewClientWithResponses(cfg.base.String(), gen.WithHTTPClient(doer{c}))
	if err != nil {
		return nil, err
	}
	c.api = api
	return c, nil
}

// Business is the business that the client was made for.
func (c *Client) Business() BusinessID { return c.business }

func (c *Client) businessID() string { return strconv.FormatInt(int64(c.business), 10) }

// Limit is what the server last said of the hour's allowance of an operation, to
// this client; ok is false before it said anything. Other programs use up the same
// allowance.
func (c *Client) Limit(op Operation) (limit Limit, ok bool) { return c.limits.reported(op) }

// API is the generated client, for what this package does not offer. It goes the
// same way: credential, limits, and the same rules for what is repeated. Its
// answers may have any status; its errors, where no answer came, are an [*Error].
func (c *Client) API() *gen.ClientWithResponses { return c.api }

// String tells the business alone.
func (c *Client) String() string { return fmt.Sprintf("chats.Client(business %d)", c.business) }

// Format prints String whatever the verb: %+v of the fields would serve nobody.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, c.String()) }

func (c *Client) userAgent() string {
	agent := "ymchats-go/" + Version
	if c.config.integration != "" {
		agent += " " + c.config.integration
	}
	return agent
}

// doer brings the requests of the generated client into the chain.
type doer struct{ c *Client }

func (d doer) Do(req *http.Request) (*http.Response, error) {
	op, ok := operationOf(req.Method, req.URL.Path)
	switch {
	case !ok:
		return nil, badArgument("request", "%s %s is no operation of the chats", req.Method, req.URL.Path)
	case origin(req.URL) != origin(d.c.config.base):
		return nil, badArgument("request", "the credential goes to %s only", origin(d.c.config.base))
	}
	resp, err := d.c.do(req.Context(), &call{op: op, request: req})
	if err != nil {
		return nil, err
	}
	return resp.httpResponse(req), nil
}

// do makes a call. The answer may have any status; the error is an *Error.
func (c *Client) do(ctx context.Context, call *call) (*response, error) {
	call.rule = rules[call.op]
	if call.maxAttempts == 0 {
		call.maxAttempts = c.config.retry.MaxAttempts
	}
	c.setHeaders(call.request)
	resp, err := c.chain(ctx, call)
	if err != nil {
		return nil, call.failure(ctx, err)
	}
	return resp, nil
}

// dress adds the headers that every request has.
func (c *Client) setHeaders(req *http.Request) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent())
	if c.config.integration != "" {
		req.Header.Set("X-Market-Integration", c.config.integration)
	}
	if c.credential.oauth {
		// Without it the token's owner, not the business, is what the limits count.
		req.Header.Set("X-Business-Id", c.businessID())
	}
}
