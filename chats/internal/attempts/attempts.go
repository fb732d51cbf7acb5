// Package attempts lets the caller of a client method count the requests that the method makes,
// including retries, and fallbacks that the result does not show. It also lets the caller of a
// confirmed send search for the message itself.
package attempts

import "context"

type (
	key     struct{}
	onceKey struct{}
)

// WithCounter returns a context under which count is called for every request, with its
// operation and the number of items that were skipped because they have no readable ID. count
// may be called concurrently. If count is nil, requests are no longer counted.
func WithCounter(ctx context.Context, count func(op string, skipped int)) context.Context {
	return context.WithValue(ctx, key{}, count)
}

// Made calls the counter of ctx for a request that was made.
func Made(ctx context.Context, op string, skipped int) {
	if count, _ := ctx.Value(key{}).(func(string, int)); count != nil {
		count(op, skipped)
	}
}

// WithOneSend returns a context under which a confirmed send whose outcome is unknown reads the
// history once. If that does not show the message, the caller searches for it, and decides whether
// to send it again. shown are the IDs of messages that the history of the chat has shown.
func WithOneSend[ID any](ctx context.Context, shown []ID) context.Context {
	return context.WithValue(ctx, onceKey{}, shown)
}

// IsOneSend reports whether ctx was returned by WithOneSend or is derived from such a context.
func IsOneSend(ctx context.Context) bool { return ctx.Value(onceKey{}) != nil }

// Shown returns the IDs passed to WithOneSend.
func Shown[ID any](ctx context.Context) []ID {
	shown, _ := ctx.Value(onceKey{}).([]ID)
	return shown
}
