package inbox

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/attempts"
	"github.com/ymchats/ymchats-go/chats/internal/callback"
	"github.com/ymchats/ymchats-go/chats/internal/callerctx"
	"github.com/ymchats/ymchats-go/chats/internal/paging"
	"github.com/ymchats/ymchats-go/chats/internal/urgent"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

var (
	errStopped   = errors.New("inbox: the run is ending")
	errNoMatch   = errors.New("inbox: the chat does not match the filter")
	errPostponed = errors.New("inbox: the quota allows no getChat")
)

// poll reads a chat's history from the checkpoint on, and delivers the new messages. Each
// message is saved before the next delivery or request, the last one together with the outcome
// of the poll.
type poll struct {
	*session

	row     *ChatState
	began   time.Time
	readAt  time.Time // when the last message was read, delivered and saved; at first, when the poll began
	woken   bool
	pushed  time.Time       // when the push arrived, by the server's clock
	checked bool            // the chat is known to match the filter
	floor   chats.MessageID // the checkpoint when the poll began
	until   time.Time       // messages are delivered until then even if the step is over
	newest  time.Time       // CreatedAt of the newest message read
	last    bool            // the remaining messages need no request
	unsaved bool            // a handled message has not been saved yet
	found   bool            // a new message was read
	known   bool            // a message that is already handled was read
}

// poll polls a chat in flight. The error is ErrLeaseLost, or the error of a save.
func (s *session) poll(ctx context.Context, f *flight) error {
	began := time.Now()
	counting, refund := s.quota.prepaid(ctx, chats.OpGetChatHistory, s.skipped(ctx, f.row.Chat))
	defer refund()
	l := &poll{session: s, row: &f.row, began: began, readAt: began, woken: f.row.isWoken(), pushed: wait.Earliest(f.row.DueAt, began)}
	if server, ok := s.client.ServerTime(); ok {
		l.pushed = l.pushed.Add(time.Until(server))
	}
	_, err := callback.Client(nil, func() (any, error) { return nil, l.read(counting) })
	if err == ErrLeaseLost || errors.Is(err, ErrConflict) { //nolint:errorlint // our own error, never wrapped
		s.flights.land(f, false)
		return err
	}
	l.conclude(ctx, err)
	saveErr := s.land(ctx, f)
	if f.row.isWoken() || !f.row.FailingSince.IsZero() || !f.row.Explained {
		urgent.Note(ctx, f.row.DueAt)
	}
	return saveErr
}

// land saves a row, and saves it again if its chat was listed meanwhile.
func (s *session) land(ctx context.Context, f *flight) error {
	for {
		err := s.saver.save(ctx, nil, &f.row)
		chat, at := s.flights.land(f, err == nil)
		if err != nil || chat == nil {
			return err
		}
		f.row.observe(*chat, s.startTime(), s.config.isTiered(), at)
	}
}

// resolve reads a chat that is known only from pushes. It returns errNoMatch if the chat does
// not match the filter.
func (l *poll) resolve(ctx context.Context) error {
	if l.row.Snapshot.ID == 0 {
		return l.refresh(ctx)
	}
	isKnown := l.row.Snapshot.Subject.Kind != "" // otherwise the list decides
	if isKnown && !l.config.dependsOnState() && !l.config.filter.Matches(l.row.Snapshot) {
		return errNoMatch
	}
	return nil
}

// refresh reads the chat itself.
func (l *poll) refresh(ctx context.Context) error {
	if until, ok := l.quota.take(chats.OpGetChat); !ok {
		l.row.DueAt = until
		if l.row.Snapshot.ID != 0 { // once it is listed, a message needs no getChat, see match
			l.row.SeenWakes = l.row.Wakes
		}
		return errPostponed
	}
	counting, refund := l.quota.prepaid(ctx, chats.OpGetChat, l.skipped(ctx, l.row.Chat))
	defer refund()
	chat, err := l.client.Chat(counting, l.row.Chat)
	if err != nil {
		return err
	}
	l.refusals.accepted()
	l.row.observe(chat, l.startTime(), l.config.isTiered(), l.began)
	if l.checked = l.config.filter.Matches(chat); !l.checked {
		return errNoMatch
	}
	return nil
}

