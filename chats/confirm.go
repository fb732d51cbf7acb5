package chats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/attempts"
	"github.com/ymchats/ymchats-go/chats/internal/callerctx"
)

// ConfirmOption configures one confirmed send: [Client.SendTextConfirmed] or
// [Client.SendFileConfirmed].
type ConfirmOption func(*confirmation)

// ConfirmAfter makes a confirmed send idempotent: the same call may be made again after any
// error except [ErrUnconfirmed]. Pass the ID of the newest message that you had seen before the
// first attempt, or 0 if the chat was empty. To post the same content a second time, pass the ID of
// the message posted first, or of a newer message.
//
// If the earlier call was made with the same Client, the new call waits until the earlier call's
// message is no longer expected to appear, and for an hour the Client recognises that message even
// if its ID is less than last. A different Client does both only with [ConfirmResume], so also pass
// that option after a crash.
//
// First, the messages with IDs above last are searched. If one of them is from the shop and has the
// same content, it is returned and nothing is sent. If there is only a message from the shop with
// different content, it may be from an earlier attempt to send this content, altered by the server.
// In that case nothing is sent either, and the call fails with an error that matches
// [ErrOutcomeUnknown] and [ErrAmbiguous]; its text names the ID of the message. To send anyway,
// pass that ID to ConfirmAfter. A message with different content is not mistaken for the one being
// sent if it is among the last 1,024 messages that confirmed sends of this Client have returned.
// Nor is a file mistaken for a text, or a text for a file, unless the call resumes an earlier send
// of this content. It does so if ConfirmResume is given, or if this Client made that send and it
// failed with ErrOutcomeUnknown or [ErrUnconfirmed] within the last hour. A message without a
// readable ID is treated as newer than the message with ID last unless it was created earlier. If
// such a message may be the one being sent, the call fails in the same way, but the text of the
// error names no ID.
//
// ConfirmAfter also bounds how much of the history is read. IDs appear to be times in
// microseconds, so reading starts at the ID that corresponds to one day before the message
// with ID last. If the server refuses that ID because the chat has no such message, reading
// starts at the beginning.
func ConfirmAfter(last MessageID) ConfirmOption {
	return func(c *confirmation) { c.after, c.hasAfter = last, true }
}

// ConfirmResume states that all earlier attempts to send this content had ended, or had been cut
// short, by the given time. Pass [Error.SentAt] of the call that failed. The call waits until the
// search time (see [Client.SendTextConfirmed]) has passed since the given time, and sends the
// content only if the history still does not show the message. Until the history has been read to
// its end, every [Error] matches [ErrOutcomeUnknown]. The call also waits for sends of this content
// that the same Client has made since the given time.
//
// After a crash there is no error to take the time from. Do not pass the time at which the
// call began: the call may have waited a long time before it sent. Pass a time, by the clock
// of this machine, at which the crashed process was certainly no longer running, such as the
// start of the current process.
//
// The message of the earlier attempt is recognised as described for [ConfirmAfter]. Because the
// senders' clocks may differ, a message with an ID below last also counts if it meets two
// conditions. First, it was created after the message with ID last, or at the same time but with an
// ID that is lower by at least 1,000,000, which is one second if IDs are times in microseconds.
// Second, it was created no earlier than five minutes before the given time. If the history does
// not show when the message with ID last was created, the first condition is replaced: last, read
// as a time in microseconds, must be more than five minutes after the given time. Without
// ConfirmAfter, a message from the shop counts if it has no time, or if it was created no earlier
// than five minutes before the given time.
//
// If this machine's clock is ahead of the server's ([Client.ServerTime]), the five minutes before
// the given time are extended by the difference, by a day at most. If the first attempt may have
// begun even earlier, pass the option twice: once with the time at which the first attempt began,
// and once with the time at which the last one ended.
//
// A zero time, or a time that is more than a minute in the future, results in an [ArgumentError].
// The minute allows for clock skew between this machine and the one that made the attempt.
func ConfirmResume(attempted time.Time) ConfirmOption {
	return func(c *confirmation) { c.resume(attempted) }
}

// ConfirmFirstAttempt states that this content has not been sent before, and names a message
// of the chat, such as the one that the last confirmed send returned. The history is then read only
// from one day before that message, as with [ConfirmAfter]. If both options are given,
// ConfirmFirstAttempt has no effect.
func ConfirmFirstAttempt(known MessageID) ConfirmOption {
	return func(c *confirmation) { c.known = known }
}

