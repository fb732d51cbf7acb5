package outbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/attempts"
	"github.com/ymchats/ymchats-go/chats/internal/callback"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// work posts the head of a chat, if it is due.
func (s *session) work(chat chats.ChatID) outcome {
	out, err := callback.Client(func() (outcome, error) { return s.workHead(chat) })
	if err != nil && !errors.Is(err, inbox.ErrLeaseLost) && !errors.Is(err, ErrConflict) {
		s.log.LogAttrs(s.term.Ctx, slog.LevelWarn, "outbox: processing a chat failed",
			slog.Int64("chat", int64(chat)), slog.Any("error", err))
		out.dueAt = time.Now().Add(time.Second)
	}
	out.chat = chat
	return out
}

func (s *session) workHead(chat chats.ChatID) (outcome, error) {
	ctx, cancel := context.WithTimeout(s.term.Ctx, storeTime)
	defer cancel()
	r, err := s.store.Head(ctx, s.client.Business(), chat)
	now := time.Now()
	r.DueAt = dueAt(r.DueAt, now, maxForbiddenDelay)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return outcome{isEmpty: true}, nil
	case err != nil:
		return outcome{}, err
	case r.State == Queued && r.isExpired(now):
		r.move(Expired, r.Failure, now)
		return s.settle(&r)
	case r.DueAt.After(now) || s.blocks.until(operation(&r)).After(now):
		return unsettled(&r, true), nil
	}
	p := &post{session: s, record: &r, attempts: r.Attempts}
	return p.run(s.posting)
}

func operation(r *Record) chats.Operation {
	if r.Item.IsFile() {
		return chats.OpSendFileToChat
	}
	return chats.OpSendMessageToChat
}

// post posts one item.
type post struct {
	*session

	record   *Record
	attempts int   // Attempts of the record before this call
	early    bool  // an earlier attempt may still become visible, so nothing is sent
	waits    bool  // nothing was sent because of a limit or a refused credential: the chat keeps its turn
	halt     error // why before stopped the send
}

// The reasons for which before stops a send, in addition to inbox.ErrLeaseLost and the errors
// of save.
var (
	errTooLate  = errors.New("outbox: NotAfter has passed")
	errStopping = errors.New("outbox: the run is ending")
	errNotYet   = errors.New("outbox: an earlier attempt may still become visible")
	errNotShown = errors.New("the server accepted it, but the history does not show it")
	errRefused  = errors.New("outbox: it has been refused too often")
)

// run sends the item, or searches for it if it may have been posted, and saves the outcome.
func (p *post) run(ctx context.Context) (outcome, error) {
	options := []chats.ConfirmOption{
		chats.ConfirmBefore(p.before), chats.ConfirmFirstAttempt(p.record.LastMessage),
	}
	if r := p.record; r.State == Sending {
		r.Accepted = r.Accepted || p.attempted.isAccepted(r)
		limited, cancel := context.WithTimeout(ctx, storeTime)
		defer cancel()
		others, err := p.store.PostedAs(limited, r.Business, r.Item.Chat, r.Floor)
		if err != nil {
			return outcome{}, err
		}
		options = append(options, chats.ConfirmAfter(r.Floor), chats.ConfirmExcept(r.Baseline...), chats.ConfirmExcept(others...))
		// If it is too early, the worker ends instead of waiting.
		if p.early = time.Now().Before(p.searchEnd()); !p.early {
			options = append(options, chats.ConfirmResume(p.resumeFrom()))
		}
	}
	message, err := p.send(ctx, options)
	p.conclude(message, err)
	return p.finish()
}

// send sends the item. If the outcome is unknown, the message is searched for later, so that chats
// whose sends keep failing do not occupy all workers.
func (p *post) send(ctx context.Context, options []chats.ConfirmOption) (chats.Message, error) {
	defer func() {
		if p.record.Attempts > p.attempts {
			p.attempted.add(p.record, time.Now())
		}
	}()
	ctx = attempts.WithOneSend(ctx)
	item := &p.record.Item
	if item.IsFile() {
		return p.client.SendFileConfirmed(ctx, item.Chat, item.FileName, bytes.NewReader(item.File), options...)
	}
	return p.client.SendTextConfirmed(ctx, item.Chat, item.Text, options...)
}

// resumeFrom returns a time by which the last attempt had certainly ended, by the clock of this
// process, because the clocks of other processes may differ. Their attempts had ended before
// this process acquired the lease.
func (p *post) resumeFrom() time.Time { return p.attempted.ended(p.record, p.term.Acquired) }

// searchEnd returns when the message of the last attempt can no longer become visible. An item
// that has expired is searched for twice as long, because it will not be sent again.
func (p *post) searchEnd() time.Time {
	end := p.resumeFrom().Add(chats.SearchTime)
	if p.record.isExpired(time.Now()) {
		end = end.Add(chats.SearchTime)
	}
	return end
}

// nextSearch returns when the history is searched again for an earlier attempt: at growing
// intervals, and once its message can no longer become visible.
func (p *post) nextSearch(now time.Time) time.Time {
	last := p.searchEnd()
	if next := now.Add(max(now.Sub(p.resumeFrom()), time.Second)); next.Before(last) {
		return next
	}
	return last
}

// before is called right before each send request.
func (p *post) before(_ context.Context, shop []chats.MessageID) error {
	p.halt = p.prepare(shop)
	return p.halt
}

func (p *post) prepare(shop []chats.MessageID) error {
	switch now := time.Now(); {
	case p.early:
		return errNotYet
	case p.record.Accepted:
		return errNotShown
	case p.record.isRefused():
		return errRefused
	case p.isStopping():
		return errStopping
	case p.record.isExpired(now):
		return errTooLate
	case !p.term.IsValid():
		return inbox.ErrLeaseLost
	default:
		// The client searches before it retries a send that may have posted the item. A retry
		// within the search time thus follows a send that certainly posted nothing.
		isRetry := p.record.Attempts > p.attempts && now.Sub(p.record.LastAttempt) < chats.SearchTime
		if p.record.begin(p.term.Lease.Token, shop, now); isRetry {
			p.record.Attempts--
		}
	}
	if err := p.save(p.record); err != nil {
		return err
	}
	// The save may have taken long. From here on, only sending the request takes time.
	if !p.term.IsValid() {
		return inbox.ErrLeaseLost
	}
	return nil
}

// conclude moves the record to the state that follows from the result of a send.
func (p *post) conclude(message chats.Message, err error) {
	r, now := p.record, time.Now()
	var e *chats.Error
	errors.As(err, &e)
	switch {
	case err == nil:
		p.refusals.reset()
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
	case p.posting.Err() != nil: // the session cancelled the send
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

// refused handles a 401 or 403.
func (p *post) refused(e *chats.Error, err error, now time.Time) {
	p.waits = true
	if errors.Is(err, chats.ErrForbidden) && p.refusals.isAccepted(p.list) {
		p.forbidden(e, err, now)
		return
	}
	p.record.Refusals = 0
	p.retry(p.unsettled(err), err, now)
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
	p.retry(p.unsettled(err), err, now)
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
// gateway to which the response was lost, so the message is searched for before the next attempt, and
// before the item is Failed.
func (p *post) failed(e *chats.Error, err error, now time.Time) {
	r, state := p.record, p.unsettled(err)
	isFinal := isRefusal(e, err)
	switch {
	case !isFinal:
		r.Refusals = 0
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
	r.DueAt = now.Add(wait.Backoff(r.Failures, wait.Max))
	p.warnItem("outbox: posting failed", r, err, slog.Time("again_at", r.DueAt))
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
