package inbox

import (
	"context"
	"fmt"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// Role is the role of an inbox among the inboxes that share its store.
type Role string

// The roles of an inbox.
const (
	RoleLeader  Role = "leader"  // it holds the lease and delivers messages
	RoleStandby Role = "standby" // it is running, but does not hold the lease
	RoleIdle    Role = "idle"    // it is not running in this process
)

// Status is the state of a business as recorded in the store, with the Role of this [Inbox].
type Status struct {
	Role      Role      // of this Inbox
	Holder    string    // the holder of the lease: host, process and a random part; empty if there is none
	Since     time.Time // when the holder acquired the lease
	Chats     int       // number of known chats
	Due       int       // how many of them are due now
	OldestDue time.Time // when the oldest due chat became due; zero if none is due

	LastSweep     time.Time // end of the last incremental sweep, or of the last full one if all sweeps are full
	LastFullSweep time.Time
	NextSweep     time.Time // when the next page is listed

	Failing     []ChatState                     // chats that cannot be handled or read, the longest-failing first; 100 at most
	Quota       map[chats.Operation]chats.Limit // the inbox's share of the quota in the current window, and what remains of it
	LastError   string                          // the last failure to list the chats
	LastErrorAt time.Time
}

// Status returns the state of the business. It only reads the store (four SQL statements with
// sqlstore), so any process may call it.
func (in *Inbox) Status(ctx context.Context) (Status, error) {
	business, now := in.client.Business(), time.Now()
	state, err := in.store.Business(ctx, business)
	if err != nil {
		return Status{}, fmt.Errorf("inbox: status: %w", err)
	}
	sum, err := in.store.Summary(ctx, business, now)
	if err != nil {
		return Status{}, fmt.Errorf("inbox: status: %w", err)
	}
	status := Status{
		Role: in.role(sum.Holder), Holder: sum.Holder, Since: sum.HeldSince,
		Chats: sum.Chats, Due: sum.Due, OldestDue: sum.OldestDue, Failing: sum.Failing,
		LastSweep: state.Incremental.FinishedAt, LastFullSweep: state.Full.FinishedAt, NextSweep: state.Full.NextAt,
		LastError: state.LastError, LastErrorAt: state.LastErrorAt, Quota: in.quotaStatus(&state, now),
	}
	if in.config.isTiered() {
		status.NextSweep = wait.Earliest(state.Full.NextAt, state.Incremental.NextAt)
	} else {
		status.LastSweep = state.Full.FinishedAt
	}
	if q := status.Quota[chats.OpGetChats]; q.Remaining == 0 && !status.NextSweep.IsZero() {
		status.NextSweep = wait.Later(status.NextSweep, q.Until)
	}
	return status, nil
}

func (in *Inbox) role(holder string) Role {
	switch {
	case holder == in.keeper.Holder:
		return RoleLeader
	case in.running.Load():
		return RoleStandby
	default:
		return RoleIdle
	}
}

func (in *Inbox) quotaStatus(state *BusinessState, now time.Time) map[chats.Operation]chats.Limit {
	q := newQuota(in.client, in.config.reserve, state.Usage)
	limits := map[chats.Operation]chats.Limit{}
	for op := range documentedQuota {
		u := q.current(op, now)
		limits[op] = chats.Limit{
			Kind: chats.LimitHourly, Max: int(q.budget(op)), Remaining: max(0, int(q.budget(op))-u.Requests), Until: u.Window,
		}
	}
	return limits
}
