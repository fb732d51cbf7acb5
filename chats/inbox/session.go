package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/tenure"
)

// session is the work under one lease, and what its parts share.
//
//	sweeper     lists the chats page by page and saves which are due
//	dispatcher  takes what is due, pushes first, and has it polled
//	poll        reads a chat, delivers what is new, saves after each message
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
	state    *BusinessState // the sweeper's, then that of who holds last
	last     sync.Mutex
	stored   BusinessState // as it was loaded or saved last
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
func (in *Inbox) load(ctx context.Context) (BusinessState, error) {
	now := time.Now()
	if in.began.IsZero() {
		in.began = now
	}
	state, err := in.store.Business(ctx, in.client.Business())
	if err != nil {
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

// saveChat saves a chat's row. In a step it saves the business's row with the last one, which
// spares the statement of saveUsage.
func (s *session) saveChat(ctx context.Context, row *ChatState) error {
	if s.swept.Load() && s.flights.len() == 1 && s.last.TryLock() {
		defer s.last.Unlock()
		return s.save(ctx, row)
	}
	return s.saver.save(ctx, nil, row)
}

// saveUsage saves what has changed in the business's row since it was saved last.
func (s *session) saveUsage(ctx context.Context) {
	s.collect()
	if s.state.StartTime.IsZero() || !s.tenure.IsValid() || reflect.DeepEqual(*s.state, s.stored) {
		return
	}
	if err := s.save(ctx); err != nil && err != ErrLeaseLost { //nolint:errorlint // our own, unwrapped
		s.log.LogAttrs(ctx, slog.LevelWarn, "inbox: saving the quota's usage failed", slog.Any("error", err))
	}
}
