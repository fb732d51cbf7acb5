package chats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ConfirmOption configures one call of [Client.SendTextConfirmed].
type ConfirmOption func(*confirmation)

// ConfirmAfter sets the newest message of the chat that the caller knows. The history is
// then read from there instead of from the beginning of the chat, unless the chat has
// neither that message nor a newer one.
func ConfirmAfter(last MessageID) ConfirmOption {
	return func(c *confirmation) { c.after = last }
}

// SendTextConfirmed posts a text once, confirms it and returns the message as the history
// shows it, with its id.
//
// It records the newest message, sends the text, then searches the history for it: a
// message of the shop with the same text. If the outcome of a send is unknown, it searches
// for as long as the backoff of the policy's retries could last, and for at least 15.5 s
// (Market itself gives up on a request after 10 s). It sends again only if the message has
// not appeared by then. Texts are compared with whitespace normalized. Calls of one client
// with the same text for the same chat run one after the other.
//
// It costs the history from [ConfirmAfter], or from the beginning, one send, and usually
// one more page of history. With an unknown outcome it costs up to RetryPolicy.MaxAttempts
// sends, each followed by six searches or more. If the history cannot be read because
// Market is down, it keeps trying for some minutes.
//
// Two exceptions: it cannot distinguish two programs, or two clients, that post the same
// text to the same chat at the same moment. And it may post twice if the server shows a
// message only after the search has ended; a policy with more or longer delays searches
// longer.
//
// Errors: those of [Client.SendText] if nothing was posted; [ErrOutcomeUnknown] if the
// message did not appear, the history could not be read, or ctx ended before either was
// known; [ArgumentError], also for a blank text.
func (c *Client) SendTextConfirmed(
	ctx context.Context, id ChatID, text string, options ...ConfirmOption,
) (Message, error) {
	confirm := confirmation{client: c, chat: id, normalized: normalizeSpace(text)}
	for _, option := range options {
		if option == nil {
			return Message{}, badArgument("option", "is nil")
		}
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

// confirmation is one call of SendTextConfirmed.
type confirmation struct {
	client     *Client
	chat       ChatID
	normalized string
	after      MessageID // the newest message before the first send
	attempts   int
}

// normalizeSpace drops what Market may not preserve: whitespace at the ends of a text, and
// the kind and number of whitespace characters within.
func normalizeSpace(text string) string { return strings.Join(strings.Fields(text), " ") }

func (c *confirmation) check() error {
	if c.normalized == "" {
		return badArgument("text", "is blank and could not be confirmed")
	}
	return checkSince("ConfirmAfter", c.after)
}

// findTail sets after to the newest message. It starts at the message that the caller
// named, inclusively: if the chat does not have that id, nothing might ever appear above
// it, and the text would be posted again and again.
func (c *confirmation) findTail(ctx context.Context) error {
	tail, err := c.newest(ctx, max(c.after-1, 0))
	if err == nil && tail == 0 && c.after > 1 {
		tail, err = c.newest(ctx, 0)
	}
	c.after = tail
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

// send sends until the history shows the text. It never sends again after the server has
// accepted a send, even if the message does not appear.
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

var errMessageNotFound = errors.New("message not found in the history")

// minSearchPolicy sets the minimum duration of a search, whatever the caller's policy.
var minSearchPolicy = RetryPolicy{}.withDefaults()

// maxSearch bounds a search under a policy with very many attempts.
const maxSearch = 10 * time.Minute

// searchDuration returns the maximum total delay between all attempts.
func (p RetryPolicy) searchDuration() (total time.Duration) {
	for n := 0; n < p.MaxAttempts-1 && total < maxSearch; n++ {
		total += p.backoff().delayCap(n)
	}
	return min(total, maxSearch)
}

// awaitVisible searches the history until the message appears, for as long as retries could
// last. It reports errMessageNotFound only after a complete search that began when that
// time was over. If that search fails, it is retried a few times.
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

// isFinal reports whether searching on is useless. An exhausted hourly quota is final, so
// that the caller learns its end at once.
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
		e.cause = fmt.Errorf("the message was accepted but could not be confirmed: %w", searchErr)
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