// ConfirmExcept names messages from the shop that belong to other sends, so that none of them
// is mistaken for the message being sent.
func ConfirmExcept(messages ...MessageID) ConfirmOption {
	return func(c *confirmation) {
		for _, id := range messages {
			c.except[id], c.invalid = true, cmp.Or(c.invalid, checkID("ConfirmExcept", id))
		}
	}
}

// ConfirmBefore calls a function immediately before each request that sends the message, including
// retries. The function receives the IDs of the messages that the call read before the first send
// and that may be from the shop: those with the shop as sender, those from unknown senders, and
// those from Market or its support that have the same content. After a crash, these IDs are needed
// for [ConfirmAfter] and [ConfirmExcept]. If the function returns an error, nothing more is sent,
// and the call fails with an [Error] that wraps the returned error. The Error also matches
// [ErrOutcomeUnknown] if an earlier send of the call may have been processed.
//
// With ConfirmBefore, the call waits for earlier calls only if [ConfirmResume] is also given;
// otherwise the function has to decide whether to send. While the function runs, it occupies
// one of the Client's slots for concurrent requests, so it should return quickly and must not
// call the same Client.
func ConfirmBefore(before func(ctx context.Context, shop []MessageID) error) ConfirmOption {
	return func(c *confirmation) {
		if c.before = before; before == nil {
			c.invalid = badArgument("ConfirmBefore", "is nil")
		}
	}
}

// SendTextConfirmed posts a text once, finds it in the chat's history and returns it as the
// history shows it, with its ID.
//
// It records which messages from the shop are already in the chat, sends the text, then
// searches the history for a new message from the shop with the same text. Texts count as the
// same if they differ at most in the kind and amount of whitespace between words and at the
// ends, in control and zero-width characters, and in HTML escapes. There are four possible
// results:
//
//   - The message: the text was posted once.
//   - [ErrUnconfirmed]: the server accepted the text, but the history does not show it within
//     the search time, or could not be read.
//   - [ErrOutcomeUnknown]: the text may have been posted, by this call or by an earlier
//     attempt (see [ConfirmResume]).
//   - Any other error: it is certain that this call posted nothing.
//
// The search time is [SearchTime], or the maximum total backoff of the [RetryPolicy] if that is
// longer, but at most ten minutes. If the outcome of a send is unknown and the text is not found
// within the search time, the history is then read to its end, and again immediately before a new
// send if the last reading began more than a second ago. The text is sent again only if the history
// shows no new message from the shop, because a new message could be this text, altered by the
// server. So if the server alters texts, or shows them as files, the result is an error rather than
// a second post.
//
// A call reads the history, sends once, and usually reads one more page of history. The first read
// starts one day before the message named in [ConfirmAfter] or [ConfirmFirstAttempt], or at the
// beginning if neither option is given. If the outcome remains unknown, the call makes up to
// RetryPolicy.MaxAttempts sends, and the search after each reads the history about six times under
// the default policy. It makes only two sends if a gateway refuses both with a 4xx other than 404,
// 408 or 499. If Market is down before anything has been sent, the call fails when the retries of
// one read are exhausted; after a send, and with [ConfirmResume], it keeps trying to read the
// history for several minutes. The read immediately before a send is not retried. If it fails, the
// call reads the history with retries and then tries to send again, up to six times.
//
// A Client sends messages to the same chat one at a time. If it has just posted the same text
// without confirming it, the call waits until the history shows that message, but no longer
// than the search time.
//
// SendTextConfirmed has two limitations. It cannot distinguish two programs, or two clients, that
// post the same text to the same chat at the same moment. And if the outcome of a send is unknown,
// and the server shows the message only after the search has ended, the text is posted again, up to
// RetryPolicy.MaxAttempts times in all.
//
// Errors: [Error]; [ArgumentError], including for a blank text.
func (c *Client) SendTextConfirmed(
	ctx context.Context, id ChatID, text string, options ...ConfirmOption,
) (Message, error) {
	confirm := confirmation{client: c, except: map[MessageID]bool{}}
	if err := cmp.Or(checkID("chat", id), checkText(text), checkNotBlank(text), confirm.configure(options)); err != nil {
		return Message{}, err
	}
	confirm.out = c.textMessage(id, text)
	return confirm.run(ctx)
}

