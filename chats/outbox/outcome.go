package outbox

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// outcome is the result of a worker's turn at a chat.
type outcome struct {
	chat     chats.ChatID
	isEmpty  bool      // the chat has no unsettled item
	isKnown  bool      // the head has been read and remains unsettled
	isFile   bool      // the head is a file
	dueAt    time.Time // when the head is due
	searchAt time.Time // when an earlier attempt is searched for again
	notAfter time.Time // of the head, if it is Queued
	waits    bool      // the head could not be posted yet, so the chat keeps its turn
	failures int       // consecutive, of the head
	isSent   bool      // the head has become Sent
	settled  *Record   // to be reported
}

// unsettled returns the outcome of a turn at a head that remains unsettled.
func unsettled(r *Record, waits bool) outcome {
	return outcome{
		isKnown: true, isFile: r.Item.IsFile(), dueAt: r.DueAt, notAfter: r.notAfter(), waits: waits, failures: r.Failures,
	}
}

// settle saves a settled record. The outcome contains the record if it is to be reported. A backlog
// that is read between the save and the dispatcher's taking of the outcome must not report it as well.
func (s *session) settle(r *Record) (out outcome, err error) {
	if r.Reported = s.config.settled == nil; r.State != Sent {
		s.warnItem("outbox: item is "+string(r.State), r, r.result().Err)
	}
	s.pendingOutcomes.Store(r.Item.Key, true)
	defer func() {
		if out.settled == nil {
			s.pendingOutcomes.Delete(r.Item.Key)
		}
	}()
	if err := s.save(r); err != nil {
		return outcome{}, err
	}
	s.attempted.remove(r)
	out.isSent = r.State == Sent
	if !r.Reported {
		r.Item.File, out.settled = nil, r
	}
	return out, nil
}

// conclude moves the record to the state that follows from the result of a send.
func (p *post) conclude(message chats.Message, err error) {
	r, now := p.record, time.Now()
	var e *chats.Error
	errors.As(err, &e)
	switch {
	case err == nil:
		p.refusals.reset()
		p.blocks.setFailed(false)
		r.Message, r.Failures, r.Refusals = message, 0, 0
		p.found(now)
	case p.halt != nil:
		p.halted(err, now)
	case errors.Is(err, chats.ErrAmbiguous) && p.early:
		p.halt = errNotYet
	case errors.Is(err, chats.ErrAmbiguous):
		r.move(Uncertain, newFailure(err), now)
	case errors.Is(err, chats.ErrUnconfirmed):
		r.Accepted = true
		p.attempted.add(r, now)
		p.retry(Sending, err, now)
	case p.posting.Err() != nil: // the session canceled the send
		r.move(p.unsettled(err), r.Failure, now)
	case errors.Is(err, chats.ErrUnauthorized), errors.Is(err, chats.ErrForbidden):
		p.refused(e, err, now)
	case errors.Is(err, chats.ErrRateLimited):
		p.limited(e, err, now)
	default:
		if e != nil && e.StatusCode != 0 {
			p.refusals.reset()
		}
		p.failed(e, err, now)
	}
}

// found settles an item whose message the history shows. If the message was found before
// anything was sent, the item is in the state Sending from an earlier attempt.
func (p *post) found(now time.Time) { p.record.move(Sent, nil, now) }

// halted handles a send that before has stopped. An earlier send of the same call may
// nevertheless have been posted, and may become visible after its search has ended.
func (p *post) halted(err error, now time.Time) {
	switch r := p.record; {
	case errors.Is(p.halt, errNotShown):
		r.move(Uncertain, newFailure(p.halt), now)
	case errors.Is(p.halt, errNotYet), errors.Is(p.halt, inbox.ErrLeaseLost), errors.Is(p.halt, ErrConflict):
	case errors.Is(err, chats.ErrOutcomeUnknown):
		r.move(Sending, r.Failure, now)
	case errors.Is(p.halt, errRefused):
		r.move(Failed, r.Failure, now)
	case errors.Is(p.halt, errTooLate):
		r.move(Expired, r.Failure, now)
	case errors.Is(p.halt, errStopping):
		r.move(Queued, r.Failure, now)
	}
}

// unsettled returns the state of an item after a failure that does not settle it.
func (p *post) unsettled(err error) State {
	if errors.Is(err, chats.ErrOutcomeUnknown) || p.record.Accepted || p.early {
		return Sending
	}
	return Queued
}

// refusedState returns the state of an item after a 401 or 403. One to a send that has no API error
// code may come from a gateway that has lost the server's response, so the first one in a row of
// them, which do not include those of the history, is followed by a search. Further ones are taken
// at their word: Resolve can discard a Queued item.
func (p *post) refusedState(e *chats.Error, err error) State {
	last := p.record.Failure
	isFirst := last == nil || last.StatusCode != e.StatusCode || !strings.Contains(last.Reason, string(e.Operation))
	if isDoubtful(e) && e.Operation != chats.OpGetChatHistory && isFirst {
		return Sending
	}
	return p.unsettled(err)
}

// refused handles a 401 or 403.
func (p *post) refused(e *chats.Error, err error, now time.Time) {
	p.waits = true
	if errors.Is(err, chats.ErrForbidden) && p.refusals.verify(p.list) {
		p.forbidden(e, err, now)
		return
	}
	p.record.Refusals = 0
	p.retry(p.refusedState(e, err), err, now)
	pause, final := p.refusals.add(err)
	switch {
	case p.once:
		p.end(leasing.Final(fmt.Errorf("outbox: the credential is refused: %w", err)))
	case final != nil:
		p.end(final)
	default:
		p.blocks.pause(now.Add(pause))
	}
}

