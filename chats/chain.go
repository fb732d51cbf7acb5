package chats

import (
	"context"
	"net/http"
	"time"
)

// handler makes a call and gives its answer, whatever the status, or an error
// where there is none.
type doFunc func(context.Context, *call) (*response, error)

// call is one call of an operation on its way through the chain.
type call struct {
	op          Operation
	rule        rule
	request     *http.Request // as built; every attempt sends a copy
	upload      *upload       // of sendFileToChat
	maxAttempts int
	// decode reads the result out of a good answer. The call has not succeeded
	// before it has.
	decode func(*response) error

	secret   secret        // of this attempt
	attempts int           // made so far
	waited   time.Duration // since the attempt before
	duration time.Duration // by the last attempt
}

// newChain puts the links together, outermost first:
//
//	retry       repeats what may be repeated, and rests in between
//	observe     decodes, and tells hook and logger of every attempt
//	limits      waits for the hour, the caller's pace and a place
//	credential  asks for the key as late as possible
//	wire        makes one request and reads its answer whole
//
// A place is held in limits, so neither a rest nor the decoding keeps others from
// theirs. observe stands outside limits, because an attempt has succeeded only
// when its answer is decoded.
func (c *Client) newChain() doFunc {
	h := wire(c.http, c.config.retry.AttemptTimeout)
	h = c.credential.middleware(h)
	h = c.limits.middleware(h)
	h = c.observe(h)
	return c.config.retry.middleware(c.limits, h)
}

// link puts the credential into the call.
func (cr Credential) middleware(next doFunc) doFunc {
	return func(ctx context.Context, c *call) (*response, error) {
		value, err := cr.read(ctx)
		if err != nil {
			return nil, err
		}
		c.secret = value
		return next(ctx, c)
	}
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