// read reads the history from the checkpoint on. If that shows none of the handled messages,
// they or the checkpoint's message may have been deleted, and it is read from its beginning.
func (l *poll) read(ctx context.Context) error {
	if err := l.resolve(ctx); err != nil {
		return err
	}
	l.floor = l.row.Checkpoint
	showsKnown := len(l.row.Handled) > 0 // unless those messages were deleted
	err := l.history(ctx, l.row.Checkpoint)
	if err == nil && l.row.Checkpoint > 0 && !l.known && (showsKnown || !l.found) {
		if err = l.flush(ctx); err == nil {
			err = l.history(ctx, 0)
		}
	}
	if err == nil {
		l.reads.succeeded()
		l.refusals.accepted()
		if l.isLimited.Swap(false) {
			l.log.LogAttrs(ctx, slog.LevelInfo, "inbox: chats can be read again")
		}
	}
	return err
}

// isRefusal reports whether the server refused a request because of its parameters.
func isRefusal(err error, op chats.Operation) bool {
	var failed *chats.Error
	return errors.As(err, &failed) && failed.Operation == op &&
		(failed.StatusCode == http.StatusBadRequest || failed.StatusCode == http.StatusNotFound)
}

// history reads the messages above since. If they are listed out of order, it moves the
// checkpoint back, so that the next poll reads them again.
func (l *poll) history(ctx context.Context, since chats.MessageID) error {
	for message, err := range l.client.History(paging.WithLast(ctx, &l.last), l.row.Chat, since) {
		var broken *chats.Error
		if errors.As(err, &broken) && broken.ResumeAfter != nil {
			l.row.Checkpoint = min(l.row.Checkpoint, max(l.floor, *broken.ResumeAfter))
		}
		if err != nil {
			return err
		}
		if err := l.take(ctx, &message); err != nil {
			return err
		}
		l.readAt = time.Now()
	}
	return nil
}

// take delivers a message if it is new.
func (l *poll) take(ctx context.Context, message *chats.Message) error {
	l.newest = wait.Later(l.newest, known(message.CreatedAt))
	if l.row.isHandled(message.ID) {
		l.known = true
		return nil
	}
	isOld := l.row.isOld(message, l.startTime())
	l.found = l.found || !isOld
	isWanted := l.config.wants(message.Sender)
	if !isOld && !isWanted {
		l.logLeftOut(ctx, message.Sender)
	}
	if isOld || !isWanted {
		l.row.setHandled(message.ID, maxLookback)
		return nil
	}
	if err := l.flush(ctx); err != nil {
		return err
	}
	if err := l.match(ctx); err != nil {
		return err
	}
	if err := l.deliver(ctx, message); err != nil {
		return err
	}
	l.row.setHandled(message.ID, maxLookback)
	if message.ID >= l.row.Head {
		l.recovered()
	}
	l.unsaved = true
	if l.last { // the next delivery or the end of the poll follows immediately and saves it
		return nil
	}
	return l.flush(ctx)
}

func (l *poll) flush(ctx context.Context) error {
	if !l.unsaved {
		return nil
	}
	l.unsaved = false
	return l.saver.save(ctx, nil, l.row)
}

// logLeftOut logs that a sender's messages are not delivered, once for each unknown sender.
func (l *poll) logLeftOut(ctx context.Context, sender chats.Sender) {
	if _, again := l.leftOut.LoadOrStore(sender, true); !again && !sender.Known() {
		l.log.LogAttrs(ctx, slog.LevelWarn, "inbox: unknown sender left out",
			slog.Int64("chat", int64(l.row.Chat)), slog.String("sender", string(sender)))
	}
}

// match reads the chat again before its first delivery, if the filter depends on its state and
// the chat was not listed just before.
func (l *poll) match(ctx context.Context) error {
	justListed := !l.woken && !l.row.Explained && l.began.Sub(l.row.SeenAt) < time.Minute
	if l.checked || justListed || !l.config.dependsOnState() {
		return nil
	}
	return l.refresh(ctx)
}

