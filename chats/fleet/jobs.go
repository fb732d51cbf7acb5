package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/ymchats/ymchats-go/chats"
)

// The jobs. A turn is the one unique job of a business and purpose: it makes a step and
// snoozes until something is due again. A wake is inserted by each push and each Put: it
// makes a step at once and completes. See wakeWorker for how they work together.
type (
	businessArgs struct {
		Business chats.BusinessID `json:"business"`
	}
	inboxTurn  struct{ businessArgs }
	outboxTurn struct{ businessArgs }
	inboxWake  struct{ businessArgs }
	outboxWake struct{ businessArgs }
)

func (a businessArgs) id() chats.BusinessID { return a.Business }

func (inboxTurn) Kind() string  { return "ymchats_inbox" }
func (outboxTurn) Kind() string { return "ymchats_outbox" }
func (inboxWake) Kind() string  { return "ymchats_inbox_wake" }
func (outboxWake) Kind() string { return "ymchats_outbox_wake" }

type jobArgs interface {
	river.JobArgs
	id() chats.BusinessID
}

// purpose is what differs between inbox and outbox. The queue has the name of the turns'
// kind.
type purpose struct {
	index  int
	turn   func(chats.BusinessID) river.JobArgs
	wake   func(chats.BusinessID) river.JobArgs
	step   func(context.Context, *Fleet, *entry) (time.Time, error)
	urgent func(ctx context.Context, store Store, business chats.BusinessID, until time.Time) (time.Time, error)
}

var (
	inboxes = &purpose{
		0, func(id chats.BusinessID) river.JobArgs { return inboxTurn{businessArgs{id}} },
		func(id chats.BusinessID) river.JobArgs { return inboxWake{businessArgs{id}} }, stepInbox, urgentChats,
	}
	outboxes = &purpose{
		1, func(id chats.BusinessID) river.JobArgs { return outboxTurn{businessArgs{id}} },
		func(id chats.BusinessID) river.JobArgs { return outboxWake{businessArgs{id}} }, stepOutbox, urgentItems,
	}
	purposes = []*purpose{inboxes, outboxes}
)

func (p *purpose) queue() string { return p.turn(0).Kind() }

// maxAttempts is the most that River can store. An attempt counts only if its process dies.
const maxAttempts = 32767

// wakeOpts puts wakes before all turns.
func (p *purpose) wakeOpts() *river.InsertOpts {
	return &river.InsertOpts{Queue: p.queue(), Priority: 1, MaxAttempts: maxAttempts}
}

func (p *purpose) turnOpts(at time.Time) *river.InsertOpts {
	return &river.InsertOpts{
		Queue: p.queue(), Priority: 2, MaxAttempts: maxAttempts, ScheduledAt: at, UniqueOpts: river.UniqueOpts{ByArgs: true},
	}
}

// wakeUp inserts a wake, which notifies the workers of all processes. It locks no row that
// exists, so a process that is frozen in the middle of the transaction holds up nothing.
func (f *Fleet) wakeUp(ctx context.Context, p *purpose, business chats.BusinessID) error {
	jobs, err := f.inserter()
	if err == nil {
		_, err = jobs.Insert(ctx, p.wake(business), p.wakeOpts())
	}
	if err != nil {
		return fmt.Errorf("fleet: wake business %d: %w", business, err)
	}
	return nil
}

// turnIDs are the IDs of turns, as far as they were listed. It takes some 60 bytes a
// business, and saves a search for each push.
type turnIDs struct {
	ids   map[chats.BusinessID]int64
	after *river.JobListCursor
}

func newTurnIDs() turnIDs { return turnIDs{ids: map[chats.BusinessID]int64{}} }

// settledAge is the age from which a job is listed once: a younger one may have been
// committed before another one with a smaller ID.
const settledAge = time.Minute

// turnOf returns the turn of a business, nil if the business is not followed.
func (f *Fleet) turnOf(ctx context.Context, p *purpose, business chats.BusinessID) (*rivertype.JobRow, error) {
	jobs, err := f.inserter()
	if err != nil {
		return nil, err
	}
	id := f.turnID(p, business)
	for range 2 {
		if id != 0 {
			job, err := jobs.JobGet(ctx, id)
			if err == nil && job.FinalizedAt == nil || err != nil && !errors.Is(err, rivertype.ErrNotFound) {
				return job, err
			}
		}
		if err := f.listTurns(ctx, jobs, p); err != nil {
			return nil, err
		}
		known := id
		if id = f.turnID(p, business); id == known {
			return nil, nil //nolint:nilnil // it is not followed, which is no error
		}
	}
	return nil, nil //nolint:nilnil // started and stopped meanwhile
}

func (f *Fleet) turnID(p *purpose, business chats.BusinessID) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.turns[p.index].ids[business]
}

// listTurns lists what is new since the last time.
func (f *Fleet) listTurns(ctx context.Context, jobs Inserter, p *purpose) error {
	f.mu.Lock()
	after := f.turns[p.index].after
	f.mu.Unlock()
	return eachTurn(ctx, jobs, p, after, func(job *rivertype.JobRow) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.turns[p.index].ids[businessOf(job)] = job.ID
		if time.Since(job.CreatedAt) > settledAge {
			f.turns[p.index].after = river.JobListCursorFromJob(job)
		}
		return true
	})
}

const turnsPage = 1000

// eachTurn calls do with the turns of a purpose that are not stopped, until it returns
// false.
func eachTurn(
	ctx context.Context, jobs Inserter, p *purpose, after *river.JobListCursor, do func(*rivertype.JobRow) bool,
) error {
	params := river.NewJobListParams().Kinds(p.queue()).First(turnsPage).States(rivertype.JobStateAvailable,
		rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled)
	for {
		if after != nil {
			params = params.After(after)
		}
		page, err := jobs.JobList(ctx, params)
		if err != nil {
			return err
		}
		for _, job := range page.Jobs {
			if !do(job) {
				return nil
			}
		}
		if after = page.LastCursor; len(page.Jobs) < turnsPage {
			return nil
		}
	}
}

// businessOf returns a job's business, 0 if its arguments cannot be read.
func businessOf(job *rivertype.JobRow) chats.BusinessID {
	var args businessArgs
	_ = json.Unmarshal(job.EncodedArgs, &args)
	return args.Business
}
