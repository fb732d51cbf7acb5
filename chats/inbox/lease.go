package inbox

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
)

// leases acquires leases from a store. If that is a StepStore, it also reads the business's row.
type leases struct {
	boundedStore

	acquired *BusinessState // read with the lease; nil if it was not
}

// Acquire implements [leasing.Store].
func (l *leases) Acquire(ctx context.Context, business chats.BusinessID, purpose, holder string) (Lease, error) {
	steps, ok := l.Store.(StepStore)
	if !ok {
		return l.Store.Acquire(ctx, business, purpose, holder)
	}
	lease, state, err := steps.AcquireBusiness(ctx, business, purpose, holder)
	l.acquired = &state
	return lease, err
}

// newKeeper returns the keeper of an inbox's lease.
func newKeeper(store *leases, business chats.BusinessID, log *slog.Logger) *leasing.Keeper[Lease] {
	return &leasing.Keeper[Lease]{
		Store: store, Business: business, Purpose: Purpose, Holder: leasing.NewHolder(), Log: log,
		Lost:     ErrLeaseLost,
		Duration: func(lease Lease) time.Duration { return lease.Duration },
		Held: func(err error) (leasing.Held, bool) {
			var held *LeaseHeldError
			if !errors.As(err, &held) {
				return leasing.Held{}, false
			}
			return leasing.Held{Holder: held.Holder, Since: held.Since, ExpiresIn: held.ExpiresIn}, true
		},
	}
}
