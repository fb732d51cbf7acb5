package outbox

import (
	"errors"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
)

const (
	storeTime = 5 * time.Second  // for one statement
	maxSaving = 10 * time.Second // for a record that cannot be saved
	graceTime = 5 * time.Second  // for posts in progress when a run ends
)

// newKeeper returns the keeper of an outbox's lease.
func newKeeper(store Store, business chats.BusinessID, log *slog.Logger) *leasing.Keeper[inbox.Lease] {
	return &leasing.Keeper[inbox.Lease]{
		Store: store, Business: business, Purpose: Purpose, Holder: leasing.NewHolder(), Log: log,
		Lost:     inbox.ErrLeaseLost,
		Duration: func(lease inbox.Lease) time.Duration { return lease.Duration },
		Held: func(err error) *leasing.Held {
			var held *inbox.LeaseHeldError
			errors.As(err, &held)
			return (*leasing.Held)(held)
		},
	}
}
