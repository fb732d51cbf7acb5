package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
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

// purpose is what differs between inbox and outbox.
type purpose struct {
	index  int
	queue  string // it has the name of the turns' kind
	turn   func(businessArgs) river.JobArgs
	wake   func(businessArgs) river.JobArgs
	step   func(context.Context, *Fleet, *entry) (time.Time, error)
	urgent func(ctx context.Context, store Store, business chats.BusinessID, until time.Time) (time.Time, error)
}

var purposes = []*purpose{{
	0, inboxTurn{}.Kind(), func(b businessArgs) river.JobArgs { return inboxTurn{b} },
	func(b businessArgs) river.JobArgs { return inboxWake{b} }, stepInbox, urgentChats,
}, {
	1, outboxTurn{}.Kind(), func(b businessArgs) river.JobArgs { return outboxTurn{b} },
	func(b businessArgs) river.JobArgs { return outboxWake{b} }, stepOutbox, urgentItems,
}}

var inboxes, outboxes = purposes[0], purposes[1]

// maxAttempts is the most that River can store. An attempt counts only if its process dies.
const maxAttempts = 32767

// wakeOpts puts wakes before all turns.
func (p *purpose) wakeOpts() *river.InsertOpts {
	return &river.InsertOpts{Queue: p.queue, Priority: 1, MaxAttempts: maxAttempts}
}

func (p *purpose) turnOpts(at time.Time) *river.InsertOpts {
	unique := river.UniqueOpts{ByArgs: true}
	return &river.InsertOpts{Queue: p.queue, Priority: 2, MaxAttempts: maxAttempts, ScheduledAt: at, UniqueOpts: unique}
}

// wakeUp inserts a wake, which notifies the workers of all processes. It locks no row that
// exists, so a process that is frozen in the middle of the transaction holds up nothing.
func (f *Fleet) wakeUp(ctx context.Context, p *purpose, business chats.BusinessID) error {
	jobs, _, err := f.turnID(p, business)
	if err == nil {
		_, err = jobs.Insert(ctx, p.wake(businessArgs{business}), p.wakeOpts())
	}
	return err
}

func (f *Fleet) turnID(p *purpose, business chats.BusinessID) (Inserter, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.jobs == nil {
		return nil, 0, ErrNotStarted
	}
	return f.jobs, f.turns[p.index][business], nil
}

// turnOf returns the turn of a business, nil if the business is not followed. The IDs of
// all turns are kept, some 60 bytes each, so that a push needs no search.
func (f *Fleet) turnOf(ctx context.Context, p *purpose, business chats.BusinessID) (*rivertype.JobRow, error) {
	for range 2 {
		jobs, id, err := f.turnID(p, business)
		if err != nil {
			return nil, err
		}
		if id != 0 {
			job, err := jobs.JobGet(ctx, id)
			if !errors.Is(err, rivertype.ErrNotFound) && (err != nil || job.FinalizedAt == nil) {
				return job, err
			}
		}
		if err := f.listTurns(ctx, jobs, p); err != nil { // it may have been started since
			return nil, err
		}
	}
	return nil, nil //nolint:nilnil // it is not followed, which is no error
}

// settledAge is the age from which a job is listed once: a younger one may have been
// committed before another one with a smaller ID.
const settledAge = time.Minute

// listTurns lists the turns that were inserted since the last time.
func (f *Fleet) listTurns(ctx context.Context, jobs Inserter, p *purpose) error {
	f.mu.Lock()
	after := f.listed[p.index]
	f.mu.Unlock()
	for job, err := range turns(ctx, jobs, p, after) {
		if err != nil {
			return err
		}
		f.mu.Lock()
		f.turns[p.index][businessOf(job)] = job.ID
		if time.Since(job.CreatedAt) > settledAge {
			f.listed[p.index] = river.JobListCursorFromJob(job)
		}
		f.mu.Unlock()
	}
	return nil
}

// turns returns the turns that are not stopped, ordered by ID.
func turns(ctx context.Context, jobs Inserter, p *purpose, after *river.JobListCursor) iter.Seq2[*rivertype.JobRow, error] {
	return func(yield func(*rivertype.JobRow, error) bool) {
		const size = 1000
		params := river.NewJobListParams().Kinds(p.queue).First(size).States(rivertype.JobStateAvailable,
			rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled)
		for n := size; n == size; {
			if after != nil {
				params = params.After(after)
			}
			page, err := jobs.JobList(ctx, params)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, job := range page.Jobs {
				if !yield(job, nil) {
					return
				}
			}
			n, after = len(page.Jobs), page.LastCursor
		}
	}
}

// businessOf returns a job's business, 0 if its arguments cannot be read.
func businessOf(job *rivertype.JobRow) chats.BusinessID {
	var args businessArgs
	_ = json.Unmarshal(job.EncodedArgs, &args)
	return args.Business
}
