package chats

import (
	"context"
	"errors"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/callerctx"
)

// SearchTime is how long after a send its message may still appear in the history; Market
// itself gives up on a request after 10 s. A confirmed send searches for at least this
// long.
const SearchTime = 15500 * time.Millisecond

// maxSearchTime bounds a search under a policy with very many attempts.
const maxSearchTime = 10 * time.Minute

// maxFinalReads is how often the history is read after the search time, if it cannot be
// read to its end.
const maxFinalReads = 6

// clockTolerance is the tolerated difference between the clocks of the caller and of
// Market.
const clockTolerance = 5 * time.Minute

// searchTime returns how long the history is searched: as long as the delays between all
// attempts can last, within its bounds.
func (p RetryPolicy) searchTime() (total time.Duration) {
	for n := 0; n < p.MaxAttempts-1 && n < 1000 && total < maxSearchTime; n++ {
		total += p.delayCap(n)
	}
	return max(SearchTime, min(total, maxSearchTime))
}

// view is what the history shows of the messages that may be the shop's.
type view struct {
	empty  bool               // the chat has no messages
	own    map[MessageID]bool // every message that may be the shop's
	newest MessageID          // of those that are the shop's
	match  *Message           // one that may be new and has the same content
	others []Message          // those that may be new and could be it, stored otherwise

	unreadable int // items without a readable id, of any sender
}

// search reads the history until it shows the message, or until a pass that began at or
// after until has reached the end without finding it. It makes at most tries such passes.
func (c *confirmation) search(ctx context.Context, until time.Time, tries int) (*view, error) {
	policy, least := c.client.config.retry, RetryPolicy{}.withDefaults()
	for n, final := 0, 0; ; n++ {
		if !time.Now().Before(until) {
			final++
		}
		seen, err := c.read(ctx)
		switch {
		case err == nil && (seen.match != nil || final > 0):
			return seen, nil
		case err != nil && (final >= tries || ctx.Err() != nil || isFinal(err)):
			return nil, err
		}
		delay := max(policy.delayCap(n), least.delayCap(n))
		if remaining := time.Until(until); remaining > 0 {
			delay = min(delay, remaining)
		}
		if err := callerctx.Wait(ctx, delay); err != nil {
			return nil, err
		}
	}
}

// isFinal reports whether there is no point in searching further. An exhausted hourly quota
// is final, so that the caller learns at once when it resets.
func isFinal(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	hourly := e.Limit != nil && e.Limit.Kind == LimitHourly
	return hourly || e.StatusCode/100 == 4 && !isRateLimited(e.StatusCode) && !isTimeoutStatus(e.StatusCode)
}

// day is the difference of the ids of two messages of which one was posted a day later.
const day = MessageID(24 * time.Hour / time.Microsecond)

// lowestID returns the id above which messages are considered: one day below after, because
// ids appear to be microseconds and the senders' clocks may differ. An id that is ahead of
// the local clock counts as the current time.
func (c *confirmation) lowestID() MessageID {
	newest := min(c.after, MessageID(time.Now().UnixMicro()))
	return max(newest-day, 0)
}

// read reads the history once, as far as it is needed: all of it if nothing is above floor,
// because then the id that the caller named is none of this chat.
func (c *confirmation) read(ctx context.Context) (*view, error) {
	seen, err := c.readAbove(ctx, c.floor)
	if err != nil || !seen.empty || c.floor == 0 || c.baseline != nil {
		return seen, err
	}
	c.floor = 0
	return c.readAbove(ctx, 0)
}

func (c *confirmation) readAbove(ctx context.Context, floor MessageID) (*view, error) {
	c.readAt = time.Now()
	seen := &view{empty: true, own: map[MessageID]bool{}}
	for message, err := range c.client.history(ctx, c.out.chat, floor, &seen.unreadable) {
		if err != nil {
			return nil, err
		}
		seen.empty = false
		if message.Sender.Known() && message.Sender != SenderPartner {
			continue
		}
		seen.own[message.ID] = true
		if message.Sender == SenderPartner {
			seen.newest = message.ID
		}
		switch maybe := c.mayBeNew(message); {
		case maybe && message.Sender == SenderPartner && c.out.equals(message):
			seen.match = &message
			return seen, nil
		case maybe && c.out.resembles(message) && !c.client.confirmed.has(c.out.chat, message.ID):
			seen.others = append(seen.others, message)
		}
	}
	return seen, nil
}

// mayBeNew reports whether a message may be from a send of this call or, before
// the first, from an earlier attempt.
func (c *confirmation) mayBeNew(m Message) bool {
	switch {
	case c.except[m.ID]:
		return false
	case c.sent:
		return !c.baseline[m.ID]
	case c.hasAfter:
		return m.ID > c.after
	case c.resumes:
		return m.CreatedAt.IsZero() || !m.CreatedAt.Before(c.began.Add(-clockTolerance))
	}
	return false
}
