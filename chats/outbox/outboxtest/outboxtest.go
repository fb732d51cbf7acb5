// Package outboxtest tests implementations of outbox.Store against its contract.
package outboxtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/check"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// TestStore runs the conformance tests. The function open must return two handles to the same new,
// empty store, as if two processes had opened it. Some tests wait for a lease to expire, so open
// should return stores with short leases, for example of 1 or 2 s. Package inboxtest tests leases
// in more detail.
func TestStore(t *testing.T, open func(t *testing.T) (a, b outbox.Store)) {
	t.Helper()
	runTests(t, open, func(t *testing.T, test func(*testing.T)) { t.Helper(); test(t) })
}

// TestStoreInBubble runs the same tests as TestStore, each in a testing/synctest bubble, for
// stores that depend on nothing outside the process.
func TestStoreInBubble(t *testing.T, open func(t *testing.T) (a, b outbox.Store)) {
	t.Helper()
	runTests(t, open, synctest.Test)
}

func runTests(
	t *testing.T, open func(t *testing.T) (a, b outbox.Store), in func(*testing.T, func(*testing.T)),
) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"an empty store", (*suite).empty},
		{"an item is loaded as it was put", (*suite).putRoundTrip},
		{"a record is loaded as it was saved", (*suite).saveRoundTrip},
		{"a record can be reset", (*suite).reset},
		{"a record belongs to the caller", (*suite).ownership},
		{"nothing is cut off or converted", (*suite).extremes},
		{"keys are compared by their bytes", (*suite).keys},
		{"a repeated Put is not an error", (*suite).putAgain},
		{"Put is all or nothing", (*suite).putAllOrNothing},
		{"Put checks the items", (*suite).putChecks},
		{"concurrent Puts", (*suite).concurrentPuts},
		{"many items in one Put", (*suite).largePut},
		{"items are in the order of Put", (*suite).order},
		{"items are in the order of Put after others were deleted", (*suite).orderAfterDeletion},
		{"Backlog lists the heads of the chats", (*suite).heads},
		{"an item that is not due or has expired remains the head", (*suite).heldHead},
		{"Backlog lists the unreported items", (*suite).unreported},
		{"after an item is settled, the next one is the head", (*suite).settle},
		{"a resent item is the head again", (*suite).resend},
		{"a file is kept until its item is final", (*suite).files},
		{"SaveItem needs the lease", (*suite).saveNeedsLease},
		{"SaveItem compares the version", (*suite).compareAndSet},
		{"ResolveItem compares the version, without a lease", (*suite).resolve},
		{"one of several concurrent saves succeeds", (*suite).concurrentSaves},
		{"a message belongs to one item", (*suite).messages},
		{"DeleteSettled", (*suite).deleteSettled},
		{"Counts", (*suite).counts},
		{"a lease excludes other holders, and expires", (*suite).leases},
		{"businesses are separate", (*suite).businessesAreSeparate},
		{"reads and deletions concern one business", (*suite).otherBusiness},
		{"a canceled context is an error", (*suite).endedContext},
	} {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				a, b := open(t)
				test.run(&suite{T: check.T{T: t}, a: a, b: b})
			})
		})
	}
}

const business, other chats.BusinessID = 7, 8

// base is the time from which the tests count. It is in whole microseconds, because a store may
// truncate times to those.
var base = time.Date(2026, 11, 25, 12, 0, 0, 123456000, time.UTC)

type suite struct {
	check.T

	a, b outbox.Store
}

func (s *suite) lease() inbox.Lease {
	s.Helper()
	lease, err := s.a.Acquire(s.Context(), business, outbox.Purpose, "holder")
	s.NoError(err)
	return lease
}

func text(key string, chat chats.ChatID) outbox.Item {
	return outbox.Item{Key: key, Chat: chat, Text: "text of " + key}
}

func file(key string, chat chats.ChatID, content string) outbox.Item {
	return outbox.Item{Key: key, Chat: chat, FileName: key + ".txt", File: []byte(content)}
}

func (s *suite) put(items ...outbox.Item) {
	s.Helper()
	s.NoError(s.a.Put(s.Context(), business, items...))
}

// item returns a record through the other handle.
func (s *suite) item(key string) outbox.Record {
	s.Helper()
	r, err := s.b.Item(s.Context(), business, key)
	s.NoError(err)
	return r
}

func (s *suite) head(chat chats.ChatID) outbox.Record {
	s.Helper()
	r, err := s.b.Head(s.Context(), business, chat)
	s.NoError(err)
	return r
}

func (s *suite) backlog(at time.Time) outbox.Backlog {
	s.Helper()
	backlog, err := s.b.Backlog(s.Context(), business, at)
	s.NoError(err)
	slices.SortFunc(backlog.Heads, func(a, b outbox.Head) int { return int(a.Chat - b.Chat) })
	return backlog
}

// save changes a record under a lease. It renews the lease first, because the machine may be
// slow.
func (s *suite) save(lease inbox.Lease, key string, change func(*outbox.Record)) {
	s.Helper()
	_, err := s.a.Renew(s.Context(), lease)
	s.NoError(err)
	r := s.item(key)
	change(&r)
	s.NoError(s.a.SaveItem(s.Context(), lease, &r))
}