// SendFileConfirmed posts a file once, finds it in the chat's history and returns its message,
// like [Client.SendTextConfirmed]. name and content are as for [Client.SendFile]; content is
// sent from its current position and rewound to it for a retry.
//
// Two files count as the same if they have the same name and, if the history shows a size, the same
// size. If the server accepted the file but renamed it, the call returns, at the end of the search
// time, the shop's new message with a file, provided that no other new message could be the one
// sent.
//
// Errors: [Error], [ArgumentError].
func (c *Client) SendFileConfirmed(
	ctx context.Context, id ChatID, name string, content io.ReadSeeker, options ...ConfirmOption,
) (Message, error) {
	confirm := confirmation{client: c, except: map[MessageID]bool{}}
	if err := confirm.configure(options); err != nil {
		return Message{}, err
	}
	var err error
	if confirm.out, err = c.fileMessage(ctx, id, name, content); err != nil {
		return Message{}, err
	}
	return confirm.run(ctx)
}

// confirmation is one confirmed send.
type confirmation struct {
	client *Client
	out    *outgoing

	after    MessageID // if hasAfter
	hasAfter bool
	afterAt  time.Time // when that message was created, if the history shows it

	plainAt      time.Time // when the last unconfirmed send of this content ended, if its message may not be visible yet
	plainFrom    time.Time // a message created since then shows that the message of that send is visible
	began, ended time.Time // of the earlier attempts, as far as known; if resumes
	resumes      bool

	invalid error                                             // of an option
	known   MessageID                                         // bounds how much of the history is read
	except  map[MessageID]bool                                // messages that belong to other sends
	before  func(ctx context.Context, shop []MessageID) error // runs before each request that sends

	pending  bool    // the message of the attempt that the caller resumes may still become visible
	attempts int     // sends made
	sent     bool    // a send may have been processed
	sendErr  error   // of the last such send; nil if it was accepted
	refusals int     // sends that a gateway has refused
	readErr  error   // why prepare could not read the history
	rounds   int     // how often prepare could not read the history
	halted   *result // the result if prepare or before has stopped the send

	baseline map[MessageID]string // the content of the messages above floor that may be the shop's, before the first send
	odd      map[string]int       // number of items without a readable ID before the first send, by their content
	floor    MessageID            // messages up to this ID are ignored
	readAt   time.Time            // when the last reading of the history began
	notedAt  time.Time            // when the last reading that allows a send began
}

// result is the final result of a confirmed send.
type result struct {
	message Message
	err     error
}

func (c *confirmation) configure(options []ConfirmOption) error {
	for _, option := range options {
		if option == nil {
			return badArgument("option", "is nil")
		}
		option(c)
	}
	if c.resumes && (c.began.IsZero() || c.ended.After(time.Now().Add(time.Minute))) {
		return badArgument("ConfirmResume", "must be the time at which an attempt ended, at most a minute ahead of this machine's clock")
	}
	if err := cmp.Or(c.invalid, checkSince("ConfirmAfter", c.after), checkSince("ConfirmFirstAttempt", c.known)); err != nil {
		return err
	}
	if !c.hasAfter {
		c.after = c.known
	}
	c.floor = c.lowestID()
	return nil
}

func (c *confirmation) resume(attempted time.Time) {
	if !c.resumes || attempted.Before(c.began) {
		c.began = attempted
	}
	if attempted.After(c.ended) {
		c.ended = attempted
	}
	c.resumes, c.pending = true, true
}

// resumeOwn resumes an earlier send by this client, even after the search time, because the ID of
// its message may be below the ID that the caller names. A caller that uses ConfirmBefore decides
// whether to wait.
func (c *confirmation) resumeOwn() {
	at := c.client.doubts.Get(c.out.doubtKey)
	isRecent := time.Since(at) < c.client.config.retry.searchTime()
	if isRecent && c.resumes || !at.IsZero() && c.hasAfter && c.before == nil {
		c.resume(at)
	}
}

