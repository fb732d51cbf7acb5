package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// Status is the state of a business.
type Status struct {
	Holder     string    // the holder of the lease: host, process and a random part; empty if there is none
	Since      time.Time // when the holder acquired the lease
	Queued     int
	Sending    int
	Uncertain  int                             // waiting for [Outbox.Resolve]
	Failed     int                             // and not yet deleted
	Unreported int                             // settled, but the WithSettled function has not returned nil yet
	Oldest     time.Time                       // QueuedAt of the oldest unsettled item; zero if there is none
	LastError  string                          // why an item has not been posted yet
	Quota      map[chats.Operation]chats.Limit // as last reported to this process
}

// Status returns the state of the business. It reads the store, so it may be called in any process.
// Quota, however, is what Market has reported to the client of this Outbox; it is empty if that
// client has made no requests.
func (o *Outbox) Status(ctx context.Context) (Status, error) {
	sum, err := o.store.Counts(ctx, o.client.Business())
	if err != nil {
		return Status{}, fmt.Errorf("outbox: status: %w", err)
	}
	status := Status{
		Holder: sum.Holder, Since: sum.HeldSince, Queued: sum.Queued, Sending: sum.Sending, Uncertain: sum.Uncertain,
		Failed: sum.Failed, Unreported: sum.Unreported, Oldest: sum.Oldest, LastError: sum.LastError,
		Quota: map[chats.Operation]chats.Limit{},
	}
	for _, op := range []chats.Operation{chats.OpSendMessageToChat, chats.OpSendFileToChat, chats.OpGetChatHistory} {
		if limit, ok := o.client.Limit(op); ok {
			status.Quota[op] = limit
		}
	}
	return status, nil
}
