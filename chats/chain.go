package chats

import (
	"context"
	"net/http"
)

// newChain returns the middlewares around wire, outermost first:
//
//	retry       retries what may be retried, with backoff
//	observer    decodes, and reports every attempt to hook and logger
//	limits      waits for the hourly quota, the caller's limiter and a slot
//	credential  reads the key as late as possible
//	wire        sends one request and reads the whole response
//
// limits holds a slot only while the layers below it run, so neither backoff nor
// decoding blocks other calls. observer is outside of limits, because an attempt has
// succeeded only when its response is decoded.
func newChain(cfg *config, client *http.Client, credential Credential, l *limits) doFunc {
	do := wire(client, cfg.retry.AttemptTimeout)
	do = credential.middleware(do)
	do = l.middleware(do)
	do = observer{cfg.hook, cfg.logger}.middleware(do)
	return cfg.retry.middleware(l, do)
}

// middleware sets the secret of the attempt.
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
