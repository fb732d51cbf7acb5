package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/tenure"
)

// session is the work under one lease, and what its parts share.
//
//	sweeper     lists the chats page by page and saves which are due
//	dispatcher  takes what is due, pushes first, and has it polled
//	poll        reads a chat, delivers what is new, saves each message before the next
//	tenure      renews the lease, and learns of other processes' pushes by it
//
// Everything continues from the rows: the session holds no state of its own that matters.
type session struct {
	*Inbox

	tenure   *tenure.Tenure[Lease]
	handle   handleFunc
	asked    <-chan struct{} // by the loop over Messages, before each call; nil if there is none
	workers  int
	once     bool // it is a step
	stepEnd  time.Time
	swept    atomic.Bool    // the sweeper has ended and left its state
	state    *BusinessState // the sweeper's
	stored   BusinessState  // as it was loaded or saved last
	storedAt time.Time
	saver    *saver
	flights  *flights
	quota    *quota
	handlers *breaker
	reads    *breaker
	refusals *refusals

	cancel context.CancelCauseFunc
	start  atomic.Pointer[time.Time]
}

// load loads the business's row. The first attempt to serve the business counts as its
// start, even if loading fails.
func (in *Inbox) load(ctx context.Context) (state BusinessState, err error) {
	now := time.Now()
	if in.began.IsZero() {
		in.began = now
	}
	if in.leases.acquired != nil {
		state = *in.leases.acquired
	} else if state, err = in.store.Business(ctx, in.client.Business()); err != nil {
		return state, fmt.Errorf("inbox: load the state: %w", err)
	}
	if !state.StartTime.IsZero() {
		in.began = time.Time{}
	}
	if state.Version == 0 { // there is no row that says what is due
		state.DueAt = now
	}
	return state, nil
}

func newSession(in *Inbox, t *tenure.Tenure[Lease], state *BusinessState) *session {
	s := &session{
		Inbox: in, tenure: t, state: state, stored: *state, storedAt: time.Now(),
		saver: &saver{store: in.store, tenure: t, log: in.log}, flights: newFlights(),
		quota:    newQuota(in.client, in.config.reserve, state.Usage),
		handlers: newBreaker("handler", state.Handlers, in.log), reads: newBreaker("reading", state.Reads, in.log),
	}
	for _, sweep := range []*SweepState{&state.Incremental, &state.Full, &state.Newest} {
		sweep.adjust(s.storedAt)
	}
	s.refusals = &refusals{end: s.end}
	start := state.StartTime
	s.start.Store(&start)
	s.saver.savedAt.Store(new(time.Time))
	return s
}

// startTime returns the business's StartTime.
func (s *session) startTime() time.Time { return *s.start.Load() }

func (s *session) isStopping() bool { return s.once && !time.Now().Before(s.stepEnd) }

// endError is why a session ended itself.
type endError struct{ error }

// end ends the session.
func (s *session) end(err error) { s.cancel(&endError{err}) }

// collect adds to the business's row the counters that are kept elsewhere.
func (s *session) collect() {
	s.state.Usage, s.state.Handlers, s.state.Reads = s.quota.state(), s.handlers.snapshot(), s.reads.snapshot()
}

// save saves the business's row and chats' rows. If that fails, the former is as it was
// stored again, so that it does not claim what the latter lack.
func (s *session) save(ctx context.Context, rows ...*ChatState) error {
	s.collect()
	if err := s.saver.save(ctx, s.state, rows...); err != nil {
		*s.state = s.stored
		return err
	}
	s.stored, s.storedAt = *s.state, time.Now()
	return nil
}

// unknownDue is when rows are taken to be due if the store does not say it.
const unknownDue = time.Second

// finish saves what has changed in the business's row, releases the lease, and returns the
// earliest time at which a row is due, if that is asked.
func (s *session) finish(ctx context.Context, asked bool) (due time.Time) {
	due = time.Now().Add(unknownDue)
	changes := s.changes()
	s.tenure.End(ctx, func(ctx context.Context, lease Lease) (err error) {
		next, err := s.store.release(ctx, lease, changes, asked)
		if err == nil {
			due = next
		}
		return err
	})
	return due
}

// changes returns the business's row if it has changed since it was saved last, and else nil.
func (s *session) changes() *BusinessState {
	s.collect()
	if s.state.StartTime.IsZero() || !s.tenure.IsValid() || reflect.DeepEqual(*s.state, s.stored) {
		return nil
	}
	return s.state
}

// skipped returns a function that logs once that a chat's history, or the list if it is 0, has
// items without a readable ID, which the client skips.
func (s *session) skipped(ctx context.Context, chat chats.ChatID) func(n int) {
	return func(n int) {
		if n == 0 {
			return
		}
		if _, again := s.leftOut.LoadOrStore(chat, true); !again {
			s.log.LogAttrs(ctx, slog.LevelWarn, "inbox: items without a readable ID skipped",
				slog.Int64("chat", int64(chat)), slog.Int("count", n))
		}
	}
}
