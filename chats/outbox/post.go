package outbox

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/attempts"
	"github.com/ymchats/ymchats-go/chats/internal/callback"
)

// work posts the head of a chat, if it is due.
func (s *session) work(chat chats.ChatID) outcome {
	out, err := callback.Client(nil, func() (outcome, error) { return s.workHead(chat) })
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
	case r.DueAt.After(now) || s.blocks.until(operation(r.Item.IsFile())).After(now):
		return unsettled(&r, true), nil
	}
	p := &post{session: s, record: &r, attempts: r.Attempts}
	return p.run(s.posting)
}

// operation returns the operation that posts an item.
func operation(isFile bool) chats.Operation {
	if isFile {
		return chats.OpSendFileToChat
	}
	return chats.OpSendMessageToChat
}

// post posts one item.
type post struct {
	*session

	record   *Record
	attempts int   // Attempts of the record before this call
	resumes  bool  // an earlier attempt may have posted the item
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
		p.resumes = true
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
	ctx = attempts.WithOneSend(ctx, p.shown())
	item := &p.record.Item
	if item.IsFile() {
		return p.client.SendFileConfirmed(ctx, item.Chat, item.FileName, bytes.NewReader(item.File), options...)
	}
	return p.client.SendTextConfirmed(ctx, item.Chat, item.Text, options...)
}

// shown returns the messages that the history must show. Otherwise it may be that of another chat.
// Before the first attempt, this is given up after a while, because the message may have been deleted,
// or MarkSent may have named one that does not exist.
func (p *post) shown() []chats.MessageID {
	switch r := p.record; {
	case p.resumes:
		return r.Baseline
	case r.Failures < maxDoubtfulReadings:
		return []chats.MessageID{r.LastMessage}
	default:
		return nil
	}
}

// maxDoubtfulReadings is the number of failures after which an item is posted although the history
// does not show the last message of the outbox.
const maxDoubtfulReadings = 3

// resumeFrom returns a time by which the last attempt had certainly ended, by the clock of this
// process, because the clocks of other processes may differ. Their attempts had ended before
// this process acquired the lease. One under this lease that is not known any more, because there
// were too many, has ended by now.
func (p *post) resumeFrom() time.Time {
	latest := p.term.Acquired
	if p.record.Token == p.term.Lease.Token {
		latest = time.Now()
	}
	return p.attempted.ended(p.record, latest)
}

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
		return p.tooLate()
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
	switch {
	case !p.term.IsValid():
		return inbox.ErrLeaseLost
	case p.record.isExpired(time.Now()):
		return p.tooLate()
	default:
		return nil
	}
}

// tooLate returns the reason not to send an item that has expired meanwhile. If an earlier attempt
// may have posted it, it is searched for again, because only now is it clear that it will not be sent.
func (p *post) tooLate() error {
	if p.resumes && time.Now().Before(p.searchEnd()) {
		return errNotYet
	}
	return errTooLate
}
