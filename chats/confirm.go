package chats

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ConfirmOption sets up one [Client.SendTextConfirmed].
type ConfirmOption func(*confirmation)

// ConfirmAfter names the newest message of the chat that the caller knows of. The
// history is then read from there, and not from its beginning.
func ConfirmAfter(last MessageID) ConfirmOption {
	return func(c *confirmation) { c.after = last }
}

// SendTextConfirmed posts a text exactly once and returns the message as it stands
// in the chat, with its id.
//
// It notes where the chat stands, sends, and reads the history for the shop's
// message with that text. When the outcome of a send is unknown it looks first, for
// as long as the retries of a read would last (15.5 s with the default policy;
// Market itself gives up on a request after 10), and sends again only when the
// message is not there. White space is no difference between two texts.
//
// It costs the history from [ConfirmAfter], or from the beginning, one send, and
// mostly one more page of history; with an unknown outcome up to
// RetryPolicy.MaxAttempts sends, each followed by as many looks.
//
// What it cannot tell apart: two programs that post the same text to the same chat
// at the same moment. And it cannot hold against a server that shows a message only
// after the look has ended: a policy with more or longer pauses looks longer.
//
// Errors: those of [Client.SendText] where nothing was posted, and
// [ErrOutcomeUnknown] where the message did not appear, the history could not be
// read, or the context ended before either was known. The text must not be blank.
func (c *Client) SendTextConfirmed(
	ctx context.Context, id ChatID, text string, options ...ConfirmOption,
) (Message, error) {
	confirm := confirmation{client: c, chat: id, words: words(text)}
	for _, option := range options {
		option(&confirm)
	}
	if err := first(checkID("chat", id), checkText(text), confirm.check()); err != nil {
		return Message{}, err
	}
	if err := confirm.noteEnd(ctx); err != nil {
		return Message{}, err
	}
	return confirm.send(ctx, text)
}

// confirmation is one text on its way into a chat.
type confirmation struct {
	client *Client
	chat   ChatID
	words  string
	after  MessageID // where the chat stood before the first send
	sends  int
}

// words is a text without what is lost on the way: space at its edges, and the kind
// and number of spaces within.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

func (c *confirmation) check() error {
	if c.words == "" {
		return badArgument("text", "is blank: it could not be found again")
	}
	return checkSince("ConfirmAfter", c.after)
}

func (c *confirmation) noteEnd(ctx context.Context) error {
	for message, err := range c.client.History(ctx, c.chat, c.after) {
		if err != nil {
			return err
		}
		c.after = message.ID
	}
	return nil
}

// send sends until the text stands in the chat. A send that was answered well is
// never repeated, even where the message does not show.
func (c *confirmation) send(ctx context.Context, text string) (Message, error) {
	most := c.client.config.retry.MaxAttempts
	for {
		made, err := c.client.sendText(ctx, c.chat, text, most-c.sends)
		c.sends += made
		if err != nil && !errors.Is(err, ErrOutcomeUnknown) {
			return Message{}, err
		}
		message, missed := c.look(ctx)
		if missed == nil {
			return message, nil
		}
		if err == nil || c.sends >= most || !errors.Is(missed, errNotThere) {
			return Message{}, c.unconfirmed(err, missed)
		}
	}
}

var errNotThere = errors.New("the message does not stand in the history")

// look reads the history until the message is there, for as long as retries would
// last. Only a look at the whole history, made at the end of that time, may say that
// it is not there; should that one fail, it is made again. A used-up hour is no
// reason to go on looking: the caller learns at once until when it lasts.
func (c *confirmation) look(ctx context.Context) (Message, error) {
	policy := c.client.config.retry
	for n := 0; ; n++ {
		message, err := c.find(ctx)
		lastLook := n >= policy.MaxAttempts-1
		tired := n >= 2*policy.MaxAttempts
		if err == nil || ctx.Err() != nil || tired || outOfHour(err) || lastLook && errors.Is(err, errNotThere) {
			return message, err
		}
		if stop := wait(ctx, policy.bound(n)); stop != nil {
			return Message{}, stop
		}
	}
}

func outOfHour(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Limit != nil && e.Limit.Kind == LimitHourly
}

func (c *confirmation) find(ctx context.Context) (Message, error) {
	for message, err := range c.client.History(ctx, c.chat, c.after) {
		if err != nil {
			return Message{}, err
		}
		if message.Sender == SenderPartner && words(message.Text) == c.words {
			return message, nil
		}
	}
	return Message{}, errNotThere
}

func (c *confirmation) unconfirmed(send, look error) error {
	e := &Error{Operation: OpSendMessageToChat, Attempts: c.sends, kinds: []error{ErrOutcomeUnknown}}
	if send == nil {
		e.cause = fmt.Errorf("the message was accepted, but could not be found afterwards: %w", look)
		return e
	}
	var last *Error
	if errors.As(send, &last) {
		e.StatusCode, e.Details, e.TraceParent, e.Limit = last.StatusCode, last.Details, last.TraceParent, last.Limit
		e.cause = because(last.cause, look)
	}
	return e
}
