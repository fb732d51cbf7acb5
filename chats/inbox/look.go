package inbox

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// handleFunc is the caller's.
type handleFunc func(context.Context, Delivery) error

// recovered makes a panic of the handler an error with its stack.
func recovered(handle handleFunc) handleFunc {
	return func(ctx context.Context, d Delivery) (err error) {
		defer func() {
			if cause := recover(); cause != nil {
				err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
			}
		}()
		return handle(ctx, d)
	}
}

// handlerError is a failure of the caller's handler.
type handlerError struct {
	message chats.MessageID
	err     error
}

func (e *handlerError) Error() string { return e.err.Error() }
func (e *handlerError) Unwrap() error { return e.err }

// errPassed: the chat is none of ours.
var errPassed = errors.New("the chat does not match")

// look is one reading of a chat: its history from the mark on, each message handed
// over and committed before the next.
type look struct {
	s     *session
	entry *entry
	began time.Time

	chat    chats.Chat
	mark    Mark            // as it stands in the store
	read    chats.MessageID // the last one that needs no handling any more
	newest  time.Time       // CreatedAt of the newest message read
	claimed bool            // the mark is known to stand in the store
	found   bool            // there was a new message
	handled int
}

// look reads a chat that was taken out of the queue, and puts it back.
func (s *session) look(ctx context.Context, e *entry) {
	l := &look{s: s, entry: e, began: time.Now()}
	err := l.resolve(ctx)
	if err == nil {
		err = l.history(ctx)
	}
	if err == nil {
		err = l.settle(ctx)
	}
	s.conclude(ctx, l, err)
}

// resolve finds out which chat it is, and whether it matches, where no list has
// told so.
func (l *look) resolve(ctx context.Context) error {
	known, woken := l.s.book.state(l.entry)
	l.chat, l.mark = known.chat, known.mark
	l.read = l.mark.Message
	filter := &l.s.config.filter
	if !woken.IsZero() && (known.chat.ID == 0 || volatile(filter) && known.seen.Before(woken)) {
		if l.s.pace.isShort(chats.OpGetChat) {
			return errPassed // the sweep finds it
		}
		chat, err := l.s.client.Chat(ctx, l.entry.id)
		l.s.pace.note(chats.OpGetChat)
		if err != nil {
			return err
		}
		l.chat = chat
		l.s.book.read(l.entry, chat, time.Now())
	}
	if !woken.IsZero() && (!known.listed || volatile(filter)) && !matches(filter, &l.chat) {
		return errPassed
	}
	return nil
}

// history hands over what is new. It is read from the mark on; of a chat without
// one from the beginning, since the id that a message of a certain time has is not
// known.
func (l *look) history(ctx context.Context) error {
	for message, err := range l.s.client.History(ctx, l.entry.id, l.mark.Message) {
		if err != nil {
			return err
		}
		if err := l.take(ctx, message); err != nil {
			return err
		}
	}
	return nil
}

func (l *look) take(ctx context.Context, message chats.Message) error {
	l.newest = later(l.newest, message.CreatedAt)
	old := l.isOld(message)
	l.found = l.found || !old
	if old || !l.s.config.wants(message.Sender) {
		l.read = message.ID
		return nil
	}
	if err := l.claim(ctx); err != nil {
		return err
	}
	if err := l.s.ledger.held.Err(); err != nil {
		return err
	}
	if err := l.s.handle(ctx, Delivery{Chat: l.chat, Message: message}); err != nil {
		return &handlerError{message.ID, err}
	}
	l.read = message.ID
	l.handled++
	return l.commit(ctx, Mark{Message: message.ID, UpdatedAt: l.mark.UpdatedAt})
}

// isOld: the message was there before the business was followed. Of a chat whose mark
// names a message everything above it is new; where the mark has a time alone,
// everything after that second is.
func (l *look) isOld(message chats.Message) bool {
	if l.mark.Message != 0 {
		return false
	}
	created := second(message.CreatedAt)
	return created.Before(l.s.book.followed) || !created.After(l.mark.UpdatedAt)
}

// claim makes sure that the mark we know is the store's, before anything is handed
// over on the strength of it. A lease is no reason not to: SQLite's is one process's
// own.
func (l *look) claim(ctx context.Context) error {
	if l.claimed {
		return nil
	}
	l.claimed = true
	to := l.mark
	if to.isZero() {
		to.UpdatedAt = earliest
	}
	return l.commit(ctx, to)
}

// settle ends a look that read everything: the mark tells what needed no handling,
// and as of when the chat is done with.
func (l *look) settle(ctx context.Context) error {
	to := Mark{Message: l.read, UpdatedAt: l.mark.UpdatedAt}
	if asOf, ok := l.s.book.account(l.entry, l, time.Now()); ok {
		to.UpdatedAt = asOf
		if to.Message == 0 && l.mark.isZero() {
			to.Message = beforeFirst
		}
	}
	if to.equal(l.mark) {
		return nil
	}
	return l.commit(ctx, to)
}

// beforeFirst is lower than any id. A chat that is new and whose history is still empty
// when it is settled has it as its mark, so that whatever shows later is new.
const beforeFirst chats.MessageID = 1

func (l *look) commit(ctx context.Context, to Mark) error {
	if err := l.s.ledger.commit(ctx, l.entry.id, l.mark, to); err != nil {
		return err
	}
	l.mark = to
	l.s.book.moved(l.entry, to)
	return nil
}