func (l *poll) deliver(ctx context.Context, message *chats.Message) error {
	if l.until.IsZero() {
		l.until = time.Now().Add(stepTime) // regardless of how long the reading took
	}
	if l.isStopping() && time.Now().After(l.until) || ctx.Err() != nil {
		return errStopped
	}
	if l.asked != nil { // a slow loop must not count as a slow handler
		select {
		case <-l.asked:
		case <-ctx.Done():
			return errStopped
		}
	}
	if !l.term.IsValid() {
		return ErrLeaseLost
	}
	d := Delivery{Business: l.client.Business(), Chat: l.row.Snapshot, Message: *message, Attempt: 1}
	if l.row.Head == message.ID {
		d.Attempt += l.row.Attempts
	}
	failed := l.call(attempts.WithCounter(ctx, nil), d, l.handle)
	switch {
	case failed == nil:
		l.handlers.succeeded()
		if d.Attempt > 1 {
			l.log.LogAttrs(ctx, slog.LevelInfo, "inbox: message handled after failures",
				append(d.attrs(), slog.Int("attempts", d.Attempt), slog.Time("failing_since", l.row.FailingSince))...)
		}
		return nil
	case !l.term.IsValid():
		return ErrLeaseLost
	case ctx.Err() != nil:
		return errStopped // the handler was interrupted
	}
	l.handlers.failed(l.row.Chat, d.Attempt == 1)
	l.row.Head, l.row.Attempts = message.ID, d.Attempt
	l.row.fail(failed.Text, time.Now())
	return l.giveUp(ctx, d, failed)
}

// giveUp passes a message that has failed too often to the dead-letter function. It returns
// nil if the message now counts as handled.
func (l *poll) giveUp(ctx context.Context, d Delivery, failed *callback.Error) error {
	if l.config.maxAttempts == 0 || d.Attempt < l.config.maxAttempts {
		return failed
	}
	dead := func(ctx context.Context, d Delivery) error { return l.config.dead(ctx, d, failed.Err) }
	if again := l.call(attempts.WithCounter(ctx, nil), d, dead); again != nil {
		return again
	}
	l.log.LogAttrs(ctx, slog.LevelError, "inbox: gave up on a message",
		append(d.attrs(), slog.Int("attempts", d.Attempt), slog.String("error", failed.Text))...)
	return nil
}

// recovered ends a failure. The end of the handler's is logged with the message.
func (l *poll) recovered() {
	if l.row.Attempts == 0 && !l.row.FailingSince.IsZero() {
		l.log.Info("inbox: chat can be read again",
			slog.Int64("chat", int64(l.row.Chat)), slog.Time("failing_since", l.row.FailingSince))
	}
	l.row.recovered()
}

// conclude decides when the chat is due next.
func (l *poll) conclude(ctx context.Context, err error) {
	now := time.Now()
	var failed *callback.Error
	switch {
	case err == nil:
		l.complete()
	case err == errStopped, err == errPostponed, err != nil && callerctx.Err(ctx) != nil && !l.isTooSlow(l.readAt): //nolint:errorlint // our own error, never wrapped
		// DueAt stays as it is.
	case errors.As(err, &failed):
		l.unhandled(ctx, failed, now)
	case err == errNoMatch: //nolint:errorlint // our own error, never wrapped
		l.forget()
	default:
		l.unread(ctx, err, now)
	}
}

// complete ends a poll that has read everything.
func (l *poll) complete() {
	row := l.row
	l.recovered()
	if l.found {
		row.Unexplained = 0
		l.began = time.Now() // the second of a message may not have been over when it was read
	}
	if !row.Read && !l.startTime().After(time.Now()) {
		row.Read, row.UpdatedAt = true, row.Snapshot.UpdatedAt
	}
	row.trim(max(1, l.config.lookback))
	switch {
	case l.woken:
		// A push that arrives after its message was found is already explained. A message that is
		// found may be older than the push, if the history lags behind.
		isLate := row.Explained && l.began.Sub(row.SeenAt) < time.Minute
		isExplained := (l.found || isLate) && l.reaches(l.pushed.Add(-time.Second))
		if row.SeenAt, row.Explained = l.began, isExplained; !isExplained {
			row.expect(l.began)
		}
	case l.found:
		row.SeenAt, row.Explained = l.began, true
	case !row.UpdatedAt.IsZero() && !l.newest.IsZero() && l.reaches(row.UpdatedAt):
		row.Explained = true
	}
	if l.found && row.Explained && row.Read && !row.UpdatedAt.IsZero() {
		row.UpdatedAt = wait.Later(row.Snapshot.UpdatedAt, l.newest) // the time expected in the list
	}
	row.SeenWakes = row.Wakes
	row.DueAt = nextRecheck(row, l.began, row.Explained && l.reaches(row.UpdatedAt))
}

// reaches reports whether the newest message read is at or after a time, to the second. It
// returns true if no message has a time.
func (l *poll) reaches(at time.Time) bool {
	return l.newest.IsZero() || !second(l.newest).Before(second(at))
}