func sent(id chats.MessageID) func(*outbox.Record) {
	return func(r *outbox.Record) {
		r.State, r.SettledAt, r.Message = outbox.Sent, base, chats.Message{ID: id}
	}
}

func (s *suite) empty() {
	_, err := s.a.Item(s.Context(), business, "none")
	s.ErrorIs(err, outbox.ErrUnknownKey)
	_, err = s.a.Head(s.Context(), business, 1)
	s.ErrorIs(err, outbox.ErrUnknownKey)
	backlog := s.backlog(base)
	check.Equal(s, "heads", len(backlog.Heads), 0)
	check.Equal(s, "unreported", len(backlog.Unreported), 0)
	s.SameTime("next report", backlog.NextReport, time.Time{})
	sum, err := s.a.Counts(s.Context(), business)
	s.NoError(err)
	check.Equal(s, "summary", sum, outbox.Summary{})
	ids, err := s.a.PostedAs(s.Context(), business, 1, 0)
	s.NoError(err)
	check.Equal(s, "messages", len(ids), 0)
	s.NoError(s.a.Put(s.Context(), business))
}

func (s *suite) putRoundTrip() {
	before := time.Now().Add(-time.Minute)
	item := text("key «1» 'x' ?1 $1 {p}", 5)
	item.Text = "Здравствуйте!\n\t\"quoted\" \\ 'x' ? ?1 $1 {now} 🎁"
	item.NotAfter = base
	s.put(item, file("f", 6, "\x00\xff content"))
	r := s.item(item.Key)
	check.Equal(s, "business", r.Business, business)
	check.Equal(s, "key", r.Item.Key, item.Key)
	check.Equal(s, "chat", r.Item.Chat, 5)
	check.Equal(s, "text", r.Item.Text, item.Text)
	s.SameTime("NotAfter", r.Item.NotAfter, base)
	check.Equal(s, "state", r.State, outbox.Queued)
	if r.QueuedAt.Before(before) || r.QueuedAt.After(before.Add(2*time.Minute)) {
		s.Errorf("queued at %v", r.QueuedAt)
	}
	r = s.item("f")
	check.Equal(s, "file name", r.Item.FileName, "f.txt")
	check.Equal(s, "file size", r.FileSize, 10)
	check.Equal(s, "length of the file in Item", len(r.Item.File), 0)
	s.SameTime("NotAfter", r.Item.NotAfter, time.Time{})
	check.Equal(s, "file", string(s.head(6).Item.File), "\x00\xff content")
}

func (s *suite) extremes() {
	item := text(strings.Repeat("я", outbox.MaxKeyLength/2), math.MaxInt64)
	item.Text = "\n" + strings.Repeat("🎁", chats.MaxTextLength-2) + " "
	name, content := strings.Repeat("я", 125)+".jpeg", make([]byte, chats.MaxFileSize)
	content[len(content)-1] = 1
	s.put(item, outbox.Item{Key: "f", Chat: math.MaxInt64 - 1, FileName: name, File: content})
	content[0] = 1 // after Put the slice belongs to the caller again
	r := s.head(math.MaxInt64)
	check.Equal(s, "key", r.Item.Key, item.Key)
	check.Equal(s, "text is kept", r.Item.Text == item.Text, true)
	r = s.head(math.MaxInt64 - 1)
	check.Equal(s, "file name", r.Item.FileName, name)
	check.Equal(s, "file size", r.FileSize, chats.MaxFileSize)
	if file := r.Item.File; len(file) != len(content) || file[0] != 0 || file[len(file)-1] != 1 {
		s.Error("the file differs")
	}
	reason := strings.Repeat("r", 2000)
	s.save(s.lease(), item.Key, func(r *outbox.Record) { r.Failure = &outbox.Failure{Reason: reason} })
	check.Equal(s, "reason", s.item(item.Key).Failure.Reason, reason)
}

// keys tests keys that differ only in case, white space, Unicode normalization or the last byte.
func (s *suite) keys() {
	long := strings.Repeat("x", outbox.MaxKeyLength-1)
	keys := []string{
		"k", "K", " k", "k ", "k\t", "ß", "ss", "\u00e9", "e\u0301", "e", "и", "й", "\u0438\u0306", "ё", "е", "ı", "i", "I", "İ",
		"1", "01", "1.0", "null", "\u200bk", "%", "_", long + "a", long + "b",
	}
	items := make([]outbox.Item, len(keys))
	for n, key := range keys {
		items[n] = outbox.Item{Key: key, Chat: chats.ChatID(1 + n), Text: fmt.Sprint("text ", n)}
	}
	s.put(items[:len(items)/2]...)
	s.put(items[len(items)/2:]...)
	for n, item := range items {
		r := s.item(item.Key)
		check.Equal(s, "key", r.Item.Key, item.Key)
		check.Equal(s, "text of "+item.Key, r.Item.Text, fmt.Sprint("text ", n))
	}
}

