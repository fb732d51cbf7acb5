package inbox

import (
	"errors"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/tenure"
)

// newKeeper returns the keeper of an inbox's lease.
func newKeeper(store Store, business chats.BusinessID, log *slog.Logger) *tenure.Keeper[Lease] {
	return &tenure.Keeper[Lease]{
		Store: store, Business: business, Purpose: Purpose, Holder: tenure.NewHolder(), Log: log,
		Lost:     ErrLeaseLost,
		Duration: func(lease Lease) time.Duration { return lease.Duration },
		Held: func(err error) (tenure.Held, bool) {
			var held *LeaseHeldError
			if !errors.As(err, &held) {
				return tenure.Held{}, false
			}
			return tenure.Held{Holder: held.Holder, Since: held.Since, ExpiresIn: held.ExpiresIn}, true
		},
	}
}
