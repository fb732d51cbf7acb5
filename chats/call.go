package chats

import (
	"context"
	"net/http"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/redact"
	"github.com/ymchats/ymchats-go/chats/internal/upload"
)

// doFunc makes a call. It returns a response of any status, or an error if the server
// did not respond.
type doFunc func(context.Context, *call) (*response, error)

// call is one call to an operation while it passes through the chain. It makes one or more
// attempts.
type call struct {
	business    BusinessID
	op          Operation
	repeatable  bool          // see rule
	request     *http.Request // every attempt sends a copy
	upload      *upload.Form  // of sendFileToChat, otherwise nil
	maxAttempts int
	invalid     error // why the call cannot be made
	// decode reads the result of a 2xx response. An attempt succeeds only if decode does.
	decode func(*response) error
	// prepare, if not nil, runs before each attempt, after all waiting. Its requests use
	// the attempt's slot; its error ends the call.
	prepare func(context.Context) error

	secret   secret         // of the current attempt
	secrets  redact.Secrets // of all attempts, because a response may quote that of an earlier attempt
	attempts int            // made so far
	waited   time.Duration  // since the previous attempt
	duration time.Duration  // of the last attempt

	skipped     int       // number of unreadable items on the page
	requestedAt time.Time // when the last attempt began, by the server's clock or ours, whichever is behind
}

// newRequest returns the request of the next attempt. It is a copy, because net/http may still
// be using the previous one.
func (c *call) newRequest(ctx context.Context) (*http.Request, error) {
	req := c.request.Clone(context.WithValue(ctx, operationKey{}, c.op))
	var err error
	switch {
	case c.upload != nil:
		req.Body, err = c.upload.Open(ctx)
	case c.request.GetBody != nil:
		req.Body, err = c.request.GetBody()
	}
	if err != nil {
		return nil, err
	}
	if !c.repeatable {
		// net/http would use GetBody to retry the request, over HTTP/2 even if the whole request has
		// arrived.
		req.GetBody = nil
	}
	req.Header.Set(c.secret.header, c.secret.value)
	return req, nil
}

// rewindable reports whether the body of the request can be sent again.
func (c *call) rewindable() bool {
	if c.upload != nil {
		return c.upload.Rewindable()
	}
	return c.request.Body == nil || c.request.Body == http.NoBody || c.request.GetBody != nil
}

// newCall returns a call for req and err, the results of a request builder in gen.
func newCall(business BusinessID, op Operation, req *http.Request, err error) *call {
	switch {
	case err != nil:
		err = &Error{Business: business, Operation: op, cause: err}
	case req.ContentLength > maxRequestBody && op != OpSendFileToChat:
		err = badArgument("request body", "%d bytes, at most %d allowed", req.ContentLength, maxRequestBody)
	}
	return &call{business: business, op: op, repeatable: rules[op].repeatable, request: req, invalid: err}
}
