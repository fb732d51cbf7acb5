package inbox

import (
	"context"
	"errors"
	"sync"
	"time"
)

var (
	errLeft = errors.New("inbox: the loop was left")
	errLost = errors.New("inbox: the lease is lost")
	errOver = errors.New("inbox: the run is over")
)

// session is a run under one lease. What it knows beyond the store it begins to
// learn anew.
//
//	sweeper     lists the chats and tells the book
//	dispatcher  tells the book of pushes, and gives out what the book says is due
//	workers     look at a chat each: history, handler, commit
type session struct {
	*Inbox

	handle handleFunc
	ledger *ledger
	pace   *pace
	end    context.CancelCauseFunc

	book    *book
	sweeper *sweeper
	looks   chan *entry
}

func (in *Inbox) newSession(held context.Context, handle handleFunc) *session {
	s := &session{
		Inbox:  in,
		handle: handle,
		ledger: &ledger{store: in.store, business: in.client.Business(), log: in.log, held: held},
		pace:   newPace(in.client, in.config.reserve),
		looks:  make(chan *entry),
	}
	s.sweeper = newSweeper(s)
	return s
}

// run works until the context ends, the lease is lost or the credential is refused,
// and says which. The caller's goroutine is one of the workers.
func (s *session) run(ctx context.Context, workers int) error {
	ctx, s.end = context.WithCancelCause(ctx)
	var others sync.WaitGroup
	defer others.Wait()
	defer s.end(errOver)
	defer context.AfterFunc(s.ledger.held, func() { s.end(errLost) })() //nolint:contextcheck // the lease has its own

	if err := s.begin(ctx); err == nil {
		others.Go(func() { s.sweeper.run(ctx) })
		others.Go(func() { s.dispatch(ctx) })
		for range workers - 1 {
			others.Go(func() { s.work(ctx) })
		}
		s.work(ctx)
	}
	return verdict(context.Cause(ctx))
}

// verdict tells what we ended ourselves from an end of the caller's context.
func verdict(cause error) error {
	var final *finalError
	if errors.As(cause, &final) || cause == errLeft || cause == errLost { //nolint:errorlint // our own values, unwrapped
		return cause
	}
	return nil
}

// begin reads what the store knows. A business that it does not know is followed
// from now on.
func (s *session) begin(ctx context.Context) error {
	marks, err := s.ledger.load(ctx)
	if err != nil {
		return err
	}
	for {
		if followed := marks[0].UpdatedAt; !followed.IsZero() {
			s.book = newBook(marks, followed)
			s.wakes.take() // those of a stand-by, perhaps of days: the first sweep finds what is new
			return nil
		}
		if marks, err = s.follow(ctx, marks); err != nil {
			return err
		}
	}
}

// work looks at chats, one after the other.
func (s *session) work(ctx context.Context) {
	for {
		select {
		case e := <-s.looks:
			s.look(ctx, e)
		case <-ctx.Done():
			return
		}
	}
}

// dispatch gives the workers what is due. A chat that was taken out of the book
// waits here for a free one; pushes are let in meanwhile.
func (s *session) dispatch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var e *entry
	for {
		var looks chan<- *entry
		if e == nil {
			var wait time.Duration
			e, wait = s.book.due(time.Now())
			timer.Reset(wait)
		}
		if e != nil {
			looks = s.looks
		}
		select {
		case looks <- e:
			e = nil
		case <-s.wakes.arrived:
			for _, id := range s.wakes.take() {
				s.book.wake(id, time.Now())
			}
		case <-s.book.changed:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}
