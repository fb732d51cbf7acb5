package inbox

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// stepTime is how long after its start a step still begins new work.
const stepTime = 20 * time.Second

// serverTime is how long Market works on a request before it gives up.
const serverTime = 10 * time.Second

// session is the work under one lease, with the state shared by its parts.
//
//	sweeper     lists the chats page by page and saves which of them are due
//	dispatcher  starts the polls of chats that are due, those with a push first
//	poll        reads a chat and delivers its new messages, saving each before the next
//	term        renews the lease, which also reveals pushes received by other processes
//
// A later session continues from the rows: a session keeps no other state that matters.
type session struct {
	*Inbox

	term     *leasing.Term[Lease]
	handle   handleFunc
	asked    <-chan struct{} // has a value when the loop over Messages asks for the next message; nil if there is no loop
	workers  int
	once     bool // the session is a step
	stepEnd  time.Time
	swept    atomic.Bool    // the sweeper has ended and no longer uses state
	state    *BusinessState // used only by the sweeper until it has ended
	stored   BusinessState  // state as last loaded or saved
	storedAt time.Time
	saver    *saver
	flights  *flights
	quota    *quota
	handlers *breaker
	reads    *breaker
	refusals *refusals

	isLimited atomic.Bool // a poll was refused because of a rate limit, and none has succeeded since

	cancel context.CancelCauseFunc
	start  atomic.Pointer[time.Time]
}

// load loads the business's row. It notes the time of the first attempt to serve the business,
// even if loading fails.
func (in *Inbox) load(ctx context.Context) (state BusinessState, err error) {
	in.began = wait.Earliest(in.began, time.Now())
	if in.store.acquired != nil {
		state = *in.store.acquired
	} else if state, err = in.store.Business(ctx, in.client.Business()); err != nil {
		return state, fmt.Errorf("inbox: load the state: %w", err)
	}
	if !state.StartTime.IsZero() {
		in.began = time.Time{}
	}
	if state.Version == 0 { // without a row, the store does not report what is due
		state.DueAt = time.Now()
	}
	return state, nil
}

func newSession(in *Inbox, t *leasing.Term[Lease], state *BusinessState) *session {
	s := &session{
		Inbox: in, term: t, state: state, stored: *state, storedAt: time.Now(),
		saver: &saver{store: in.store, term: t, log: in.log}, flights: newFlights(),
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

func (s *session) startTime() time.Time { return *s.start.Load() }

func (s *session) isStopping() bool { return s.once && !time.Now().Before(s.stepEnd) }

// isTooSlow reports whether a request of a step that was interrupted when the step ended counts as failed:
// the requests of the next step would take as long.
func (s *session) isTooSlow(began time.Time) bool { return s.once && time.Since(began) >= serverTime }

// endError is the reason for which a session has ended itself.
type endError struct{ error }

func (s *session) end(err error) { s.cancel(&endError{err}) }

// collect copies the counters kept elsewhere into the business's row.
func (s *session) collect() {
	s.state.Usage, s.state.Handlers, s.state.Reads = s.quota.state(), s.handlers.snapshot(), s.reads.snapshot()
}

// save saves the business's row and rows of chats. If that fails, it resets the business's row
// to what is stored, so that the row does not record progress that the chats' rows lack.
func (s *session) save(ctx context.Context, rows ...*ChatState) error {
	s.collect()
	if err := s.saver.save(ctx, s.state, rows...); err != nil {
		*s.state = s.stored
		return err
	}
	s.stored, s.storedAt = *s.state, time.Now()
	return nil
}

// unknownDue is the delay after which rows are assumed to be due if the store does not report it.
const unknownDue = time.Second

// finish saves the business's row if it has changed, releases the lease and, if asked is set or the
// store reports it anyway, returns the earliest time at which a row is due.
func (s *session) finish(ctx context.Context, asked bool) (due time.Time) {
	if asked {
		due = time.Now().Add(unknownDue)
	}
	changes := s.changes()
	s.term.End(ctx, func(ctx context.Context, lease Lease) (err error) {
		next, err := s.store.release(ctx, lease, changes, asked)
		if err == nil {
			due = next
		}
		return err
	})
	return due
}

// changes returns the business's row if it has changed since it was last saved, nil otherwise.
func (s *session) changes() *BusinessState {
	s.collect()
	if s.state.StartTime.IsZero() || !s.term.IsValid() || reflect.DeepEqual(*s.state, s.stored) {
		return nil
	}
	return s.state
}

// skipped returns a function that logs, once for each chat, that the client has skipped items
// without a readable ID in the chat's history. Chat 0 stands for the list of chats.
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
