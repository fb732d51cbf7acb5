package inbox

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
)

// Acquire implements [leasing.Store].
func (s *boundedStore) Acquire(ctx context.Context, business chats.BusinessID, purpose, holder string) (Lease, error) {
	steps, ok := s.Store.(StepStore)
	if !ok {
		return s.Store.Acquire(ctx, business, purpose, holder)
	}
	lease, state, err := steps.AcquireBusiness(ctx, business, purpose, holder)
	s.acquired = &state
	return lease, err
}

func newKeeper(store *boundedStore, business chats.BusinessID, log *slog.Logger) *leasing.Keeper[Lease] {
	return &leasing.Keeper[Lease]{
		Store: store, Business: business, Purpose: Purpose, Holder: leasing.NewHolder(), Log: log,
		Lost:     ErrLeaseLost,
		Duration: func(lease Lease) time.Duration { return lease.Duration },
		Held: func(err error) *leasing.Held {
			var held *LeaseHeldError
			errors.As(err, &held)
			return (*leasing.Held)(held)
		},
	}
}
