package chats

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/keyedmutex"
	"github.com/ymchats/ymchats-go/chats/internal/recent"
	"github.com/ymchats/ymchats-go/chats/internal/redirect"
	"github.com/ymchats/ymchats-go/gen"
)

// Client is a client for the chats of one business. It is safe for concurrent use. Share
// one Client per business: it enforces the limit on concurrent requests.
type Client struct {
	business   BusinessID
	credential Credential
	config     config
	limits     *limits
	sendLocks  *keyedmutex.Mutex[ChatID] // so that no send mistakes the message of another for its own
	confirmed  *recent.Set[messageKey]
	doubts     *recent.Times[doubtKey] // sends whose outcome is unknown, and when their last attempts ended
	plain      *recent.Times[doubtKey] // sends that were accepted but not confirmed, and when they ended
	plainFrom  *recent.Times[doubtKey] // for the sends in plain: once a message created since this time is visible, so are their messages; kept for longer
	pageSizes  *sync.Map               // Operation -> acceptedSize
	unordered  *sync.Map               // ChatID -> true, for chats in which History found messages out of order
	base       string                  // with a trailing slash, because the request builders of gen replace what follows the last slash
	headers    http.Header             // of all API requests
	chain      doFunc
	api        *gen.ClientWithResponses
}

// New returns a client for a business. It sends no request. If it fails, the error is an
// [ArgumentError].
func New(business BusinessID, credential Credential, options ...Option) (*Client, error) {
	if err := cmp.Or(checkID("business", business), credential.check()); err != nil {
		return nil, err
	}
	cfg := defaultConfig()
	for _, option := range options {
		if option == nil {
			return nil, badArgument("option", "is nil")
		}
		if err := option(&cfg); err != nil {
			return nil, err
		}
	}
	if err := cfg.checkScheme(); err != nil {
		return nil, err
	}
	c := &Client{
		business: business, credential: credential, config: cfg,
		limits: newLimits(cfg.maxParallel, cfg.limiter, cfg.retry.MaxDelay), sendLocks: &keyedmutex.Mutex[ChatID]{},
		confirmed: &recent.Set[messageKey]{}, doubts: &recent.Times[doubtKey]{MaxAge: time.Hour},
		plain: &recent.Times[doubtKey]{MaxAge: maxSearchTime}, plainFrom: &recent.Times[doubtKey]{MaxAge: time.Hour},
		pageSizes: &sync.Map{}, unordered: &sync.Map{}, base: cfg.base.String() + "/",
	}
	c.headers = c.newHeaders()
	c.chain = newChain(&c.config, credential, c.limits)
	c.api = &gen.ClientWithResponses{ClientInterface: closingAPI{&gen.Client{Server: c.base, Client: doer{c}, RequestEditors: []gen.RequestEditorFn{markBody}}}}
	return c, nil
}

// Business returns the ID of the client's business.
func (c *Client) Business() BusinessID { return c.business }

func (c *Client) businessID() string { return strconv.FormatInt(int64(c.business), 10) }

// Limit returns the hourly quota of op as last reported by the server to this client. ok is
// false until a response has reported it. Other programs that call the API for the same
// business share the quota.
func (c *Client) Limit(op Operation) (limit Limit, ok bool) { return c.limits.reported(op) }

// API returns the underlying generated client. Its requests use the same authentication,
// limits and retry rules. Its responses may have any status, and a credential that the server
// echoes is redacted from them; its methods return an [*Error] if the server did not respond.
func (c *Client) API() *gen.ClientWithResponses { return c.api }

// String names the client by its business ID. It never contains the credential.
func (c *Client) String() string { return fmt.Sprintf("chats.Client(business %d)", c.business) }

// Format prints the result of String for every verb, so that %+v does not print the fields.
func (c *Client) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, c.String()) }

// doer sends the requests of the generated client through the chain.
type doer struct{ c *Client }

func (d doer) Do(req *http.Request) (*http.Response, error) {
	defer closeBody(req.Body) // even if no attempt was made, or only copies were sent
	op, ok := operationOf(req.Method, req.URL.Path)
	switch {
	case !ok:
		return nil, badArgument("request", "%s %s is not a chats operation", req.Method, req.URL.Path)
	case redirect.Origin(req.URL) != redirect.Origin(d.c.config.base):
		return nil, badArgument("request", "the credential is sent only to %s", redirect.Origin(d.c.config.base))
	}
	resp, err := d.c.do(req.Context(), newCall(d.c.business, op, req, keepBody(req)))
	if err != nil {
		return nil, err
	}
	return resp.httpResponse(req), nil
}

