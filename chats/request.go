package chats

import (
	"cmp"
	"context"
	"errors"

	"github.com/ymchats/ymchats-go/chats/internal/envelope"
)

var errNoResult = errors.New("response has no result")

// invoke makes a call and returns its result. read converts the result from G, its type in the
// contract. If prepared is not nil, the result is decoded into it; its list then has room for
// the whole page.
func invoke[G, T any](ctx context.Context, c *Client, call *call, prepared *G, read func(*G) (T, error)) (T, error) {
	var none, result T
	call.decode = func(r *response) error {
		call.requestedAt = r.time().Add(-call.duration)
		decoded, err := envelope.Decode(r.envelope(), prepared)
		prepared = nil // a failed attempt may have written to it
		if decoded == nil {
			return cmp.Or(err, errNoResult)
		}
		var readErr error
		if result, readErr = read(decoded); readErr != nil {
			return cmp.Or(err, readErr)
		}
		return nil
	}
	if err := c.perform(ctx, call); err != nil {
		return none, err
	}
	return result, nil
}

// perform makes a call. Only call.decode reads its result.
func (c *Client) perform(ctx context.Context, call *call) error {
	resp, err := c.do(ctx, call)
	if err != nil {
		return err
	}
	defer resp.release()
	return resp.err()
}

// optional returns nil for an empty query parameter, so that it is omitted.
func optional(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}