func (s *suite) saveRoundTrip() {
	s.put(text("k", 5))
	lease := s.lease()
	message := chats.Message{
		ID: 1700000000000001, CreatedAt: base, Sender: chats.SenderPartner, Text: "текст",
		Files: []chats.File{{Name: "a.png", URL: "https://example.com/a%2Fb", Size: 3}},
	}
	want := s.item("k")
	want.State, want.DueAt, want.Failures, want.Refusals = outbox.Sent, base.Add(time.Hour), 3, 5
	want.Failure = &outbox.Failure{Reason: "no «way»", StatusCode: 400, Details: []chats.Detail{{Code: "C", Message: "M"}}}
	want.Attempts, want.FirstAttempt, want.LastAttempt = 2, base.Add(1), base.Add(2*time.Second)
	want.Token, want.Baseline, want.Accepted = 1<<60, slices.Repeat([]chats.MessageID{1, 1700000000000000}, 16), true
	want.Floor = 1600000000000000
	want.Message, want.SettledAt, want.Reports = message, base.Add(3*time.Second), 4
	version, stored := want.Version, want
	want.Position, want.FileSize, want.LastMessage, want.QueuedAt = want.Position+1, 9, 8, base
	want.Item.Text, want.Item.Chat = "another", 6
	s.NoError(s.a.SaveItem(s.Context(), lease, &want))
	check.Equal(s, "version after the save", want.Version, version+1)
	got := s.item("k")
	check.Equal(s, "position", got.Position, stored.Position)
	s.SameTime("queued at", got.QueuedAt, stored.QueuedAt)
	check.Equal(s, "text, which no save changes", got.Item.Text, "text of k")
	check.Equal(s, "chat, which no save changes", got.Item.Chat, 5)
	check.Equal(s, "file size", got.FileSize, 0)
	check.Equal(s, "last message, which only Head sets", got.LastMessage, 0)
	check.Equal(s, "version", got.Version, version+1)
	check.Equal(s, "state", got.State, outbox.Sent)
	s.SameTime("due at", got.DueAt, want.DueAt)
	s.SameTime("first attempt", got.FirstAttempt.Truncate(time.Microsecond), want.FirstAttempt.Truncate(time.Microsecond))
	s.SameTime("last attempt", got.LastAttempt, want.LastAttempt)
	s.SameTime("settled at", got.SettledAt, want.SettledAt)
	check.Equal(s, "failures, refusals, attempts, reports", [4]int{got.Failures, got.Refusals, got.Attempts, got.Reports}, [4]int{3, 5, 2, 4})
	check.Equal(s, "token", got.Token, 1<<60)
	check.Equal(s, "accepted", got.Accepted, true)
	check.Equal(s, "reported", got.Reported, false)
	check.Slices(s, "baseline", got.Baseline, want.Baseline)
	check.Equal(s, "floor", got.Floor, want.Floor)
	if got.Failure == nil {
		s.Fatal("no failure")
	}
	check.Equal(s, "reason", got.Failure.Reason, "no «way»")
	check.Equal(s, "status", got.Failure.StatusCode, 400)
	check.Slices(s, "details", got.Failure.Details, want.Failure.Details)
	check.Equal(s, "message", got.Message.ID, message.ID)
	check.Equal(s, "message's text", got.Message.Text, message.Text)
	check.Equal(s, "message's sender", got.Message.Sender, message.Sender)
	s.SameTime("message's time", got.Message.CreatedAt, base)
	check.Slices(s, "message's files", got.Message.Files, message.Files)
}