// builtBody is a body as the generated client built it, before the caller's editors.
type builtBody struct{ io.ReadCloser }

func markBody(_ context.Context, req *http.Request) error {
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = builtBody{req.Body}
	}
	return nil
}

// keepBody makes every attempt send the body of an editor that has replaced the one that was built,
// but not GetBody.
func keepBody(req *http.Request) error {
	if _, isBuilt := req.Body.(builtBody); isBuilt || req.Body == nil || req.GetBody == nil {
		return nil
	}
	content, err := io.ReadAll(req.Body)
	req.ContentLength = int64(len(content))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	return err
}

// closingAPI is the generated client, with methods that close the caller's body even if a
// request editor fails.
type closingAPI struct{ gen.ClientInterface }

func (a closingAPI) GetChatsWithBody(ctx context.Context, business int64, params *gen.GetChatsParams, contentType string, body io.Reader, editors ...gen.RequestEditorFn) (*http.Response, error) {
	defer closeBody(body)
	return a.ClientInterface.GetChatsWithBody(ctx, business, params, contentType, body, editors...)
}

func (a closingAPI) GetChatHistoryWithBody(ctx context.Context, business int64, params *gen.GetChatHistoryParams, contentType string, body io.Reader, editors ...gen.RequestEditorFn) (*http.Response, error) {
	defer closeBody(body)
	return a.ClientInterface.GetChatHistoryWithBody(ctx, business, params, contentType, body, editors...)
}

func (a closingAPI) CreateChatWithBody(ctx context.Context, business int64, contentType string, body io.Reader, editors ...gen.RequestEditorFn) (*http.Response, error) {
	defer closeBody(body)
	return a.ClientInterface.CreateChatWithBody(ctx, business, contentType, body, editors...)
}

func (a closingAPI) SendMessageToChatWithBody(ctx context.Context, business int64, params *gen.SendMessageToChatParams, contentType string, body io.Reader, editors ...gen.RequestEditorFn) (*http.Response, error) {
	defer closeBody(body)
	return a.ClientInterface.SendMessageToChatWithBody(ctx, business, params, contentType, body, editors...)
}

func (a closingAPI) SendFileToChatWithBody(ctx context.Context, business int64, params *gen.SendFileToChatParams, contentType string, body io.Reader, editors ...gen.RequestEditorFn) (*http.Response, error) {
	defer closeBody(body)
	return a.ClientInterface.SendFileToChatWithBody(ctx, business, params, contentType, body, editors...)
}

// do makes a call. It returns a response of any status, or an *Error if the server did
// not respond.
func (c *Client) do(ctx context.Context, call *call) (*response, error) {
	if call.invalid != nil {
		return nil, call.invalid
	}
	switch {
	case c.limits.usesSlotOfAnother(ctx):
		call.maxAttempts = 1
	case call.maxAttempts == 0:
		call.maxAttempts = c.config.retry.MaxAttempts
	}
	maps.Copy(call.request.Header, c.headers)
	resp, err := c.chain(ctx, call)
	if err != nil {
		return nil, call.failure(ctx, err)
	}
	return resp, nil
}

// newHeaders returns the headers that all requests have in common.
func (c *Client) newHeaders() http.Header {
	userAgent := strings.TrimSpace("ymchats-go/" + Version + " " + c.config.integration)
	headers := http.Header{"Accept": {"application/json"}, "User-Agent": {userAgent}}
	if c.config.integration != "" {
		headers.Set("X-Market-Integration", c.config.integration)
	}
	if c.credential.oauth { // otherwise the limits would apply to the owner of the token, not to the business
		headers.Set("X-Business-Id", c.businessID())
	}
	return headers
}

// ServerTime returns the time by the server's clock: the Date of the last response plus the
// time elapsed since then. The result may lag by as long as the response took to arrive, plus up to
// a second because a Date has only whole seconds. ok is false until a response has contained a
// Date.
func (c *Client) ServerTime() (now time.Time, ok bool) { return c.limits.clock.Now() }

// lag returns by how much the server's clock is behind the local one, or 0 if that is not known.
func (c *Client) lag() time.Duration {
	if now, ok := c.ServerTime(); ok {
		return time.Since(now)
	}
	return 0
}