func (c *confirmation) run(ctx context.Context) (Message, error) {
	unlock, err := c.client.lockChat(ctx, c.out)
	if err != nil {
		return Message{}, c.notSent(err)
	}
	defer unlock()
	c.resumeOwn()
	if c.before == nil {
		c.plainAt, c.plainFrom = c.client.plain.Get(c.out.doubtKey), c.client.plainFrom.Get(c.out.doubtKey)
	}
	var done *result
	if c.resumes || !c.plainAt.IsZero() {
		done = c.look(ctx)
	}
	for done == nil {
		done = c.attempt(ctx)
	}
	if done.err == nil {
		c.client.confirmed.Add(messageKey{c.out.chat, done.message.ID})
		c.client.doubts.Remove(c.out.doubtKey)
		return done.message, nil
	}
	if c.accepted() { // the search for the message may have ended early
		c.client.notePlain(c.out)
	}
	if e, ok := as[*Error](done.err); ok && e.Operation == c.out.op {
		e.Attempts = c.attempts
	}
	return done.message, done.err
}

// accepted reports whether the server has accepted the last send.
func (c *confirmation) accepted() bool { return c.sent && c.sendErr == nil }

// attempt sends the message and searches for it. It returns nil if the message has to be sent
// again.
func (c *confirmation) attempt(ctx context.Context) *result {
	c.readErr = nil
	made, err := c.client.send(ctx, c.out, c.client.config.retry.MaxAttempts-c.attempts, c.ready)
	c.attempts += made
	switch {
	case c.halted != nil:
		return c.halted
	case c.readErr != nil:
		return c.lookAgain(ctx)
	case err != nil && !errors.Is(err, ErrOutcomeUnknown):
		return c.refused(ctx, err)
	}
	c.sent, c.ended, c.sendErr = true, time.Now(), err
	if isRefused(err) && !errors.Is(err, ErrProtocol) { // unlike a 404, which may end with a deployment
		c.refusals++
	}
	c.client.doubts.Set(c.out.doubtKey, c.ended) // even if it was accepted, because a panic may end the search
	if err == nil || !attempts.IsOneSend(ctx) {
		return c.look(ctx)
	}
	seen, err := c.read(ctx)
	if err != nil || seen.match == nil { // the caller searches for it
		return c.doubt(c.sendErr, cmp.Or(err, errMessageNotFound))
	}
	return &result{message: *seen.match}
}

// errNotReady ends a call before its request is made.
var errNotReady = errors.New("the send was not made")

// ready runs before each request that sends the message.
func (c *confirmation) ready(ctx context.Context) error {
	if err := c.prepare(ctx); err != nil || c.before == nil {
		return err
	}
	if err := c.before(ctx, slices.Sorted(maps.Keys(c.baseline))); err != nil {
		c.halted = c.refuse(&Error{Business: c.client.business, Operation: c.out.op, cause: callerctx.HideOthers(ctx, err)})
		return errNotReady
	}
	return nil
}

// maxRefusals is the number of refused sends after which another one would be refused as well.
const maxRefusals = 2

// maxNoteAge is the maximum age of the last reading of the history before a send. An older reading
// may lack a message that another program has posted, or that has become visible, since.
const maxNoteAge = time.Second

// prepare reads the history while it holds the slot of the send, so that the request follows
// immediately.
func (c *confirmation) prepare(ctx context.Context) error {
	age := time.Since(c.notedAt)
	if c.notedAt = (time.Time{}); age >= 0 && age < maxNoteAge {
		return nil
	}
	seen, err := c.read(ctx)
	if c.readErr = err; err == nil {
		c.halted = c.judge(seen)
	}
	if c.readErr != nil || c.halted != nil {
		return errNotReady
	}
	return nil
}

// lookAgain reads the history after prepare has failed to. It retries, which prepare must not
// do while it holds a slot. After that, prepare only has to read what is new.
func (c *confirmation) lookAgain(ctx context.Context) *result {
	if c.rounds++; c.rounds > maxFinalReads {
		return c.unread(c.readErr)
	}
	if err := callerctx.Wait(ctx, RetryPolicy{}.withDefaults().delayCap(c.rounds-1)); err != nil {
		return c.unread(err)
	}
	return c.look(ctx)
}

// look searches the history for the message of this call, or of an earlier attempt. It
// returns nil if the message has to be sent.
func (c *confirmation) look(ctx context.Context) *result {
	tries, end := 1, c.plainAt // if zero, one reading is enough
	if c.resumes || c.sent {
		tries, end = maxFinalReads, c.ended
	}
	seen, err := c.search(ctx, end.Add(c.client.config.retry.searchTime()), tries)
	if err != nil {
		return c.unread(err)
	}
	c.pending, c.notedAt = false, c.readAt
	return c.judge(seen)
}

