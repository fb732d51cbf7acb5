package inbox

import (
	"cmp"
	"context"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// boundedStore adds a timeout to the methods of a Store that are called without one, because a
// dead connection may go unnoticed. The timeout is generous, because a call may first have to
// wait for a connection from a pool.
//
// If the store is a StepStore, Acquire also reads the business's row.
type boundedStore struct {
	Store

	acquired *BusinessState // read with the lease; nil if it was not
}

func bounded[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return call(ctx)
}

func (s *boundedStore) Business(ctx context.Context, id chats.BusinessID) (BusinessState, error) {
	return bounded(ctx, func(ctx context.Context) (BusinessState, error) { return s.Store.Business(ctx, id) })
}

func (s *boundedStore) Chats(ctx context.Context, id chats.BusinessID, ids []chats.ChatID) ([]ChatState, error) {
	return bounded(ctx, func(ctx context.Context) ([]ChatState, error) { return s.Store.Chats(ctx, id, ids) })
}

func (s *boundedStore) Due(ctx context.Context, id chats.BusinessID, at time.Time, limit int) ([]ChatState, error) {
	return bounded(ctx, func(ctx context.Context) ([]ChatState, error) { return s.Store.Due(ctx, id, at, limit) })
}

func (s *boundedStore) Open(ctx context.Context, id chats.BusinessID) ([]chats.ChatID, error) {
	return bounded(ctx, func(ctx context.Context) ([]chats.ChatID, error) { return s.Store.Open(ctx, id) })
}

// release saves the business's row, unless it is nil, and releases the lease. If asked is set,
// it returns the earliest time at which a row is due.
func (s *boundedStore) release(ctx context.Context, lease Lease, business *BusinessState, asked bool) (due time.Time, err error) {
	if steps, ok := s.Store.(StepStore); ok {
		if due, err = steps.ReleaseBusiness(ctx, lease, business); err != nil && business != nil {
			_, _ = steps.ReleaseBusiness(ctx, lease, nil) // release the lease although the row cannot be saved
		}
		return due, err
	}
	var failed error
	if business != nil {
		failed = s.Save(ctx, lease, business, nil)
	}
	if asked {
		due, err = s.Renew(ctx, lease)
	}
	return due, cmp.Or(failed, err, s.Release(ctx, lease))
}