// reset saves a record with all fields and then, as Resolve does, one with almost none.
func (s *suite) reset() {
	s.put(text("k", 5))
	lease, start := s.lease(), s.item("k")
	s.save(lease, "k", func(r *outbox.Record) {
		r.State, r.DueAt, r.Failures, r.Refusals, r.Reports, r.Reported = outbox.Uncertain, base, 3, 5, 4, true
		r.Failure = &outbox.Failure{Reason: "no", StatusCode: 400, Details: []chats.Detail{{Code: "C"}}}
		r.Attempts, r.FirstAttempt, r.LastAttempt, r.SettledAt = 2, base, base, base
		r.Token, r.Baseline, r.Floor, r.Accepted, r.Message = 6, []chats.MessageID{1}, 7, true, chats.Message{ID: 8, Text: "text"}
	})
	s.save(lease, "k", func(r *outbox.Record) {
		*r = outbox.Record{Business: business, Item: r.Item, Version: r.Version, State: outbox.Queued, Attempts: 1}
	})
	got := s.item("k")
	check.Equal(s, "attempts", got.Attempts, 1)
	got.Attempts, got.Version, got.QueuedAt, start.QueuedAt = 0, start.Version, time.Time{}, time.Time{}
	check.Equal(s, "record", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", start))
	ids, err := s.b.PostedAs(s.Context(), business, 5, 0)
	s.NoError(err)
	check.Equal(s, "messages", len(ids), 0)
}

// ownership changes what has been passed to the store and what it has returned.
func (s *suite) ownership() {
	s.put(file("f", 6, "content"))
	s.head(6).Item.File[0] = 'x'
	check.Equal(s, "file", string(s.head(6).Item.File), "content")
	s.put(text("k", 5))
	change := func(r *outbox.Record) {
		r.Baseline[0], r.Failure.Reason, r.Failure.Details[0].Code, r.Message.Files[0].Name = 9, "changed", "changed", "changed"
	}
	s.save(s.lease(), "k", func(r *outbox.Record) {
		r.Baseline, r.Failure = []chats.MessageID{1}, &outbox.Failure{Reason: "no", Details: []chats.Detail{{Code: "C"}}}
		r.Message = chats.Message{ID: 8, Files: []chats.File{{Name: "a.png"}}}
	})
	r := s.item("k")
	s.NoError(s.a.ResolveItem(s.Context(), &r))
	change(&r)
	for range 2 {
		r := s.item("k")
		check.Equal(s, "baseline", r.Baseline[0], 1)
		check.Equal(s, "failure", r.Failure.Reason+r.Failure.Details[0].Code, "noC")
		check.Equal(s, "file", r.Message.Files[0].Name, "a.png")
		change(&r)
	}
}

func (s *suite) putAgain() {
	first := file("k", 5, "content")
	s.put(first)
	first.NotAfter = base
	s.put(text("new", 5), first, first)
	s.put(first)
	check.Equal(s, "version", s.item("k").Version, s.item("new").Version)
	check.Equal(s, "head", s.head(5).Item.Key, "k")
	s.SameTime("NotAfter of the first Put", s.item("k").Item.NotAfter, time.Time{})
	lease := s.lease()
	s.save(lease, "k", sent(9))
	s.put(first)
	check.Equal(s, "state", s.item("k").State, outbox.Sent)
	s.save(lease, "new", func(r *outbox.Record) { r.State, r.SettledAt, r.Reported = outbox.Failed, base, true })
	s.put(text("new", 5))
	check.Equal(s, "state", s.item("new").State, outbox.Failed)
	for name, item := range map[string]outbox.Item{
		"other file": file("k", 5, "Content"), "other chat": file("k", 6, "content"), "text": text("k", 5),
		"other name": {Key: "k", Chat: 5, FileName: "x.txt", File: []byte("content")},
	} {
		if err := s.b.Put(s.Context(), business, item); !errors.Is(err, outbox.ErrKeyReused) {
			s.Errorf("%s: the error is %v", name, err)
		}
	}
}

func (s *suite) putAllOrNothing() {
	s.put(text("k", 5))
	err := s.a.Put(s.Context(), business, text("a", 5), outbox.Item{Key: "k", Chat: 5, Text: "other"}, text("b", 5))
	s.ErrorIs(err, outbox.ErrKeyReused)
	for _, key := range []string{"a", "b"} {
		_, err := s.b.Item(s.Context(), business, key)
		s.ErrorIs(err, outbox.ErrUnknownKey)
	}
}

func (s *suite) putChecks() {
	err := s.a.Put(s.Context(), business, text("a", 5), outbox.Item{Key: "b", Chat: 5})
	s.ErrorIs(err, chats.ErrInvalidArgument)
	err = s.a.Put(s.Context(), business, text("a", 5), outbox.Item{Key: "a", Chat: 5, Text: "other"})
	s.ErrorIs(err, outbox.ErrKeyReused)
	check.Equal(s, "heads", len(s.backlog(base).Heads), 0)
}

func (s *suite) concurrentPuts() {
	var wg sync.WaitGroup
	for n := range 8 {
		store := []outbox.Store{s.a, s.b}[n%2]
		wg.Go(func() {
			if err := store.Put(s.Context(), business, text("same", 5), text(fmt.Sprint("own ", n), 5)); err != nil {
				s.Errorf("Put %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	sum, err := s.a.Counts(s.Context(), business)
	s.NoError(err)
	check.Equal(s, "queued", sum.Queued, 9)
}

func (s *suite) largePut() {
	items := make([]outbox.Item, 3000)
	for n := range items {
		items[n] = text(fmt.Sprintf("key %04d", 2999-n), chats.ChatID(1+n%10))
	}
	s.put(items...)
	check.Equal(s, "heads", len(s.backlog(base).Heads), 10)
	check.Equal(s, "the first", s.head(1).Item.Key, "key 2999")
}

func (s *suite) order() {
	lease := s.lease()
	s.put(text("z", 5), text("a", 5))
	s.put(text("m", 5), text("elsewhere", 6))
	s.NoError(s.b.Put(s.Context(), business, text("b", 5)))
	for n, want := range []string{"z", "a", "m", "b"} {
		r := s.head(5)
		check.Equal(s, "head", r.Item.Key, want)
		check.Equal(s, "last message", r.LastMessage, chats.MessageID(n*10))
		s.save(lease, r.Item.Key, sent(chats.MessageID(n*10+10)))
	}
}

func (s *suite) orderAfterDeletion() {
	lease := s.lease()
	s.put(text("a", 5), text("b", 5), text("c", 5))
	for _, key := range []string{"a", "b"} {
		s.save(lease, key, func(r *outbox.Record) { r.State, r.SettledAt, r.Reported = outbox.Sent, base, true })
	}
	n, err := s.a.DeleteSettled(s.Context(), business, base.Add(time.Second), 10)
	s.NoError(err)
	check.Equal(s, "deleted", n, 2)
	s.put(text("d", 5))
	check.Equal(s, "head", s.head(5).Item.Key, "c")
	s.save(lease, "c", sent(1))
	check.Equal(s, "head", s.head(5).Item.Key, "d")
}

func (s *suite) heads() {
	lease := s.lease()
	a, c := text("a", 5), file("c", 6, "x")
	a.NotAfter, c.NotAfter = base, base.Add(time.Minute)
	s.put(a, text("b", 5), c, text("d", 7))
	s.SameTime("not after", s.backlog(base).Heads[0].NotAfter, base)
	s.save(lease, "a", func(r *outbox.Record) { r.State, r.DueAt = outbox.Sending, base.Add(time.Hour) })
	heads := s.backlog(base).Heads
	if len(heads) != 3 {
		s.Fatalf("heads: %v", heads)
	}
	for n, want := range []outbox.Head{{Chat: 5, DueAt: base.Add(time.Hour)}, {Chat: 6, NotAfter: c.NotAfter, IsFile: true}, {Chat: 7}} {
		check.Equal(s, "chat", heads[n].Chat, want.Chat)
		check.Equal(s, "is file", heads[n].IsFile, want.IsFile)
		s.SameTime("due at", heads[n].DueAt, want.DueAt)
		s.SameTime("not after", heads[n].NotAfter, want.NotAfter)
	}
	if heads[0].Position >= heads[1].Position || heads[1].Position >= heads[2].Position {
		s.Errorf("positions: %v", heads)
	}
}

func (s *suite) heldHead() {
	lease, now := s.lease(), time.Now()
	a, c := text("a", 5), text("c", 6)
	c.NotAfter = now.Add(-time.Hour)
	s.put(a, text("b", 5), c, text("d", 6))
	s.save(lease, "a", func(r *outbox.Record) { r.DueAt = now.Add(time.Hour) })
	check.Equal(s, "head that is not due", s.head(5).Item.Key, "a")
	check.Equal(s, "head that has expired", s.head(6).Item.Key, "c")
	heads := s.backlog(now).Heads
	if len(heads) != 2 || heads[0].Position != s.item("a").Position || heads[1].Position != s.item("c").Position {
		s.Errorf("heads: %v", heads)
	}
}

func (s *suite) unreported() {
	lease := s.lease()
	s.put(text("a", 5), text("b", 5), text("c", 5), text("d", 5), text("e", 5))
	settle := func(key string, id chats.MessageID, due time.Time) {
		s.save(lease, key, func(r *outbox.Record) { sent(id)(r); r.DueAt = due })
	}
	settle("a", 1, base.Add(time.Second))
	settle("b", 2, time.Time{})
	settle("c", 3, base.Add(2*time.Hour))
	settle("d", 4, base.Add(time.Hour))
	backlog := s.backlog(base.Add(time.Second))
	check.Slices(s, "unreported", backlog.Unreported, []string{"b", "a"})
	s.SameTime("next report", backlog.NextReport, base.Add(time.Hour))
	s.save(lease, "a", func(r *outbox.Record) { r.Reported = true })
	check.Slices(s, "unreported", s.backlog(base.Add(time.Second)).Unreported, []string{"b"})
	for _, state := range []outbox.State{outbox.Failed, outbox.Uncertain, outbox.Expired, outbox.Discarded} {
		s.put(text(string(state), 7))
		s.save(lease, string(state), func(r *outbox.Record) { r.State, r.SettledAt, r.DueAt = state, base, base })
	}
	check.Equal(s, "unreported of all states", len(s.backlog(base).Unreported), 5)
	many := make([]outbox.Item, 120)
	for n := range many {
		many[n] = text(fmt.Sprint("many ", n), 6)
	}
	s.put(many...)
	for n := range many {
		settle(many[n].Key, 0, base)
	}
	check.Equal(s, "unreported", len(s.backlog(base).Unreported), 100)
	sum, err := s.b.Counts(s.Context(), business)
	s.NoError(err)
	check.Equal(s, "unreported items", sum.Unreported, 127)
}

func (s *suite) settle() {
	lease := s.lease()
	s.put(text("a", 5), text("b", 5))
	for _, state := range []outbox.State{outbox.Failed, outbox.Uncertain, outbox.Expired, outbox.Discarded} {
		key := string(state)
		s.put(text(key, 6), text("behind "+key, 6))
		s.save(lease, s.head(6).Item.Key, func(r *outbox.Record) { r.State, r.SettledAt = state, base })
		check.Equal(s, "head behind "+key, s.head(6).Item.Key, "behind "+key)
		s.save(lease, "behind "+key, func(r *outbox.Record) { r.State, r.SettledAt = outbox.Failed, base })
	}
	_, err := s.b.Head(s.Context(), business, 6)
	s.ErrorIs(err, outbox.ErrUnknownKey)
	check.Equal(s, "heads", len(s.backlog(base).Heads), 1)
}

func (s *suite) resend() {
	lease := s.lease()
	s.put(text("a", 5), text("b", 5))
	s.save(lease, "a", func(r *outbox.Record) { r.State, r.SettledAt = outbox.Uncertain, base })
	check.Equal(s, "head", s.head(5).Item.Key, "b")
	r := s.item("a")
	r.State, r.SettledAt = outbox.Queued, time.Time{}
	s.NoError(s.b.ResolveItem(s.Context(), &r))
	check.Equal(s, "head", s.head(5).Item.Key, "a")
}

func (s *suite) files() {
	lease := s.lease()
	s.put(file("a", 5, "content"))
	s.save(lease, "a", func(r *outbox.Record) {
		r.State, r.SettledAt, r.Item.File = outbox.Uncertain, base, []byte("no save changes it")
	})
	s.save(lease, "a", func(r *outbox.Record) { r.State, r.SettledAt = outbox.Queued, time.Time{} })
	check.Equal(s, "file", string(s.head(5).Item.File), "content")
	s.save(lease, "a", func(r *outbox.Record) { r.State, r.SettledAt = outbox.Failed, base })
	s.save(lease, "a", func(r *outbox.Record) { r.State, r.SettledAt = outbox.Queued, time.Time{} })
	check.Equal(s, "length of a deleted file", len(s.head(5).Item.File), 0)
	check.Equal(s, "size of a deleted file", s.head(5).FileSize, 7)
	for n, final := range []outbox.State{outbox.Sent, outbox.Expired, outbox.Discarded} {
		chat, key := chats.ChatID(6+n), string(final)
		s.put(file(key, chat, "content"))
		for _, state := range []outbox.State{final, outbox.Queued} {
			r := s.item(key)
			r.State, r.Item.File = state, []byte("content") // as read by Head
			s.NoError(s.b.ResolveItem(s.Context(), &r))
		}
		check.Equal(s, "length of the file of an item that was "+key, len(s.head(chat).Item.File), 0)
	}
}

func (s *suite) saveNeedsLease() {
	lease := s.lease()
	s.put(text("k", 5))
	r := s.item("k")
	for name, bad := range map[string]inbox.Lease{
		"none":            {},
		"another token":   {Business: business, Purpose: outbox.Purpose, Holder: "holder", Token: lease.Token - 1},
		"a later token":   {Business: business, Purpose: outbox.Purpose, Holder: "holder", Token: lease.Token + 1},
		"another holder":  {Business: business, Purpose: outbox.Purpose, Holder: "other", Token: lease.Token},
		"another purpose": {Business: business, Purpose: "other", Holder: "holder", Token: lease.Token},
	} {
		bad.Duration = lease.Duration
		if err := s.a.SaveItem(s.Context(), bad, &r); !errors.Is(err, inbox.ErrLeaseLost) {
			s.Errorf("%s: the error is %v", name, err)
		}
	}
	s.NoError(s.a.Release(s.Context(), lease))
	version := r.Version
	s.ErrorIs(s.a.SaveItem(s.Context(), lease, &r), inbox.ErrLeaseLost)
	check.Equal(s, "version after an error", r.Version, version)
	check.Equal(s, "version", s.item("k").Version, version)
}

func (s *suite) compareAndSet() {
	lease := s.lease()
	s.put(text("k", 5))
	r := s.item("k")
	old := r
	r.State = outbox.Sending
	s.NoError(s.a.SaveItem(s.Context(), lease, &r))
	old.State = outbox.Failed
	s.ErrorIs(s.a.SaveItem(s.Context(), lease, &old), outbox.ErrConflict)
	check.Equal(s, "state", s.item("k").State, outbox.Sending)
	unknown := outbox.Record{Business: business, Item: text("unknown", 5), Version: 1, State: outbox.Failed}
	s.ErrorIs(s.a.SaveItem(s.Context(), lease, &unknown), outbox.ErrConflict)
}

func (s *suite) resolve() {
	s.put(text("k", 5))
	r := s.item("k")
	old := r
	r.State, r.SettledAt = outbox.Discarded, base
	s.NoError(s.a.ResolveItem(s.Context(), &r))
	version := old.Version
	s.ErrorIs(s.b.ResolveItem(s.Context(), &old), outbox.ErrConflict)
	check.Equal(s, "version after an error", old.Version, version)
	check.Equal(s, "state", s.item("k").State, outbox.Discarded)
}

func (s *suite) concurrentSaves() {
	s.put(text("same", 6))
	same, others := s.item("same"), make([]outbox.Record, 8)
	for n := range others {
		key := fmt.Sprint("k", n)
		s.put(text(key, 5))
		others[n] = s.item(key)
	}
	var wg sync.WaitGroup
	saves, messages := make([]error, len(others)), make([]error, len(others))
	for n := range others {
		store := []outbox.Store{s.a, s.b}[n%2]
		wg.Go(func() {
			r := same
			r.State, r.SettledAt = outbox.Discarded, base
			saves[n] = store.ResolveItem(s.Context(), &r)
		})
		wg.Go(func() {
			sent(100)(&others[n])
			messages[n] = store.ResolveItem(s.Context(), &others[n])
		})
	}
	wg.Wait()
	for want, errs := range map[error][]error{outbox.ErrConflict: saves, outbox.ErrMessageTaken: messages} {
		saved := 0
		for _, err := range errs {
			if err == nil {
				saved++
			} else {
				s.ErrorIs(err, want)
			}
		}
		check.Equal(s, "saves without "+want.Error(), saved, 1)
	}
}

func (s *suite) messages() {
	lease := s.lease()
	s.put(text("a", 5), text("b", 5), text("c", 5), text("d", 6), text("e", 5))
	s.save(lease, "a", func(r *outbox.Record) { sent(100)(r); r.Reported = true })
	r := s.item("b")
	sent(100)(&r)
	version := r.Version
	s.ErrorIs(s.a.SaveItem(s.Context(), lease, &r), outbox.ErrMessageTaken)
	s.ErrorIs(s.a.ResolveItem(s.Context(), &r), outbox.ErrMessageTaken)
	check.Equal(s, "version after an error", r.Version, version)
	check.Equal(s, "state", s.item("b").State, outbox.Queued)
	s.save(lease, "d", sent(100)) // of another chat
	s.put(text("f", 6), text("g", 5))
	s.save(lease, "f", sent(102))
	s.save(lease, "b", sent(101))
	s.save(lease, "c", sent(99))
	s.save(lease, "a", sent(100)) // again
	s.save(lease, "e", func(r *outbox.Record) { r.State, r.SettledAt = outbox.Failed, base })
	s.save(lease, "c", sent(98))
	s.save(lease, "e", sent(99)) // message 99 is free again
	ids, err := s.b.PostedAs(s.Context(), business, 5, 99)
	s.NoError(err)
	slices.Sort(ids)
	check.Slices(s, "messages above 99", ids, []chats.MessageID{100, 101})
	check.Equal(s, "last message", s.head(5).LastMessage, 101)
}

func (s *suite) deleteSettled() {
	lease := s.lease()
	s.put(text("queued", 1), text("uncertain", 2), text("unreported", 3), text("young", 4), text("old", 5), file("file", 6, "x"))
	settle := func(key string, state outbox.State, at time.Time, reported bool) {
		s.save(lease, key, func(r *outbox.Record) {
			r.State, r.SettledAt, r.Reported = state, at, reported
			r.Message.ID = 77
		})
	}
	settle("uncertain", outbox.Uncertain, base, true)
	settle("unreported", outbox.Sent, base, false)
	settle("young", outbox.Sent, base.Add(time.Hour), true)
	settle("old", outbox.Sent, base, true)
	settle("file", outbox.Discarded, base, true)
	for n, state := range []outbox.State{outbox.Failed, outbox.Expired} {
		s.put(text(string(state), chats.ChatID(7+n)))
		settle(string(state), state, base, true)
	}
	n, err := s.a.DeleteSettled(s.Context(), business, base, 10)
	s.NoError(err)
	check.Equal(s, "deleted", n, 0)
	total := 0
	for range 5 {
		n, err := s.a.DeleteSettled(s.Context(), business, base.Add(time.Minute), 1)
		s.NoError(err)
		if n > 1 {
			s.Errorf("deleted %d records, at most 1 allowed", n)
		}
		total += n
	}
	check.Equal(s, "deleted", total, 4)
	for _, key := range []string{"old", "file", "failed", "expired"} {
		_, err := s.b.Item(s.Context(), business, key)
		s.ErrorIs(err, outbox.ErrUnknownKey)
	}
	for _, key := range []string{"queued", "uncertain", "unreported", "young"} {
		s.item(key)
	}
	s.put(text("old", 5))
	s.save(lease, "old", sent(77)) // its message is free again
}

func (s *suite) counts() {
	lease := s.lease()
	s.put(text("settled", 1))
	s.save(lease, "settled", func(r *outbox.Record) { r.State, r.SettledAt, r.Reported = outbox.Sent, base, true })
	for n, state := range []outbox.State{
		outbox.Queued, outbox.Sending, outbox.Uncertain, outbox.Uncertain, outbox.Failed, outbox.Sent, outbox.Expired,
	} {
		timer := time.NewTimer(10 * time.Millisecond) // so that the items are not queued at the same time
		<-timer.C
		key := fmt.Sprint("k", n)
		s.put(text(key, chats.ChatID(n+1)))
		s.save(lease, key, func(r *outbox.Record) {
			if r.State = state; state.IsSettled() {
				r.SettledAt, r.Reported = base, n != 2 && state != outbox.Expired
			}
			r.Failure, r.DueAt = &outbox.Failure{Reason: "failure of " + key}, base.Add(time.Duration(n)*time.Second)
		})
	}
	sum, err := s.b.Counts(s.Context(), business)
	s.NoError(err)
	got := [5]int{sum.Queued, sum.Sending, sum.Uncertain, sum.Failed, sum.Unreported}
	check.Equal(s, "queued, sending, uncertain, failed, unreported", got, [5]int{1, 1, 2, 1, 2})
	s.SameTime("oldest", sum.Oldest, s.item("k0").QueuedAt)
	check.Equal(s, "last error", sum.LastError, "failure of k1")
	check.Equal(s, "holder", sum.Holder, "holder")
	check.Equal(s, "held since is set", sum.HeldSince.IsZero(), false)
	s.NoError(s.a.Release(s.Context(), lease))
	sum, err = s.b.Counts(s.Context(), business)
	s.NoError(err)
	check.Equal(s, "holder", sum.Holder, "")
}

func (s *suite) leases() {
	lease := s.lease()
	_, err := s.b.Acquire(s.Context(), business, outbox.Purpose, "other")
	s.ErrorIs(err, inbox.ErrLeaseHeld)
	if _, err := s.b.Acquire(s.Context(), business, inbox.Purpose, "other"); err != nil {
		s.Errorf("the lease of the inbox: %v", err)
	}
	_, err = s.b.Renew(s.Context(), lease)
	s.NoError(err)
	s.put(text("k", 5))
	r := s.item("k")
	timer := time.NewTimer(lease.Duration + 100*time.Millisecond)
	<-timer.C
	s.ErrorIs(s.a.SaveItem(s.Context(), lease, &r), inbox.ErrLeaseLost)
	_, err = s.a.Renew(s.Context(), lease)
	s.ErrorIs(err, inbox.ErrLeaseLost)
	next, err := s.b.Acquire(s.Context(), business, outbox.Purpose, "other")
	s.NoError(err)
	if next.Token <= lease.Token {
		s.Errorf("token %d after %d", next.Token, lease.Token)
	}
	s.NoError(s.a.Release(s.Context(), lease))
	_, err = s.b.Renew(s.Context(), next)
	s.NoError(err)
}

func (s *suite) businessesAreSeparate() {
	lease := s.lease()
	s.put(text("k", 5))
	s.NoError(s.a.Put(s.Context(), other, outbox.Item{Key: "k", Chat: 5, Text: "of another"}))
	s.save(lease, "k", sent(100))
	r, err := s.b.Head(s.Context(), other, 5)
	s.NoError(err)
	check.Equal(s, "text", r.Item.Text, "of another")
	check.Equal(s, "last message", r.LastMessage, 0)
	sent(100)(&r)
	s.ErrorIs(s.b.SaveItem(s.Context(), lease, &outbox.Record{Business: other, Item: r.Item, Version: r.Version}), inbox.ErrLeaseLost)
	s.NoError(s.b.ResolveItem(s.Context(), &r))
	n, err := s.a.DeleteSettled(s.Context(), other, base.Add(-time.Second), 10)
	s.NoError(err)
	check.Equal(s, "deleted", n, 0)
}

// otherBusiness puts items of all kinds into another business.
func (s *suite) otherBusiness() {
	s.put(file("before", 4, "before"), file("own", 5, "own"), file("behind", 5, "behind"))
	s.NoError(s.a.Put(s.Context(), other, file("own", 4, "of another")))
	check.Equal(s, "file", string(s.head(4).Item.File), "before")
	check.Equal(s, "file", string(s.head(5).Item.File), "own")
	_, err := s.a.Acquire(s.Context(), other, outbox.Purpose, "other holder")
	s.NoError(err)
	for n, state := range []outbox.State{outbox.Queued, outbox.Sending, outbox.Sent, outbox.Sent, outbox.Failed, outbox.Uncertain} {
		key := fmt.Sprint("k", n)
		s.NoError(s.a.Put(s.Context(), other, text(key, chats.ChatID(5+n))))
		r, err := s.a.Item(s.Context(), other, key)
		s.NoError(err)
		r.State, r.Failure, r.DueAt = state, &outbox.Failure{Reason: "of another"}, base.Add(time.Duration(n%2)*time.Hour)
		if state.IsSettled() {
			r.SettledAt, r.Reported = base, n == 2
		}
		if state == outbox.Sent {
			r.Message.ID = 100 + chats.MessageID(n)
		}
		s.NoError(s.a.ResolveItem(s.Context(), &r))
	}
	backlog := s.backlog(base)
	check.Equal(s, "heads", len(backlog.Heads), 2)
	check.Equal(s, "unreported", len(backlog.Unreported), 0)
	s.SameTime("next report", backlog.NextReport, time.Time{})
	for chat := range chats.ChatID(10) {
		ids, err := s.b.PostedAs(s.Context(), business, chat, 0)
		s.NoError(err)
		check.Equal(s, "messages", len(ids), 0)
	}
	sum, err := s.b.Counts(s.Context(), business)
	s.NoError(err)
	check.Equal(s, "summary", sum, outbox.Summary{Queued: 3, Oldest: sum.Oldest})
	s.SameTime("oldest", sum.Oldest, s.item("before").QueuedAt)
	s.lease() // that of the other business does not matter
	s.put(text("k2", 3))
	r := s.item("k2")
	r.State, r.SettledAt, r.Reported = outbox.Discarded, base, true
	s.NoError(s.a.ResolveItem(s.Context(), &r))
	n, err := s.a.DeleteSettled(s.Context(), business, base.Add(time.Hour), 10)
	s.NoError(err)
	check.Equal(s, "deleted", n, 1)
	_, err = s.b.Item(s.Context(), other, "k2")
	s.NoError(err)
}

func (s *suite) endedContext() {
	lease := s.lease()
	s.put(text("k", 5))
	r := s.item("k")
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	for name, call := range map[string]func() error{
		"Put":           func() error { return s.a.Put(ctx, business, text("new", 5)) },
		"Item":          func() error { _, err := s.a.Item(ctx, business, "k"); return err },
		"Head":          func() error { _, err := s.a.Head(ctx, business, 5); return err },
		"Backlog":       func() error { _, err := s.a.Backlog(ctx, business, base); return err },
		"SaveItem":      func() error { return s.a.SaveItem(ctx, lease, &r) },
		"ResolveItem":   func() error { return s.a.ResolveItem(ctx, &r) },
		"PostedAs":      func() error { _, err := s.a.PostedAs(ctx, business, 5, 0); return err },
		"DeleteSettled": func() error { _, err := s.a.DeleteSettled(ctx, business, base, 1); return err },
		"Counts":        func() error { _, err := s.a.Counts(ctx, business); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			s.Errorf("%s: the error is %v", name, err)
		}
	}
	check.Equal(s, "version", s.item("k").Version, r.Version)
}