// forbidden handles a 403 for the chat alone. A Queued item is retried until NotAfter has passed
// or Resolve discards it. A Sending item eventually becomes Uncertain, because its history cannot
// be read.
func (p *post) forbidden(e *chats.Error, err error, now time.Time) {
	r := p.record
	r.countRefusal(e)
	p.retry(p.refusedState(e, err), err, now)
	delay := wait.Backoff(r.Refusals, maxForbiddenDelay)
	if r.DueAt = wait.Later(r.DueAt, now.Add(delay)); r.State == Sending && delay == maxForbiddenDelay {
		r.move(Uncertain, newFailure(err), now)
	}
}

// list requests the list of chats, which every credential for chats may read.
func (p *post) list() error {
	_, err := p.client.ChatsPage(p.posting, chats.Filter{}, chats.PageRequest{Size: 1})
	return err
}

// limited handles a rate limit on the send or the history.
func (p *post) limited(e *chats.Error, err error, now time.Time) {
	p.waits = true
	r, failures, failure := p.record, p.record.Failures, p.record.Failure
	p.retry(p.unsettled(err), err, now)
	if r.Failures = failures; r.Refusals > 0 {
		r.Failure = failure
	}
	if e != nil && e.Limit != nil && e.Limit.Kind == chats.LimitHourly {
		r.DueAt = time.Time{}
		p.blocks.block(e.Operation, now.Add(p.untilReset(e.Limit, now)))
	} else {
		p.blocks.limited(now)
	}
}

// untilReset returns how long the quota is exhausted, by the server's clock if that is known. It
// is at least a minute, because the reported time of the reset may be wrong.
func (p *post) untilReset(limit *chats.Limit, now time.Time) time.Duration {
	if server, ok := p.client.ServerTime(); ok {
		now = server
	}
	return min(max(limit.Until.Sub(now)+time.Second, wait.Max), time.Hour)
}

// failed handles any other error. A refusal of the send without an API error code may come from a
// gateway that has lost the server's response, so the message is searched for before the next
// attempt, and before the item becomes Failed.
func (p *post) failed(e *chats.Error, err error, now time.Time) {
	r, state := p.record, p.unsettled(err)
	isFinal := isRefusal(e, err)
	switch {
	case !isFinal:
		r.Refusals = 0
		p.blocks.setFailed(true)
	case isDoubtful(e):
		r.countRefusal(e)
		if isFinal = r.isRefused(); e.Operation != chats.OpGetChatHistory {
			state, isFinal = Sending, false
		}
	}
	switch {
	case isFinal && state == Queued:
		r.move(Failed, newFailure(err), now)
	case isFinal && isDoubtful(e): // the history cannot be read
		r.move(Uncertain, newFailure(err), now)
	default:
		p.retry(state, err, now)
	}
}

// retry leaves the item unsettled and schedules the next attempt.
func (p *post) retry(state State, err error, now time.Time) {
	r := p.record
	r.Failures++
	r.move(state, newFailure(err), now)
	delay := wait.Backoff(r.Failures, maxPostDelay)
	r.DueAt = now.Add(delay)
	p.warnItem("outbox: posting failed", r, err, slog.Duration("retry_in", delay))
}

// finish saves the record.
func (p *post) finish() (outcome, error) {
	r := p.record
	if errors.Is(p.halt, errNotYet) {
		out := unsettled(r, true)
		out.searchAt = p.nextSearch(time.Now())
		return out, nil
	}
	if errors.Is(p.halt, inbox.ErrLeaseLost) || errors.Is(p.halt, ErrConflict) {
		return outcome{}, p.halt // the record is no longer this session's to save
	}
	if slices.Contains([]State{Queued, Failed, Expired}, r.State) {
		r.Attempts = p.attempts // the attempts of this call certainly posted nothing
	}
	if !r.State.IsSettled() {
		out := unsettled(r, p.waits)
		if r.State == Sending && time.Now().Before(p.searchEnd()) {
			out.searchAt = r.DueAt
		}
		return out, p.save(r)
	}
	out, err := p.settle(r)
	if !errors.Is(err, ErrMessageTaken) {
		return out, err
	}
	// The history shows one message for two items.
	failure := &Failure{Reason: fmt.Sprintf("message %d, which has the same content, belongs to another item", r.Message.ID)}
	r.State, r.Message = Sending, chats.Message{}
	r.move(Uncertain, failure, time.Now())
	return p.settle(r)
}

// isDoubtful reports whether a refusal may come from a gateway or be temporary, because it is
// for the history or has no API error code.
func isDoubtful(e *chats.Error) bool {
	if e == nil {
		return false
	}
	hasCode := slices.ContainsFunc(e.Details, func(d chats.Detail) bool { return d.Code != "" })
	return e.Operation == chats.OpGetChatHistory || !hasCode
}

// isRefusal reports whether the server, or this library, has refused the request itself.
func isRefusal(e *chats.Error, err error) bool {
	switch {
	case errors.Is(err, chats.ErrInvalidArgument):
		return true
	case e == nil || errors.Is(err, chats.ErrProtocol):
		return false
	default:
		return e.StatusCode/100 == 4 && e.StatusCode != http.StatusRequestTimeout && e.StatusCode != 499 || e.StatusCode/100 == 2
	}
}
