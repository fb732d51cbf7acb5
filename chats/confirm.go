package chats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ConfirmOption sets up one [Client.SendTextConfirmed].
type ConfirmOption func(*confirmation)

// ConfirmAfter names the newest message of the chat that the caller knows of. The
// history is then read from there, and not from its beginning, unless neither that
// message nor a newer one stands in the chat.
func ConfirmAfter(last MessageID) ConfirmOption {
	return func(c *confirmation) { c.after = last }
}

// SendTextConfirmed posts a text exactly once and returns the message as it stands
// in the chat, with its id.
//
// It notes where the chat stands, sends, and reads the history for the shop's
// message with that text. When the outcome of a send is unknown it looks first, for
// as long as the pauses of the policy's retries could last and for 15.5 s at least
// (Market itself gives up on a request after 10), and sends again only when the
// message is not there. White space is no difference between two texts. Calls of one
// client with the same text for the same chat are made one after the other.
//
// It costs the history from [ConfirmAfter], or from the beginning, one send, and
// mostly one more page of history; with an unknown outcome up to
// RetryPolicy.MaxAttempts sends, each followed by six looks or more. A history that
// cannot be read, because Market is down, is tried for some minutes.
//
// What it cannot tell apart: two programs, or two clients, that post the same text to
// the same chat at the same moment. And it cannot hold against a server that shows a
// message only after the look has ended: a policy with more or longer pauses looks
// longer.
//
// Errors: those of [Client.SendText] where nothing was posted, and
// [ErrOutcomeUnknown] where the message did not appear, the history could not be
// read, or the context ended before either was known. The text must not be blank.
func (c *Client) SendTextConfirmed(
	ctx context.Context, id ChatID, text string, options ...ConfirmOption,
) (Message, error) {
	confirm := confirmation{client: c, chat: id, normalized: normalizeSpace(text)}
	for _, option := range options {
		option(&confirm)
	}
	if err := cmp.Or(checkID("chat", id), checkText(text), confirm.check()); err != nil {
		return Message{}, err
	}
	unlock, err := c.sendLocks.lock(ctx, sendKey{id, confirm.normalized})
	if err != nil {
		return Message{}, &Error{Operation: OpSendMessageToChat, cause: err}
	}
	defer unlock()
	if err := confirm.findTail(ctx); err != nil {
		return Message{}, err
	}
	return confirm.send(ctx, text)
}

// confirmation is one text on its way into a chat.
type confirmation struct {
	client     *Client
	chat       ChatID
	normalized string
	after      MessageID // where the chat stood before the first send
	attempts   int
}

// words is a text without what is lost on the way: space at its edges, and the kind
// and number of spaces within.
func normalizeSpace(text string) string { return strings.Join(strings.Fields(text), " ") }

func (c *confirmation) check() error {
	if c.normalized == "" {
		return badArgument("text", "is blank: it could not be found again")
	}
	return checkSince("ConfirmAfter", c.after)
}

// noteEnd finds the newest message. What is read begins with the one that the caller
// named: above an id that does not stand in the chat nothing might ever be found, so
// that the message would be posted again and again.
func (c *confirmation) findTail(ctx context.Context) error {
	end, err := c.newest(ctx, max(c.after-1, 0))
	if err == nil && end == 0 && c.after > 1 {
		end, err = c.newest(ctx, 0)
	}
	c.after = end
	return err
}

func (c *confirmation) newest(ctx context.Context, since MessageID) (id MessageID, err error) {
	for message, err := range c.client.History(ctx, c.chat, since) {
		if err != nil {
			return 0, err
		}
		id = message.ID
	}
	return id, nil
}

// send sends until the text stands in the chat. A send that was answered well is
// never repeated, even where the message does not show.
func (c *confirmation) send(ctx context.Context, text string) (Message, error) {
	maxAttempts := c.client.config.retry.MaxAttempts
	for {
		made, err := c.client.sendText(ctx, c.chat, text, maxAttempts-c.attempts)
		c.attempts += made
		if err != nil && !errors.Is(err, ErrOutcomeUnknown) {
			return Message{}, err
		}
		message, searchErr := c.awaitVisible(ctx)
		if searchErr == nil {
			return message, nil
		}
		if err == nil || c.attempts >= maxAttempts || !errors.Is(searchErr, errMessageNotFound) {
			return Message{}, c.unconfirmed(err, searchErr)
		}
	}
}

var errMessageNotFound = errors.New("the message does not stand in the history")

// lookPolicy is what a look lasts at least, whatever the caller's policy.
var minSearchPolicy = RetryPolicy{}.withDefaults()

// longestLook bounds a look under a policy that would go on for ever.
const maxSearch = 10 * time.Minute

// lookFor is how long the pauses of all attempts may last.
func (p RetryPolicy) searchDuration() (total time.Duration) {
	for n := 0; n < p.MaxAttempts-1 && total < maxSearch; n++ {
		total += p.backoff().delayCap(n)
	}
	return min(total, maxSearch)
}

// look reads the history until the message is there, for as long as retries would
// last. Only a look at the whole history that began when that time was over may say
// that it is not there; should that one fail, it is made again some times.
func (c *confirmation) awaitVisible(ctx context.Context) (Message, error) {
	policy := c.client.config.retry
	duration := max(policy.searchDuration(), minSearchPolicy.searchDuration())
	began := time.Now()
	for n, finalSearches := 0, 0; ; n++ {
		if time.Since(began) >= duration {
			finalSearches++
		}
		message, err := c.find(ctx)
		done := finalSearches > 0 && errors.Is(err, errMessageNotFound) || finalSearches >= minSearchPolicy.MaxAttempts
		if err == nil || done || ctx.Err() != nil || isFinal(err) {
			return message, err
		}
		delay := max(policy.backoff().delayCap(n), minSearchPolicy.backoff().delayCap(n))
		if remaining := duration - time.Since(began); remaining > 0 {
			delay = min(delay, remaining)
		}
		if waitErr := wait(ctx, delay); waitErr != nil {
			return Message{}, waitErr
		}
	}
}

// isFinal: there is no use in looking on. Of a used-up hour the caller learns at once
// until when it lasts.
func isFinal(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	hourly := e.Limit != nil && e.Limit.Kind == LimitHourly
	return hourly || e.StatusCode/100 == 4 && !isRateLimited(e.StatusCode) && !isTimeoutStatus(e.StatusCode)
}

func (c *confirmation) find(ctx context.Context) (Message, error) {
	for message, err := range c.client.History(ctx, c.chat, c.after) {
		if err != nil {
			return Message{}, err
		}
		if message.Sender == SenderPartner && normalizeSpace(message.Text) == c.normalized {
			return message, nil
		}
	}
	return Message{}, errMessageNotFound
}

func (c *confirmation) unconfirmed(sendErr, searchErr error) error {
	e := &Error{Operation: OpSendMessageToChat, Attempts: c.attempts, kinds: []error{ErrOutcomeUnknown}}
	if sendErr == nil {
		e.cause = fmt.Errorf("the message was accepted, but could not be found afterwards: %w", searchErr)
		return e
	}
	var last *Error
	if errors.As(sendErr, &last) {
		e.StatusCode, e.Details, e.TraceParent, e.Limit = last.StatusCode, last.Details, last.TraceParent, last.Limit
		e.kinds = append(e.kinds, last.kinds...)
		e.cause = joinCause(last.cause, searchErr)
	}
	return e
}
