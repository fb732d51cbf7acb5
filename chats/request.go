package chats

import (
	"context"
	"net/http"
)

// request turns what a builder of gen gives into a call.
func newCall(op Operation, req *http.Request, err error) (*call, error) {
	if err != nil {
		return nil, &Error{Operation: op, cause: err}
	}
	return &call{op: op, request: req}, nil
}

// invoke makes a call and reads its result. T is the contract's type of the
// result; prepared, where there is one, is decoded into.
func invoke[T any](ctx context.Context, c *Client, call *call, prepared *T, check func(*T) error) (*T, error) {
	var result *T
	call.decode = func(r *response) (err error) {
		if result, err = decode(r, prepared); err != nil && (err != errUnknownStatus || result == nil) { //nolint:errorlint // our own, unwrapped
			return err
		}
		if result == nil {
			return errNoResult
		}
		return check(result)
	}
	if err := c.perform(ctx, call); err != nil {
		return nil, err
	}
	return result, nil
}

// perform makes a call whose decode reads what it needs.
func (c *Client) perform(ctx context.Context, call *call) error {
	resp, err := c.do(ctx, call)
	if err != nil {
		return err
	}
	defer resp.release()
	if failure := resp.err(); failure != nil {
		return failure
	}
	return nil
}

// base ends with a slash: without it the builders of gen would take the last part of
// a path for a file's name, and replace it.
func (c *Client) base() string { return c.config.base.String() + "/" }

// optional leaves a query parameter out where it is empty.
func optional(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}
