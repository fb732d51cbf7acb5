package inbox

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/tenure"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// stepTime is how long a step goes on with what is due.
const stepTime = 20 * time.Second

// session is the work under one lease.
//
//	sweeper     lists the chats page by page and saves which are due
//	dispatcher  takes what is due, pushes first, and has it polled
//	poller      reads a chat, delivers what is new, saves after each message
//	tenure      renews the lease, which also shows pushes to other processes
//
// Everything continues from the rows: the session holds no state of its own that matters.
type session struct {
	*Inbox

	tenure     *tenure.Tenure[Lease]
	saver      *saver
	quota      *quota
	handlers   *breaker
	reads      *breaker
	sweeper    *sweeper
	dispatcher *dispatcher
	state      *BusinessState

	cancel context.CancelCauseFunc
	start  atomic.Pointer[time.Time]
	until  time.Time // of a step; zero: until the context ends
}

// newSession loads the business's row.
func (in *Inbox) newSession(
	ctx context.Context, t *tenure.Tenure[Lease], workers int, handle handleFunc,
) (*session, error) {
	state, err := in.store.Business(ctx, in.client.Business())
	if err != nil {
		return nil, err
	}
	s := &session{Inbox: in, tenure: t, state: &state}
	s.saver = &saver{store: in.store, tenure: t, log: in.log}
	s.quota = newQuota(in.client, in.config.reserve, state.Usage)
	s.handlers = newBreaker("handler", state.Handlers, in.log)
	s.reads = newBreaker("reading", state.Reads, in.log)
	s.started(state.StartTime)
	refusals := &refusals{end: s.end}
	flights := newFlights()
	p := &poller{
		client: in.client, config: &in.config, business: in.client.Business(), start: s.startTime, handle: handle,
		caller: &caller{in.config.timeout, in.log}, tenure: t, saver: s.saver, flights: flights, quota: s.quota,
		handlers: s.handlers, reads: s.reads, refusals: refusals, log: in.log, stopping: s.isStopping,
		unknown: &in.unknown,
	}
	s.dispatcher = newDispatcher(p, in.store, workers, in.woken, s.end)
	s.sweeper = &sweeper{
		client: in.client, config: &in.config, store: in.store, saver: s.saver, flights: flights, quota: s.quota,
		refusals: refusals, listing: &in.listing, log: in.log, onDue: s.dispatcher.note, onStart: s.started,
		stopping: s.isStopping, enrich: s.enrich, began: time.Now(), state: &state, last: sweepKinds - 1, first: true,
	}
	return s, nil
}

func (s *session) startTime() time.Time { return *s.start.Load() }

func (s *session) started(at time.Time) {
	s.start.Store(&at)
	if s.dispatcher != nil {
		s.dispatcher.signal()
	}
}

func (s *session) isStopping() bool { return !s.until.IsZero() && !time.Now().Before(s.until) }

// enrich adds to the business's row the counters that are kept elsewhere.
func (s *session) enrich(state *BusinessState) {
	state.Usage, state.Handlers, state.Reads = s.quota.state(), s.handlers.snapshot(), s.reads.snapshot()
}

// endError is why a session ended itself.
type endError struct{ error }

// end ends the session.
func (s *session) end(err error) { s.cancel(&endError{err}) }

// run works until ctx ends, and returns nil then, or until something ends the session, and
// returns what: ErrLeaseLost, errLeft, another [tenure.FinalError], or the error of a save.
// With once, it works until nothing is due, or for stepTime; next is when something is due
// again.
func (s *session) run(ctx context.Context, once bool) (next time.Time, err error) {
	ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.cancel(nil)
	defer context.AfterFunc(s.tenure.Ctx, func() { s.end(ErrLeaseLost) })()
	if once {
		s.until = time.Now().Add(stepTime)
		s.sweeper.first = false // the caller of Step spreads the steps of many businesses
	}
	s.dispatcher.note(time.Now())
	var sweeping, renewing sync.WaitGroup
	var swept atomic.Bool
	renewing.Go(func() { s.tenure.Keep(s.dispatcher.note) })
	sweeping.Go(func() {
		if err := s.sweeper.run(ctx, once); err != nil {
			s.end(err)
		}
		swept.Store(true)
		s.dispatcher.signal()
	})
	s.dispatcher.run(ctx, func() bool { return once && swept.Load() })
	var ended *endError
	if errors.As(context.Cause(ctx), &ended) {
		err = ended.error
	}
	s.cancel(nil)
	sweeping.Wait()
	s.saveUsage(ctx)
	if once {
		next = s.next()
	}
	s.tenure.End(ctx)
	renewing.Wait()
	return next, err
}

// next returns when something is due again.
func (s *session) next() time.Time {
	_, next := s.sweeper.next()
	if due, err := s.tenure.Renew(); err == nil && !due.IsZero() {
		next = wait.Earliest(next, wait.Later(due, s.dispatcher.gate()))
	}
	return next
}

// saveUsage saves what has changed in the business's row since it was saved last.
func (s *session) saveUsage(ctx context.Context) {
	if s.state.StartTime.IsZero() || !s.tenure.IsValid() {
		return
	}
	s.enrich(s.state)
	if err := s.saver.save(ctx, s.state); err != nil && err != ErrLeaseLost { //nolint:errorlint // our own, unwrapped
		s.log.LogAttrs(ctx, slog.LevelWarn, "inbox: saving the quota's usage failed", slog.Any("error", err))
	}
}
