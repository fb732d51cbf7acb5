package chats

import (
	"context"
	"net/http"
)

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
func newChain(cfg *config, client *http.Client, credential Credential, l *limits) doFunc {
	do := wire(client, cfg.retry.AttemptTimeout)
	do = credential.middleware(do)
	do = l.middleware(do)
	do = observer{cfg.hook, cfg.logger}.middleware(do)
	return cfg.retry.middleware(l, do)
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
