package chats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/attempts"
	"github.com/ymchats/ymchats-go/chats/internal/callerctx"
)

// maxFinalReads is the maximum number of times that the history is read after the search time,
// if it cannot be read to its end.
const maxFinalReads = 6

// clockTolerance is the tolerated difference between the caller's clock and Market's.
const clockTolerance = 5 * time.Minute

// view is the result of one reading of the history. It covers the messages that may be from
// the shop.
type view struct {
	empty  bool                 // the chat has no messages
	own    map[MessageID]string // every message that may be from the shop or be this one
	newest MessageID            // the newest message that is certainly from the shop
	match  *Message             // a message that may be new and has the same content
	equal  time.Time            // when the last message with the same content was created
	others []Message            // messages that may be new and may be the same message, altered by the server

	missing map[MessageID]bool // the messages that the history has shown before, but not in this reading
	shown   int                // how many messages it has shown before

	unreadable map[string]int // number of items without a readable ID that may be from the shop
	doubtful   bool           // one of those items may be from an earlier attempt
}

// content returns a text that identifies an item without a readable ID, and that shows whether a
// message has changed. Equal times may differ in their location.
func (m *Message) content() string {
	return fmt.Sprintln(m.ID, m.Sender, m.CreatedAt.UnixMicro(), len(m.Files), m.Text)
}

