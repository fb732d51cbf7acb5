package chats

import (
	"context"

	"github.com/ymchats/ymchats-go/chats/internal/redirect"
)

// newChain returns the middlewares around wire, outermost first:
//
//	retry       makes further attempts if they are safe, with backoff
//	observer    decodes, and reports every attempt to hook and logger
//	quota       waits for the hourly quota and the caller's limiter
//	credential  reads the key after all long waits
//	slot        waits for a slot and records the limits of the response
//	wire        sends one request and reads the whole response
//
// A slot is held only while wire runs, so neither backoff nor decoding nor a slow credential source
// blocks other calls. A confirmed send also reads the history and calls the ConfirmBefore function
// in its slot, immediately before wire runs. observer is outside the limits, because an attempt has
// succeeded only once its response has been decoded.
func newChain(cfg *config, credential Credential, l *limits) doFunc {
	do := wire(redirect.Refuse(cfg.client), redirect.Origin(cfg.base), cfg.silent, cfg.retry.AttemptTimeout)
	do = l.slotMiddleware(do)
	do = credential.middleware(l, do)
	do = l.quotaMiddleware(do)
	do = observer{cfg.hooks, cfg.logger}.middleware(do)
	return cfg.retry.middleware(l, do)
}

// middleware sets the secret of the attempt. An error of the source may quote the secret of an
// earlier attempt, which need not be the last that the source has returned.
func (cr Credential) middleware(l *limits, next doFunc) doFunc {
	return func(ctx context.Context, c *call) (*response, error) {
		if holder, ok := ctx.Value(slotKey{l}).(*call); ok { // a slow source must not keep the slot
			c.secret = holder.secret
		} else if value, err := cr.read(ctx); err != nil {
			return nil, c.secrets.SanitizeError(err)
		} else {
			c.secret = value
		}
		c.secrets = append(c.secrets, c.secret.raw)
		return next(ctx, c)
	}
}
