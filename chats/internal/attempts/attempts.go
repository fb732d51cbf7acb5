// Package attempts lets the caller of a method count the requests that it makes, including
// retries and the fallbacks that its result does not show.
package attempts

import "context"

type key struct{}

// WithCounter returns a context under which count is called for every request, with its
// operation and the number of items that were skipped because they have no readable ID. It
// may be called concurrently. A nil count ends the counting of ctx.
func WithCounter(ctx context.Context, count func(op string, skipped int)) context.Context {
	return context.WithValue(ctx, key{}, count)
}

// Made counts a request that was made.
func Made(ctx context.Context, op string, skipped int) {
	if count, _ := ctx.Value(key{}).(func(string, int)); count != nil {
		count(op, skipped)
	}
}
