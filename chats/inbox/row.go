package inbox

import (
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// unfinished are the statuses that incremental sweeps list. Chats with a status unknown to
// this library are listed only by full sweeps.
var unfinished = []chats.Status{
	chats.StatusNew, chats.StatusWaitingForCustomer, chats.StatusWaitingForPartner,
	chats.StatusWaitingForArbiter, chats.StatusWaitingForMarket,
}

// second truncates a time to whole seconds for comparisons, because the server may do the same.
func second(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Second)
}

// beginning is a time before all chats on Market. It is not the zero time.
var beginning = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)

// known returns a time from the server, or the zero time if it cannot be real: a server without
// a time may send 1970, or a time far in the future.
func known(t time.Time) time.Time {
	if t.Before(beginning) || time.Until(t) > 365*24*time.Hour {
		return time.Time{}
	}
	return t
}

func sameSecond(a, b time.Time) bool { return second(a).Equal(second(b)) }

// A chat that was active within recentFor before the start is polled once for a baseline, which
// distinguishes messages that become visible later from those that were there already.
const (
	recentFor     = 24 * time.Hour
	baselineAfter = 2 * time.Minute // the shortest delay from the first listing of a chat to its baseline poll
)

// observe applies a listed chat to the row, and reports whether that changed the row. start is
// the business's StartTime; tracked is set if there are incremental sweeps.
func (s *ChatState) observe(chat chats.Chat, start time.Time, tracked bool, now time.Time) (changed bool) {
	chat.UpdatedAt = known(chat.UpdatedAt)
	before := s.Snapshot
	isOpen := tracked && slices.Contains(unfinished, chat.Status)
	left := s.Open && !isOpen // the chat left the incremental list, perhaps with a last message
	hasTurned := chat.Status != before.Status && sameSecond(chat.UpdatedAt, before.UpdatedAt)
	changed = s.adjust(now) || s.Open != isOpen || !sameChat(before, chat)
	s.Open, s.Snapshot = isOpen, chat
	switch {
	case before.ID == 0:
		s.begin(start, now)
	case !sameSecond(chat.UpdatedAt, before.UpdatedAt) && (before.UpdatedAt.IsZero() || !sameSecond(chat.UpdatedAt, s.UpdatedAt)):
		if s.Read { // until then, UpdatedAt is the first one listed, see isOld
			s.UpdatedAt = chat.UpdatedAt
		} else {
			s.Unexplained = 1
		}
		s.move(now)
	case hasTurned:
		s.move(now)
	case left, chat.UpdatedAt.IsZero() && s.DueAt.IsZero():
		s.hasten(now)
		changed = true
	}
	return changed
}

// move makes a chat due after its UpdatedAt or its status alone has changed.
func (s *ChatState) move(now time.Time) {
	if s.Read {
		s.Unexplained++
	}
	if s.Unexplained <= restlessAfter {
		s.SeenAt, s.Explained = now, false
		s.hasten(now)
		return
	}
	const skipped = 2 * time.Minute // the part of the recheck schedule that is skipped
	if next := s.SeenAt.Add(skipped + restlessGap); next.After(now) {
		s.DueAt = wait.Earliest(s.DueAt, next)
		return
	}
	s.SeenAt = now.Add(-skipped)
	s.hasten(now)
}

// expect begins the rechecks after a push that no message read so far explains.
func (s *ChatState) expect(at time.Time) {
	s.SeenAt, s.Explained = at, false
	if s.Read && !s.UpdatedAt.IsZero() { // until it is read, see isOld
		s.UpdatedAt = at.Add(time.Minute)
	}
}

// begin decides what to do with a chat that is listed for the first time.
func (s *ChatState) begin(start, now time.Time) {
	updated := s.Snapshot.UpdatedAt
	if s.Read && !updated.IsZero() && sameSecond(updated, s.UpdatedAt) {
		return // an imported row without activity since
	}
	s.UpdatedAt, s.SeenAt, s.Explained = updated, now, false
	if !updated.IsZero() && start.After(now) {
		s.UpdatedAt = start // see isOld: what arrives until then was not hidden
	}
	switch isOld := !updated.IsZero() && second(updated).Before(start) && !s.isNew(start); {
	case !isOld:
		s.hasten(now)
	case start.Sub(updated) < recentFor && s.DueAt.IsZero():
		s.DueAt = now.Add(baselineAfter + time.Duration(s.Chat%480)*time.Second)
	}
}

// isNew reports whether the chat was created after the start. If it was, none of its messages
// are old, regardless of other times.
func (s *ChatState) isNew(start time.Time) bool {
	created := second(known(s.Snapshot.CreatedAt))
	return !created.IsZero() && !created.Before(start)
}

// hasten makes the chat due, unless its handler has failed and the next attempt is scheduled. A
// chat that could not be read is retried immediately, because it has changed.
func (s *ChatState) hasten(at time.Time) {
	if s.Attempts == 0 || s.DueAt.IsZero() {
		s.DueAt = wait.Earliest(s.DueAt, at)
	}
}

func sameChat(a, b chats.Chat) bool {
	sameTimes := a.CreatedAt.Equal(b.CreatedAt) && a.UpdatedAt.Equal(b.UpdatedAt)
	a.CreatedAt, a.UpdatedAt, b.CreatedAt, b.UpdatedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return sameTimes && a == b
}

func (s *ChatState) isHandled(id chats.MessageID) bool {
	_, found := slices.BinarySearch(s.Handled, id)
	return found || id <= s.Checkpoint
}

// setHandled records that a message is handled. It keeps at most kept handled messages above
// the checkpoint.
func (s *ChatState) setHandled(id chats.MessageID, kept int) {
	at, found := slices.BinarySearch(s.Handled, id)
	if found || id <= s.Checkpoint {
		return
	}
	s.Handled = slices.Insert(s.Handled, at, id)
	s.trim(kept)
}

// trim keeps the last kept handled messages and moves the checkpoint up to the one below them.
func (s *ChatState) trim(kept int) {
	if extra := len(s.Handled) - kept; extra > 0 {
		s.Checkpoint = s.Handled[extra-1]
		s.Handled = slices.Delete(s.Handled, 0, extra)
	}
}

// isOld reports whether a message was there before an inbox first served the business. A
// message newer than the UpdatedAt with which its chat was first listed has become visible
// since, provided that the list or a push has reported activity.
func (s *ChatState) isOld(message *chats.Message, start time.Time) bool {
	created := second(known(message.CreatedAt))
	hasMoved := s.Wakes > 0 || s.Unexplained > 0
	wasHidden := hasMoved && !s.UpdatedAt.IsZero() && created.After(second(s.UpdatedAt))
	return !created.IsZero() && created.Before(start) && !s.Read && !wasHidden && !s.isNew(start)
}

func (s *ChatState) fail(text string, now time.Time) {
	if s.FailingSince.IsZero() {
		s.FailingSince = now
	}
	s.Failure = shortened(text)
}

func (s *ChatState) recovered() {
	s.Head, s.Attempts, s.FailingSince, s.RefusedSince, s.Failure = 0, 0, time.Time{}, time.Time{}, ""
}
