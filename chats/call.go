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

// next is the request of the next attempt: a copy of its own, for net/http may
// still hold the one before.
func (c *call) newRequest(ctx context.Context) (*http.Request, error) {
	req := c.request.Clone(context.WithValue(ctx, operationKey{}, c.op))
	if c.request.GetBody != nil {
		body, err := c.request.GetBody()
		if err != nil {
			return nil, err
		}
		req.Body = body
	}
	if !c.rule.repeatable {
		// net/http would use it to repeat a request by itself: over HTTP/2 also one that
		// has arrived whole.
		req.GetBody = nil
	}
	if c.secret.header != "" {
		req.Header.Set(c.secret.header, c.secret.value)
	}
	return req, nil
}

// rewindable: whether the request's body can be sent once more.
func (c *call) rewindable() bool {
	if c.upload != nil {
		return c.upload.rewindable()
	}
	return c.request.Body == nil || c.request.Body == http.NoBody || c.request.GetBody != nil
}

// closeUpload keeps the caller's reader from being read once the attempt is over,
// and tells whether that reader failed.
func (c *call) stopUpload() error {
	if c.upload == nil {
		return nil
	}
	return c.upload.stop()
}