// search reads the history until it shows the message, or until a pass that began at or after
// the time until has reached the end without finding it. It makes at most tries such passes.
func (c *confirmation) search(ctx context.Context, until time.Time, tries int) (*view, error) {
	policy, least := c.client.config.retry, RetryPolicy{}.withDefaults()
	for n, final := 0, 0; ; n++ {
		if !time.Now().Before(until) {
			final++
		}
		seen, err := c.read(ctx)
		switch {
		case err == nil && (seen.match != nil || final > 0 || !c.resumes && !c.sent && !seen.equal.Before(c.plainSince())):
			return seen, nil
		case errors.Is(err, errOtherHistory) && final >= tries && (c.sent || c.pending):
			return nil, fmt.Errorf("%w: %w", ErrAmbiguous, err)
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

// isFinal reports whether an error makes it pointless to search further. An exhausted hourly
// quota is final, so that the caller learns at once when it resets. A gateway's 404 says nothing
// about the chat, even if it has outlasted the retries of one read.
func isFinal(err error) bool {
	e, ok := as[*Error](err)
	switch {
	case !ok || isTimeoutStatus(e.StatusCode) || e.isGateways && e.StatusCode == http.StatusNotFound:
		return false
	case e.Limit != nil:
		return e.Limit.Kind == LimitHourly
	}
	return e.StatusCode/100 == 4
}

// Differences between the IDs of two messages. IDs appear to be times in microseconds.
const (
	second = MessageID(time.Second / time.Microsecond)
	day    = 24 * 60 * 60 * second
)

// lowestID returns the ID above which messages are considered: one day below after, because
// IDs appear to be times in microseconds and the senders' clocks may differ. An ID that is
// ahead of the local clock counts as the current time.
func (c *confirmation) lowestID() MessageID {
	newest := min(c.after, MessageID(time.Now().UnixMicro()))
	return max(newest-day, 0)
}

// read reads the history once, from floor on. If nothing is above floor, it reads all of it,
// because the ID that the caller named does not belong to this chat.
func (c *confirmation) read(ctx context.Context) (*view, error) {
	seen, err := c.readAbove(ctx, c.floor)
	if err != nil || !seen.empty || c.floor == 0 || c.baseline != nil {
		return seen, err
	}
	c.floor = 0
	return c.readAbove(ctx, 0)
}

func (c *confirmation) readAbove(ctx context.Context, floor MessageID) (*view, error) {
	c.readAt = time.Now().Round(0) // wall clock time, because the machine may sleep before the send
	seen := &view{empty: true, own: map[MessageID]string{}, unreadable: map[string]int{}}
	seen.missing = c.shownAbove(ctx, floor)
	seen.shown = len(seen.missing)
	var below, skipped []Message
	for message, err := range c.client.history(ctx, c.out.chat, floor, &skipped) {
		if err != nil {
			return nil, err
		}
		seen.empty = false
		delete(seen.missing, message.ID)
		if message.ID == c.after {
			c.afterAt = message.CreatedAt
		}
		if !message.mayBeShops() && (message.Sender == SenderCustomer || !c.out.equals(message)) {
			continue // the same content from Market or its support may be the shop's, shown under another sender
		}
		seen.own[message.ID] = message.content()
		if message.Sender == SenderPartner {
			seen.newest = message.ID
			if c.out.equals(message) && !c.client.confirmed.Has(messageKey{c.out.chat, message.ID}) {
				seen.equal = message.CreatedAt
			}
		}
		switch {
		case c.except[message.ID], seen.match != nil:
		case !c.mayBeNew(message):
			if c.resumes && c.hasAfter && !c.sent {
				below = append(below, message)
			}
		default:
			c.compare(seen, message)
		}
		if seen.match != nil && !seen.isOther() {
			return seen, nil
		}
	}
	return c.readEnd(seen, below, skipped)
}

// readEnd completes a reading that has reached the end of the history. below are messages that an
// earlier attempt may have posted although their IDs do not show it, and skipped are the items
// without a readable ID.
func (c *confirmation) readEnd(seen *view, below, skipped []Message) (*view, error) {
	for _, message := range below {
		if seen.match == nil && c.mayBeLater(message) {
			c.compare(seen, message)
		}
	}
	switch {
	case seen.isOther() || seen.match == nil && len(seen.missing) > 0:
		return nil, errOtherHistory
	case seen.match != nil:
		return seen, nil
	}
	for _, message := range skipped {
		if message.mayBeShops() {
			seen.unreadable[message.content()]++
			seen.doubtful = seen.doubtful || (c.resumes || c.hasAfter && c.out.resembles(message)) && c.mayBeLater(message)
		}
	}
	return seen, nil
}

// errOtherHistory is the error of a reading that lacks messages which the history of the chat has
// shown before. The response may be out of date, or belong to a request for another chat: it does
// not contain the ID of the chat. A match is accepted from a reading that has at least one of the
// messages shown before.
var errOtherHistory = errors.New("the history lacks messages of the shop that it has shown before")

// shownAbove returns the IDs above floor that the history of the chat has shown.
func (c *confirmation) shownAbove(ctx context.Context, floor MessageID) map[MessageID]bool {
	shown := map[MessageID]bool{}
	for _, id := range slices.AppendSeq(slices.Clip(attempts.Shown[MessageID](ctx)), maps.Keys(c.baseline)) {
		if id > floor {
			shown[id] = true
		}
	}
	return shown
}

// isOther reports whether the reading has none of the messages that the history has shown before.
func (v *view) isOther() bool { return v.shown > 0 && len(v.missing) == v.shown }

// hasNewUnreadable reports whether an unreadable item may be new, that is, not in odd. Of
// several with the same content, all but one may be new: their number in odd proves nothing,
// because a page may be listed twice.
func (v *view) hasNewUnreadable(odd map[string]int) bool {
	for item, n := range v.unreadable {
		if n > 1 || odd[item] == 0 {
			return true
		}
	}
	return false
}

func (m *Message) hasFileOfShop() bool { return m.Sender == SenderPartner && len(m.Files) > 0 }

// mayBeShops reports whether the sender may be the shop.
func (m *Message) mayBeShops() bool { return !m.Sender.Known() || m.Sender == SenderPartner }

// compare adds a message that may be new to seen. After a send whose outcome is unknown, including
// a send of an earlier call, any other message may be this one: the server may show a file as a
// text, such as a link, and a text as a file.
func (c *confirmation) compare(seen *view, m Message) {
	switch {
	case m.Sender == SenderPartner && c.out.equals(m) && c.baseline[m.ID] == "":
		seen.match = &m
	case (c.out.resembles(m) || c.resumes || c.sent && c.sendErr != nil) &&
		(c.sent && c.baseline[m.ID] != "" || !c.client.confirmed.Has(messageKey{c.out.chat, m.ID})):
		seen.others = append(seen.others, m)
	}
}

// mayBeNew reports whether a message may be from a send of this call or, before the first send,
// from an earlier attempt. The server may have added the text to an earlier message.
func (c *confirmation) mayBeNew(m Message) bool {
	switch {
	case c.sent:
		return c.baseline[m.ID] != m.content()
	case c.hasAfter:
		return m.ID > c.after
	}
	return c.resumes && !c.isOlder(m.CreatedAt)
}

// plainSince returns plainFrom in whole seconds by the local clock or the server's, whichever
// is ahead.
func (c *confirmation) plainSince() time.Time {
	return c.plainFrom.Add(max(-c.client.lag(), 0)).Truncate(time.Second)
}

// isReal reports whether t can be the time of a message. Servers send 1970 or the like for a
// missing time.
func isReal(t time.Time) bool { return t.Year() >= 1990 }

// isOlder reports whether a message was certainly created before the earlier attempts. If the local
// clock is ahead of the server's, the difference is subtracted from the time at which they began.
func (c *confirmation) isOlder(createdAt time.Time) bool {
	ahead := min(max(c.client.lag(), 0), maxClockError)
	return isReal(createdAt) && createdAt.Before(c.began.Add(-clockTolerance-ahead))
}

// mayBeLater reports whether a message may, judging by its time, be from an earlier attempt
// although its ID does not show that. The ID may be unreadable, or come from a clock that is
// behind the clock of the sender of the message that the caller named.
func (c *confirmation) mayBeLater(m Message) bool {
	noID := m.ID < 1
	switch {
	case !isReal(m.CreatedAt):
		return noID && (m.Sender == SenderPartner || c.out.equals(m))
	case c.resumes && c.isOlder(m.CreatedAt):
		return false
	case !c.hasAfter || !isReal(c.afterAt): // if the named ID is ahead of the attempts, all of their IDs are below it
		return noID || c.after > MessageID(c.ended.Add(clockTolerance).UnixMicro())
	case m.CreatedAt.Equal(c.afterAt): // times may be whole seconds
		return noID || c.after-m.ID >= second
	}
	return m.CreatedAt.After(c.afterAt)
}