// judge returns the result that the history shows, or nil if the message has to be sent.
func (c *confirmation) judge(seen *view) *result {
	others, accepted := len(seen.others), c.accepted()
	switch {
	case seen.match != nil:
		return &result{message: *seen.match}
	case !c.sent && seen.doubtful:
		return c.doubt(nil,
			fmt.Errorf("%w: a message without a readable ID may be from an earlier attempt; to send anyway, use ConfirmAfter with a newer message", ErrAmbiguous))
	case !c.sent && others == 0:
		c.note(seen)
		return nil
	case !c.sent:
		return c.doubt(nil,
			fmt.Errorf("%w: message %d may be this one from an earlier attempt; to send anyway, use ConfirmAfter(%[2]d)", ErrAmbiguous, seen.others[others-1].ID))
	case seen.hasNewUnreadable(c.odd):
		return c.doubt(c.sendErr, fmt.Errorf("%w: a message that may be new has no readable ID", ErrAmbiguous))
	case accepted && others == 1 && c.out.op == OpSendFileToChat && seen.others[0].hasFileOfShop():
		return &result{message: seen.others[0]}
	case others > 0:
		return c.doubt(c.sendErr, fmt.Errorf("%w: new message %d may be this one", ErrAmbiguous, seen.others[others-1].ID))
	case accepted || c.attempts >= c.client.config.retry.MaxAttempts || c.refusals >= maxRefusals:
		return c.doubt(c.sendErr, errMessageNotFound)
	}
	return nil
}

// note records the baseline. Later readings begin one day before the shop's newest message,
// unless items without a readable ID have to be counted.
func (c *confirmation) note(seen *view) {
	if c.baseline == nil {
		c.baseline = map[MessageID]string{}
	}
	maps.Copy(c.baseline, seen.own)
	if c.odd = seen.unreadable; len(c.odd) > 0 {
		return
	}
	for id := range c.baseline { // an existing ID, because the server may refuse others
		if id <= seen.newest-day {
			c.floor = max(c.floor, id)
		}
	}
}

// refused returns the result of a call whose send was not made. If prepare has not run either,
// as with an exhausted quota, refused still searches for the message of an earlier attempt.
func (c *confirmation) refused(ctx context.Context, err error) *result {
	if c.hasAfter && c.baseline == nil {
		if done := c.look(ctx); done != nil && done.err == nil {
			return done
		}
	}
	return c.refuse(err)
}

var (
	errMessageNotFound = errors.New("message not found in the history")
	errEarlierSend     = errors.New("an earlier send of this call may have been processed")
)

// refuse returns the result of a call whose next send is not made.
func (c *confirmation) refuse(err error) *result {
	if c.sent {
		return c.doubt(err, errEarlierSend)
	}
	return &result{err: err}
}

// unread returns the result of a call whose history cannot be read.
func (c *confirmation) unread(err error) *result {
	if c.sent {
		return c.doubt(c.sendErr, err)
	}
	return &result{err: c.notSent(err)}
}

// notSent returns the error of a confirmed send that has sent nothing.
func (c *confirmation) notSent(err error) error {
	own := Error{Business: c.client.business, Operation: c.out.op, cause: err}
	if failed, ok := as[*Error](err); ok {
		own = *failed
	}
	if c.pending {
		own.kinds, own.SentAt = append(slices.Clip(own.kinds), ErrOutcomeUnknown), c.ended
	}
	return &own
}

// doubt returns a result with [ErrUnconfirmed] if the last send was accepted, and otherwise
// with [ErrOutcomeUnknown]. sendErr is the error of the last send, or nil.
func (c *confirmation) doubt(sendErr, cause error) *result {
	kind := ErrOutcomeUnknown
	if c.accepted() {
		kind = ErrUnconfirmed
	}
	e := &Error{Business: c.client.business, Operation: c.out.op}
	if failed, ok := as[*Error](sendErr); ok {
		e = failed
		e.Operation = c.out.op // the quota that ran out may be that of the history
	}
	if limited, ok := as[*Error](cause); ok && e.Limit == nil {
		e.Limit = limited.Limit
	}
	e.cause = joinCause(e.cause, cause)
	if !errors.Is(e, kind) {
		e.kinds = append(e.kinds, kind)
	}
	e.SentAt = cmp.Or(c.ended, time.Now()) // an earlier call may have sent it
	return &result{err: e}
}
