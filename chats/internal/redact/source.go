package redact

import (
	"context"
	"sync/atomic"
)

// Source returns a source of secrets whose errors do not show the secret that it last returned: a token
// that could not be refreshed is quoted by some sources. It returns nil if source is nil.
func Source(source func(context.Context) (string, error)) func(context.Context) (string, error) {
	if source == nil {
		return nil
	}
	var last atomic.Value
	return func(ctx context.Context) (string, error) {
		secret, err := source(ctx)
		if err != nil {
			known, _ := last.Load().(string)
			return "", Secrets{known}.SanitizeError(err)
		}
		last.Store(secret)
		return secret, nil
	}
}
