// Package inboxtest tests implementations of inbox.Store against its contract.
package inboxtest

import (
	"context"
	"errors"
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
)

// TestStore runs the conformance tests. The function open must return two handles to the same new,
// empty store, as if two processes had opened it. If both implement [inbox.StepStore], the methods
// of that interface are tested as well. Some tests wait for a lease to expire, so open should
// return stores with short leases, for example of 1 or 2 s.
func TestStore(t *testing.T, open func(t *testing.T) (a, b inbox.Store)) {
	t.Helper()
	runTests(t, open, func(t *testing.T, test func(*testing.T)) { t.Helper(); test(t) })
}

// TestStoreInBubble runs the same tests as TestStore, each in a testing/synctest bubble, for
// stores that depend on nothing outside the process.
func TestStoreInBubble(t *testing.T, open func(t *testing.T) (a, b inbox.Store)) {
	t.Helper()
	runTests(t, open, synctest.Test)
}

func runTests(
	t *testing.T, open func(t *testing.T) (a, b inbox.Store), in func(*testing.T, func(*testing.T)),
) {
	t.Helper()
	for _, test := range []struct {
		name string
		run  func(*suite)
	}{
		{"an empty store", (*suite).empty},
		{"a chat's row is loaded as it was saved", (*suite).roundTrip},
		{"a business's row is loaded as it was saved", (*suite).businessRoundTrip},
		{"Chats returns the rows with the IDs", (*suite).chatsByID},
		{"Due returns pushes first, then orders by time", (*suite).due},
		{"Open returns the open chats", (*suite).open},
		{"Save compares the versions", (*suite).compareAndSet},
		{"Save is all or nothing", (*suite).allOrNothing},
		{"Save needs the lease", (*suite).saveNeedsLease},
		{"concurrent Saves and Wakes", (*suite).concurrentSaves},
		{"Wake creates a row", (*suite).wakeMakesRow},
		{"Wake never delays a poll", (*suite).wakeHastens},
		{"Wake keeps the due time of a failing chat", (*suite).wakeOfFailingChat},
		{"Wake between load and Save is kept", (*suite).wakeDuringWork},
		{"concurrent Wakes", (*suite).concurrentWakes},
		{"Summary", (*suite).summary},
		{"a lease excludes other holders", (*suite).leaseExcludes},
		{"leases of other businesses and purposes are independent", (*suite).leasesAreIndependent},
		{"a released lease is free immediately", (*suite).leaseReleased},
		{"a lease expires", (*suite).leaseExpires},
		{"a lease lasts while it is renewed", (*suite).leaseRenewed},
		{"Renew returns the earliest due time", (*suite).renewReturnsNext},
		{"AcquireBusiness takes the lease and reads the row", (*suite).acquireBusiness},
		{"ReleaseBusiness saves, releases and returns the earliest due time", (*suite).releaseBusiness},
		{"ReleaseBusiness is all or nothing", (*suite).releaseNothing},
		{"businesses are separate", (*suite).businessesAreSeparate},
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
// truncate times to those, and before the clock of a bubble, because Wake may not accept later times.
var base = time.Date(1999, 11, 25, 12, 0, 0, 123456000, time.UTC)

type suite struct {
	check.T

	a, b inbox.Store
}

func (s *suite) acquire(store inbox.Store, id chats.BusinessID, holder string) inbox.Lease {
	s.Helper()
	lease, err := store.Acquire(s.Context(), id, inbox.Purpose, holder)
	s.NoError(err)
	return lease
}

func (s *suite) save(lease inbox.Lease, rows ...inbox.ChatState) []inbox.ChatState {
	s.Helper()
	s.NoError(s.a.Save(s.Context(), lease, nil, rows))
	return rows
}

// load returns the row of a chat through the other handle.
func (s *suite) load(id chats.ChatID) inbox.ChatState {
	s.Helper()
	rows, err := s.b.Chats(s.Context(), business, []chats.ChatID{id})
	s.NoError(err)
	if len(rows) != 1 {
		s.Fatalf("%d rows of chat %d", len(rows), id)
	}
	return rows[0]
}

func (s *suite) dueIDs(at time.Time, limit int) []chats.ChatID {
	s.Helper()
	rows, err := s.b.Due(s.Context(), business, at, limit)
	s.NoError(err)
	return ids(rows)
}

func ids(rows []inbox.ChatState) []chats.ChatID {
	var all []chats.ChatID
	for i := range rows {
		all = append(all, rows[i].Chat)
	}
	return all
}

func (s *suite) empty() {
	state, err := s.a.Business(s.Context(), business)
	s.NoError(err)
	check.Equal(s, "version", state.Version, int64(0))
	check.Equal(s, "start time is zero", state.StartTime.IsZero(), true)
	rows, err := s.a.Chats(s.Context(), business, []chats.ChatID{1, 2})
	s.NoError(err)
	check.Equal(s, "rows", len(rows), 0)
	rows, err = s.a.Chats(s.Context(), business, nil)
	s.NoError(err)
	check.Equal(s, "rows of no ids", len(rows), 0)
	check.Equal(s, "due rows", len(s.dueIDs(base, 10)), 0)
	open, err := s.a.Open(s.Context(), business)
	s.NoError(err)
	check.Equal(s, "open chats", len(open), 0)
	sum, err := s.a.Summary(s.Context(), business, base)
	s.NoError(err)
	check.Equal(s, "chats", sum.Chats, 0)
	check.Equal(s, "holder", sum.Holder, "")
	check.Equal(s, "oldest due is zero", sum.OldestDue.IsZero(), true)
}

// fullRow has every field set.
func fullRow(id chats.ChatID) inbox.ChatState {
	return inbox.ChatState{
		Chat: id,
		Snapshot: chats.Chat{
			ID: id, Type: chats.ChatTypeArbitrage, Status: "A_NEW_STATUS",
			Subject:  chats.Subject{Kind: chats.SubjectReturn, Order: 1, Return: 2},
			Customer: chats.Customer{Name: "Anna \x01 \"Ж\" 🙂", PublicID: "p"}, Campaign: 3,
			CreatedAt: base.Add(-time.Hour), UpdatedAt: base,
		},
		SeenWakes: 0, Open: true, Read: true, Checkpoint: math.MaxInt64 - 1,
		Handled:   []chats.MessageID{math.MaxInt64, 1, 1 << 53},
		UpdatedAt: base.Add(time.Microsecond), SeenAt: base.Add(2 * time.Microsecond), Explained: true, Unexplained: 3,
		DueAt: base.Add(3 * time.Microsecond), Head: 1<<53 + 1, Attempts: 4, FailingSince: base.Add(-time.Minute), RefusedSince: base.Add(-time.Second), Failure: "it's \\broken\" ✗",
	}
}

func (s *suite) roundTrip() {
	lease := s.acquire(s.a, business, "a")
	want := fullRow(1)
	check.Equal(s, "version after Save", s.save(lease, want)[0].Version, int64(1))
	got := s.load(1)
	s.equalRow(got, want)
	want.Handled[0], s.load(1).Handled[0] = 0, 0 // the store must have made copies
	s.equalRow(s.load(1), fullRow(1))
	empty := inbox.ChatState{Chat: 2}
	s.save(lease, empty)
	s.equalRow(s.load(2), empty)
	large := inbox.ChatState{Chat: 3, Failure: strings.Repeat("é", 256)}
	large.Snapshot.Customer.Name = strings.Repeat("Ж", 500)
	for n := range chats.MessageID(1000) {
		large.Handled = append(large.Handled, math.MaxInt64-1000+n)
	}
	s.save(lease, large)
	s.equalRow(s.load(3), large)
	got.DueAt, got.Handled, got.Snapshot.UpdatedAt = time.Time{}, nil, time.Time{}
	s.save(lease, got)
	s.equalRow(s.load(1), got)
}

func (s *suite) equalRow(got, want inbox.ChatState) {
	s.Helper()
	for _, c := range []struct {
		what      string
		got, want time.Time
	}{
		{"UpdatedAt", got.UpdatedAt, want.UpdatedAt},
		{"SeenAt", got.SeenAt, want.SeenAt},
		{"DueAt", got.DueAt, want.DueAt},
		{"FailingSince", got.FailingSince, want.FailingSince},
		{"RefusedSince", got.RefusedSince, want.RefusedSince},
		{"Snapshot.CreatedAt", got.Snapshot.CreatedAt, want.Snapshot.CreatedAt},
		{"Snapshot.UpdatedAt", got.Snapshot.UpdatedAt, want.Snapshot.UpdatedAt},
	} {
		s.SameTime(c.what, c.got, c.want)
	}
	if !slices.Equal(got.Handled, want.Handled) {
		s.Errorf("Handled: got %v, want %v", got.Handled, want.Handled)
	}
	plain := func(r inbox.ChatState) inbox.ChatState {
		r.Version, r.Handled = 0, nil
		r.UpdatedAt, r.SeenAt, r.DueAt, r.FailingSince, r.RefusedSince = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
		r.Snapshot.CreatedAt, r.Snapshot.UpdatedAt = time.Time{}, time.Time{}
		return r
	}
	g, w := plain(got), plain(want)
	check.Equal(s, "Snapshot", g.Snapshot, w.Snapshot)
	check.Equal(s, "Failure", g.Failure, w.Failure)
	check.Equal(s, "Checkpoint", g.Checkpoint, w.Checkpoint)
	check.Equal(s, "Head", g.Head, w.Head)
	check.Equal(s, "Attempts", g.Attempts, w.Attempts)
	check.Equal(s, "Unexplained", g.Unexplained, w.Unexplained)
	check.Equal(s, "Wakes", g.Wakes, w.Wakes)
	check.Equal(s, "SeenWakes", g.SeenWakes, w.SeenWakes)
	check.Equal(s, "Open, Read, Explained", [3]bool{g.Open, g.Read, g.Explained}, [3]bool{w.Open, w.Read, w.Explained})
}

func (s *suite) businessRoundTrip() {
	lease := s.acquire(s.a, business, "a")
	want := inbox.BusinessState{
		StartTime:   base,
		Incremental: inbox.SweepState{StartedAt: base, Token: strings.Repeat("tök\"en", 50), Pages: 3, Head: 4, Same: 1, Empty: 2, NextAt: base.Add(time.Second), Cost: 9},
		Full:        inbox.SweepState{FinishedAt: base, Restarts: 2, Failures: 1, Plain: true, CutShort: true, Digests: [10]uint64{1<<64 - 1}},
		Newest:      inbox.SweepState{NextAt: base},
		Handlers:    inbox.BreakerState{Failures: 1, Probes: 2, RetryAt: base.Add(time.Second)},
		Reads:       inbox.BreakerState{Failures: 3, Probes: 1, RetryAt: base},
		Usage:       map[chats.Operation]inbox.Usage{chats.OpGetChats: {Window: base, Requests: 5}},
		LastError:   strings.Repeat("é", 256), LastErrorAt: base,
	}
	s.NoError(s.a.Save(s.Context(), lease, &want, nil))
	check.Equal(s, "version after Save", want.Version, int64(1))
	want.Usage[chats.OpGetChats] = inbox.Usage{} // the store must have made a copy
	got, err := s.b.Business(s.Context(), business)
	s.NoError(err)
	inUTC(&got)
	check.Equal(s, "Version", got.Version, int64(1))
	s.SameTime("StartTime", got.StartTime, base)
	check.Equal(s, "Incremental", got.Incremental, want.Incremental)
	check.Equal(s, "Full", got.Full, want.Full)
	check.Equal(s, "Newest", got.Newest, want.Newest)
	check.Equal(s, "Handlers", got.Handlers, want.Handlers)
	check.Equal(s, "Reads", got.Reads, want.Reads)
	check.Equal(s, "Usage", got.Usage[chats.OpGetChats].Requests, 5)
	s.SameTime("its Window", got.Usage[chats.OpGetChats].Window, base)
	check.Equal(s, "LastError", got.LastError, want.LastError)
	s.SameTime("LastErrorAt", got.LastErrorAt, base)
	s.NoError(s.a.Save(s.Context(), lease, &got, nil))
	check.Equal(s, "Version after the second", got.Version, int64(2))
	s.ErrorIs(s.a.Save(s.Context(), lease, &inbox.BusinessState{}, nil), inbox.ErrConflict)
	s.ErrorIs(s.a.Save(s.Context(), lease, &want, nil), inbox.ErrConflict)
}

// inUTC converts the times of sweeps and breakers, which a store may return in another time zone.
func inUTC(state *inbox.BusinessState) {
	times := []*time.Time{&state.Handlers.RetryAt, &state.Reads.RetryAt}
	for _, sweep := range []*inbox.SweepState{&state.Incremental, &state.Full, &state.Newest} {
		times = append(times, &sweep.StartedAt, &sweep.NextAt, &sweep.FinishedAt)
	}
	for _, at := range times {
		*at = at.UTC()
	}
}

func (s *suite) chatsByID() {
	lease := s.acquire(s.a, business, "a")
	var all []chats.ChatID
	var rows []inbox.ChatState
	for id := range chats.ChatID(100) {
		all = append(all, id+1)
		rows = append(rows, inbox.ChatState{Chat: id + 1})
	}
	s.save(lease, rows...)
	got, err := s.b.Chats(s.Context(), business, all)
	s.NoError(err)
	check.Equal(s, "rows", len(got), 100)
	got, err = s.b.Chats(s.Context(), business, []chats.ChatID{55, 1000, 3})
	s.NoError(err)
	found := ids(got)
	slices.Sort(found)
	check.Slices(s, "rows of known ids", found, []chats.ChatID{3, 55})
}

func (s *suite) due() {
	lease := s.acquire(s.a, business, "a")
	s.save(lease,
		inbox.ChatState{Chat: 1, DueAt: base.Add(2 * time.Second)},
		inbox.ChatState{Chat: 2, DueAt: base.Add(time.Second)},
		inbox.ChatState{Chat: 3, DueAt: base.Add(3*time.Second + time.Microsecond)},
		inbox.ChatState{Chat: 4},
		inbox.ChatState{Chat: 5, DueAt: base.Add(time.Hour)},
		inbox.ChatState{Chat: 6, DueAt: base.Add(3 * time.Second)},
		inbox.ChatState{Chat: 7, DueAt: base.Add(time.Hour), FailingSince: base, Attempts: 1},
		inbox.ChatState{Chat: 8, DueAt: base.Add(1250 * time.Millisecond), FailingSince: base, Attempts: 1},
		inbox.ChatState{Chat: 9, DueAt: base.Add(1500 * time.Millisecond), FailingSince: base, Snapshot: chats.Chat{ID: 9}},
	)
	at := base.Add(3 * time.Second)
	check.Slices(s, "due", s.dueIDs(at, 10), []chats.ChatID{2, 8, 9, 1, 6})
	check.Slices(s, "the first two", s.dueIDs(at, 2), []chats.ChatID{2, 8})
	s.NoError(s.b.Wake(s.Context(), business, 6, base.Add(2500*time.Millisecond)))
	s.NoError(s.b.Wake(s.Context(), business, 5, at))
	s.NoError(s.b.Wake(s.Context(), business, 7, base)) // which is not due yet
	check.Slices(s, "pushes come first", s.dueIDs(at, 10), []chats.ChatID{6, 5, 2, 8, 9, 1})
	check.Slices(s, "even if there are more rows than the limit", s.dueIDs(at, 1), []chats.ChatID{6})
	for _, id := range []chats.ChatID{5, 6} {
		woken := s.load(id)
		woken.SeenWakes = woken.Wakes
		s.save(lease, woken)
	}
	check.Slices(s, "one that was seen does not", s.dueIDs(at, 10), []chats.ChatID{2, 8, 9, 1, 6, 5})
}

func (s *suite) open() {
	lease := s.acquire(s.a, business, "a")
	rows := s.save(lease, inbox.ChatState{Chat: 1, Open: true}, inbox.ChatState{Chat: 2}, inbox.ChatState{Chat: 3, Open: true},
		inbox.ChatState{Chat: 4, Snapshot: chats.Chat{ID: 4, Status: chats.StatusNew}, DueAt: base})
	open, err := s.b.Open(s.Context(), business)
	s.NoError(err)
	slices.Sort(open)
	check.Slices(s, "open", open, []chats.ChatID{1, 3})
	rows[0].Open = false
	s.save(lease, rows[0])
	open, err = s.b.Open(s.Context(), business)
	s.NoError(err)
	check.Slices(s, "still open", open, []chats.ChatID{3})
}

func (s *suite) compareAndSet() {
	lease := s.acquire(s.a, business, "a")
	s.save(lease, inbox.ChatState{Chat: 1, Checkpoint: 10})
	s.ErrorIs(s.a.Save(s.Context(), lease, nil, []inbox.ChatState{{Chat: 1, Checkpoint: 11}}), inbox.ErrConflict)
	s.ErrorIs(s.a.Save(s.Context(), lease, nil, []inbox.ChatState{{Chat: 2, Version: 1}}), inbox.ErrConflict)
	row := s.load(1)
	stale := row
	row.Checkpoint = 12
	check.Equal(s, "version", s.save(lease, row)[0].Version, int64(2))
	stale.Checkpoint = 13
	s.ErrorIs(s.a.Save(s.Context(), lease, nil, []inbox.ChatState{stale}), inbox.ErrConflict)
	check.Equal(s, "checkpoint", s.load(1).Checkpoint, 12)
}

func (s *suite) allOrNothing() {
	lease := s.acquire(s.a, business, "a")
	rows := s.save(lease, inbox.ChatState{Chat: 1}, inbox.ChatState{Chat: 2})
	for _, bad := range []int{0, 1} {
		changed := []inbox.ChatState{rows[0], rows[1]}
		changed[0].Checkpoint, changed[1].Checkpoint = 5, 5
		changed[bad].Version = 9
		unsaved := inbox.BusinessState{LastError: "x"}
		s.ErrorIs(s.a.Save(s.Context(), lease, &unsaved, changed), inbox.ErrConflict)
		check.Equal(s, "version in the argument", unsaved.Version, int64(0))
		check.Equal(s, "checkpoint of 1", s.load(1).Checkpoint, 0)
		check.Equal(s, "checkpoint of 2", s.load(2).Checkpoint, 0)
		state, err := s.b.Business(s.Context(), business)
		s.NoError(err)
		check.Equal(s, "version of the business", state.Version, int64(0))
	}
	rows[0].Checkpoint = 5
	s.ErrorIs(s.a.Save(s.Context(), lease, &inbox.BusinessState{Version: 3}, rows[:1]), inbox.ErrConflict)
	check.Equal(s, "checkpoint of 1", s.load(1).Checkpoint, 0)
}

func (s *suite) saveNeedsLease() {
	row := []inbox.ChatState{{Chat: 1}}
	s.ErrorIs(s.a.Save(s.Context(), inbox.Lease{Business: business, Purpose: inbox.Purpose, Holder: "a", Token: 1}, nil, row), inbox.ErrLeaseLost)
	lease := s.acquire(s.a, business, "a")
	for _, foreign := range []inbox.Lease{
		{Business: business, Purpose: inbox.Purpose, Holder: "a", Token: lease.Token + 1},
		{Business: business, Purpose: "outbox", Holder: "a", Token: lease.Token},
		{Business: other, Purpose: inbox.Purpose, Holder: "a", Token: lease.Token},
	} {
		s.ErrorIs(s.a.Save(s.Context(), foreign, &inbox.BusinessState{}, row), inbox.ErrLeaseLost)
	}
	s.NoError(s.a.Save(s.Context(), lease, nil, nil)) // which needs no rows
	s.NoError(s.a.Release(s.Context(), lease))
	s.ErrorIs(s.a.Save(s.Context(), lease, nil, row), inbox.ErrLeaseLost)
	s.acquire(s.b, business, "b")
	s.ErrorIs(s.a.Save(s.Context(), lease, nil, row), inbox.ErrLeaseLost)
	rows, err := s.a.Chats(s.Context(), business, []chats.ChatID{1})
	s.NoError(err)
	check.Equal(s, "rows", len(rows), 0)
	check.Equal(s, "version in the argument", row[0].Version, int64(0))
}

func (s *suite) concurrentSaves() {
	lease := s.acquire(s.a, business, "a")
	s.save(lease, inbox.ChatState{Chat: 1})
	const workers, times = 4, 10
	var all sync.WaitGroup
	for n := range workers {
		store := []inbox.Store{s.a, s.b}[n%2]
		all.Go(func() {
			for range times {
				if err := increment(s.Context(), store, lease); err != nil {
					s.Error(err)
					return
				}
				if err := store.Wake(s.Context(), business, 1, base); err != nil {
					s.Error(err)
				}
			}
		})
	}
	all.Wait()
	check.Equal(s, "increments", s.load(1).Attempts, workers*times)
	check.Equal(s, "Wakes", s.load(1).Wakes, int64(workers*times))
}

func increment(ctx context.Context, store inbox.Store, lease inbox.Lease) error {
	for {
		rows, err := store.Chats(ctx, business, []chats.ChatID{1})
		if err != nil {
			return err
		}
		rows[0].Attempts++
		if err := store.Save(ctx, lease, nil, rows); !errors.Is(err, inbox.ErrConflict) {
			return err
		}
		if _, err := store.Renew(ctx, lease); err != nil {
			return err
		}
	}
}

func (s *suite) wakeMakesRow() {
	s.NoError(s.a.Wake(s.Context(), business, 1, base))
	row := s.load(1)
	check.Equal(s, "Version", row.Version, int64(0))
	check.Equal(s, "Wakes", row.Wakes, int64(1))
	s.SameTime("DueAt", row.DueAt, base)
	check.Slices(s, "due", s.dueIDs(base, 10), []chats.ChatID{1})
	state, err := s.a.Business(s.Context(), business)
	s.NoError(err)
	check.Equal(s, "Version of the business, which has no row", state.Version, int64(0))
	check.Equal(s, "its DueAt is zero", state.DueAt.IsZero(), true)
	lease := s.acquire(s.a, business, "a")
	next, err := s.a.Renew(s.Context(), lease)
	s.NoError(err)
	s.SameTime("the earliest", next, base)
	s.NoError(s.a.Save(s.Context(), lease, &state, nil))
	state, err = s.a.Business(s.Context(), business)
	s.NoError(err)
	s.SameTime("DueAt of the business", state.DueAt, base)
	check.Equal(s, "StartTime and LastErrorAt are zero", state.StartTime.IsZero() && state.LastErrorAt.IsZero(), true)
	s.save(lease, inbox.ChatState{Chat: 1, Checkpoint: 5}) // by a sweep that found no row
	row = s.load(1)
	check.Equal(s, "Version", row.Version, int64(1))
	check.Equal(s, "Wakes", row.Wakes, int64(1))
	s.SameTime("DueAt is the push's", row.DueAt, base)
}

func (s *suite) wakeHastens() {
	lease := s.acquire(s.a, business, "a")
	s.save(lease, inbox.ChatState{Chat: 1, DueAt: base}, inbox.ChatState{Chat: 2})
	for n, at := range []time.Time{base.Add(time.Minute), base.Add(-time.Minute), base} {
		s.NoError(s.b.Wake(s.Context(), business, 1, at))
		check.Equal(s, "Wakes", s.load(1).Wakes, int64(n+1))
	}
	s.SameTime("the earliest", s.load(1).DueAt, base.Add(-time.Minute))
	s.NoError(s.b.Wake(s.Context(), business, 2, base))
	s.equalRow(s.load(2), inbox.ChatState{Chat: 2, Wakes: 1, DueAt: base}) // it was not due
	check.Equal(s, "Version", s.load(2).Version, int64(1))
	want := fullRow(3)
	s.save(lease, want)
	s.NoError(s.b.Wake(s.Context(), business, 3, base))
	want.Wakes = 1
	s.equalRow(s.load(3), want)
}

func (s *suite) wakeOfFailingChat() {
	lease := s.acquire(s.a, business, "a")
	s.save(lease,
		inbox.ChatState{Chat: 1, DueAt: base, FailingSince: base, Attempts: 1},
		inbox.ChatState{Chat: 2, FailingSince: base, Attempts: 1},
		inbox.ChatState{Chat: 3, DueAt: base, FailingSince: base})
	for _, id := range []chats.ChatID{1, 2, 3} {
		s.NoError(s.b.Wake(s.Context(), business, id, base.Add(-time.Minute)))
		check.Equal(s, "Wakes", s.load(id).Wakes, int64(1))
	}
	s.SameTime("its next attempt", s.load(1).DueAt, base)
	s.SameTime("of one that has none", s.load(2).DueAt, base.Add(-time.Minute))
	s.SameTime("of one that could not be read", s.load(3).DueAt, base.Add(-time.Minute))
}

func (s *suite) wakeDuringWork() {
	lease := s.acquire(s.a, business, "a")
	for n, c := range []struct {
		wake, saved time.Time
		attempts    int
		want        time.Time
	}{
		{wake: base, saved: time.Time{}, want: base},
		{wake: base, saved: base.Add(time.Hour), want: base},
		{wake: base.Add(time.Hour), saved: base, want: base},
		{wake: base, saved: base.Add(time.Hour), attempts: 1, want: base.Add(time.Hour)},
		{wake: base, saved: time.Time{}, attempts: 1, want: base},
	} {
		row := s.save(lease, inbox.ChatState{Chat: chats.ChatID(n + 1)})[0]
		s.NoError(s.b.Wake(s.Context(), business, row.Chat, c.wake))
		row.DueAt, row.Attempts, row.Checkpoint = c.saved, c.attempts, 5
		row = s.save(lease, row)[0]
		stored := s.load(row.Chat)
		s.SameTime("DueAt", stored.DueAt, c.want)
		check.Equal(s, "Wakes", stored.Wakes, int64(1))
		check.Equal(s, "SeenWakes", stored.SeenWakes, int64(0))
		check.Equal(s, "Checkpoint", stored.Checkpoint, 5)
		row.DueAt = time.Time{}
		s.save(lease, row) // loaded before the push
		s.SameTime("DueAt after another Save", s.load(row.Chat).DueAt, c.want)
		row = s.load(row.Chat)
		s.NoError(s.b.Wake(s.Context(), business, row.Chat, base.Add(-time.Minute)))
		row.DueAt, row.Attempts, row.SeenWakes = time.Time{}, 0, row.Wakes
		s.save(lease, row) // loaded before the second push
		stored = s.load(row.Chat)
		if c.attempts == 0 {
			c.want = base.Add(-time.Minute)
		}
		s.SameTime("DueAt after a second push", stored.DueAt, c.want)
		check.Equal(s, "Wakes and SeenWakes", [2]int64{stored.Wakes, stored.SeenWakes}, [2]int64{2, 1})
	}
}

func (s *suite) concurrentWakes() {
	lease := s.acquire(s.a, business, "a")
	const workers, times = 4, 10
	var all sync.WaitGroup
	for n := range workers {
		store := []inbox.Store{s.a, s.b}[n%2]
		all.Go(func() {
			for range times {
				if err := store.Wake(s.Context(), business, 1, base); err != nil {
					s.Error(err)
				}
			}
		})
	}
	all.Wait()
	row := s.load(1)
	check.Equal(s, "Wakes", row.Wakes, int64(workers*times))
	row.SeenWakes, row.DueAt = row.Wakes, time.Time{}
	s.save(lease, row)
	check.Equal(s, "due", len(s.dueIDs(base, 10)), 0)
}

func (s *suite) summary() {
	lease := s.acquire(s.a, business, "holder/1")
	rows := []inbox.ChatState{
		{Chat: 1, DueAt: base},
		{Chat: 2, DueAt: base.Add(time.Hour)},
		{Chat: 3},
		{Chat: 4, DueAt: base.Add(-time.Hour)},
		{Chat: 500, FailingSince: base, Failure: "broken", Head: 7, Attempts: 3, Handled: []chats.MessageID{6}},
	}
	for id := range chats.ChatID(110) {
		rows = append(rows, inbox.ChatState{Chat: 100 + id, FailingSince: base.Add(time.Minute)})
	}
	s.save(lease, rows...)
	sum, err := s.b.Summary(s.Context(), business, base)
	s.NoError(err)
	check.Equal(s, "Chats", sum.Chats, 115)
	check.Equal(s, "Due", sum.Due, 2)
	s.SameTime("OldestDue", sum.OldestDue, base.Add(-time.Hour))
	check.Equal(s, "failing", len(sum.Failing), 100)
	check.Equal(s, "the first failing", sum.Failing[0].Chat, 500)
	s.equalRow(sum.Failing[0], rows[4])
	check.Equal(s, "Holder", sum.Holder, "holder/1")
	check.Equal(s, "HeldSince is set", sum.HeldSince.IsZero(), false)
	since := sum.HeldSince
	<-time.After(10 * time.Millisecond)
	_, err = s.a.Renew(s.Context(), lease)
	s.NoError(err)
	_, err = s.b.Acquire(s.Context(), business, "outbox", "another")
	s.NoError(err)
	sum, err = s.b.Summary(s.Context(), business, base)
	s.NoError(err)
	check.Equal(s, "Holder while there is a lease for another purpose", sum.Holder, "holder/1")
	s.SameTime("HeldSince after Renew", sum.HeldSince, since)
	s.SameTime("LeaseHeldError.Since after Renew", s.heldSince(inbox.Purpose), since)
	s.NoError(s.a.Release(s.Context(), lease))
	sum, err = s.b.Summary(s.Context(), business, base.Add(-2*time.Hour))
	s.NoError(err)
	check.Equal(s, "Holder after Release", sum.Holder, "")
	check.Equal(s, "nothing is due", sum.Due == 0 && sum.OldestDue.IsZero(), true)
	s.acquire(s.b, business, "holder/2")
	sum, err = s.b.Summary(s.Context(), business, base)
	s.NoError(err)
	check.Equal(s, "HeldSince of the next holder is later", sum.HeldSince.After(since), true)
}

// heldSince returns when a lease was acquired. It ends the test if the lease is free.
func (s *suite) heldSince(purpose string) time.Time {
	s.Helper()
	_, err := s.b.Acquire(s.Context(), business, purpose, "rival")
	var held *inbox.LeaseHeldError
	if !errors.As(err, &held) {
		s.Fatalf("%v is not a LeaseHeldError", err)
	}
	return held.Since
}

func (s *suite) leaseExcludes() {
	lease := s.acquire(s.a, business, "a")
	check.Equal(s, "Business", lease.Business, business)
	check.Equal(s, "Purpose", lease.Purpose, inbox.Purpose)
	check.Equal(s, "Holder", lease.Holder, "a")
	check.Equal(s, "Duration is positive", lease.Duration > 0, true)
	for _, holder := range []string{"a", "b"} {
		_, err := s.b.Acquire(s.Context(), business, inbox.Purpose, holder)
		s.ErrorIs(err, inbox.ErrLeaseHeld)
		var held *inbox.LeaseHeldError
		if !errors.As(err, &held) {
			s.Fatalf("%v is not a LeaseHeldError", err)
		}
		check.Equal(s, "held by", held.Holder, "a")
		check.Equal(s, "expires in time", held.ExpiresIn > 0 && held.ExpiresIn <= lease.Duration, true)
		check.Equal(s, "Since is set", held.Since.IsZero(), false)
	}
	const rivals = 8
	var all sync.WaitGroup
	won := make(chan string, rivals)
	for n := range rivals {
		all.Go(func() {
			if _, err := []inbox.Store{s.a, s.b}[n%2].Acquire(s.Context(), other, inbox.Purpose, "rival"); err == nil {
				won <- "rival"
			} else if !errors.Is(err, inbox.ErrLeaseHeld) {
				s.Error(err)
			}
		})
	}
	all.Wait()
	check.Equal(s, "winners", len(won), 1)
}

func (s *suite) leasesAreIndependent() {
	lease := s.acquire(s.a, business, "a")
	s.acquire(s.b, other, "b")
	outbox, err := s.b.Acquire(s.Context(), business, "outbox", "a")
	s.NoError(err)
	s.NoError(s.b.Release(s.Context(), outbox))
	s.heldSince(inbox.Purpose)
	outbox, err = s.b.Acquire(s.Context(), business, "outbox", "a")
	s.NoError(err)
	for range 5 {
		_, err := s.b.Renew(s.Context(), outbox)
		s.NoError(err)
		<-time.After(lease.Duration / 4)
	}
	s.acquire(s.b, business, "b") // the first lease was not renewed
	s.heldSince("outbox")
}

func (s *suite) leaseReleased() {
	first := s.acquire(s.a, business, "a")
	s.NoError(s.a.Release(s.Context(), first))
	second := s.acquire(s.b, business, "b")
	check.Equal(s, "the token grows", second.Token > first.Token, true)
	s.NoError(s.a.Release(s.Context(), first)) // again: this must not release the second lease
	_, err := s.a.Acquire(s.Context(), business, inbox.Purpose, "a")
	s.ErrorIs(err, inbox.ErrLeaseHeld)
	_, err = s.a.Renew(s.Context(), first)
	s.ErrorIs(err, inbox.ErrLeaseLost)
	s.NoError(s.b.Save(s.Context(), second, &inbox.BusinessState{}, nil))
	s.NoError(s.b.Release(s.Context(), second))
	third := s.acquire(s.a, business, "a")
	check.Equal(s, "the token grows for the same holder", third.Token > second.Token, true)
	_, err = s.a.Renew(s.Context(), first)
	s.ErrorIs(err, inbox.ErrLeaseLost)
	s.ErrorIs(s.a.Save(s.Context(), first, nil, []inbox.ChatState{{Chat: 1}}), inbox.ErrLeaseLost)
	s.NoError(s.a.Release(s.Context(), first))
	s.heldSince(inbox.Purpose)
	s.NoError(s.a.Release(s.Context(), third))
	fourth := s.acquire(s.a, business, "a")
	check.Equal(s, "the token grows for the next lease of a holder", fourth.Token > third.Token, true)
}

// awaitExpiry acquires the lease as soon as the old one has expired.
func (s *suite) awaitExpiry(old inbox.Lease) inbox.Lease {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 2*old.Duration+10*time.Second)
	defer cancel()
	for {
		lease, err := s.b.Acquire(ctx, business, inbox.Purpose, "b")
		if err == nil {
			return lease
		}
		s.ErrorIs(err, inbox.ErrLeaseHeld)
		<-time.After(old.Duration / 20)
	}
}

func (s *suite) leaseExpires() {
	first := s.acquire(s.a, business, "a")
	acquired := time.Now()
	second := s.awaitExpiry(first)
	// The clocks of two machines may run at slightly different rates.
	check.Equal(s, "it lasted", time.Since(acquired) > first.Duration*9/10, true)
	check.Equal(s, "the token grows", second.Token > first.Token, true)
	_, err := s.a.Renew(s.Context(), first)
	s.ErrorIs(err, inbox.ErrLeaseLost)
	s.ErrorIs(s.a.Save(s.Context(), first, &inbox.BusinessState{}, nil), inbox.ErrLeaseLost)
	s.NoError(s.a.Release(s.Context(), first))
	s.NoError(s.b.Save(s.Context(), second, &inbox.BusinessState{}, nil))
}

func (s *suite) leaseRenewed() {
	lease := s.acquire(s.a, business, "a")
	for range 8 {
		<-time.After(lease.Duration / 4)
		_, err := s.a.Renew(s.Context(), lease)
		s.NoError(err)
		_, err = s.b.Acquire(s.Context(), business, inbox.Purpose, "b")
		s.ErrorIs(err, inbox.ErrLeaseHeld)
	}
	s.NoError(s.a.Save(s.Context(), lease, &inbox.BusinessState{}, nil))
	renewed := time.Now()
	_, err := s.a.Renew(s.Context(), lease)
	s.NoError(err)
	<-time.After(lease.Duration * 85 / 100)
	if _, err = s.b.Acquire(s.Context(), business, inbox.Purpose, "b"); time.Since(renewed) > lease.Duration*95/100 {
		return // the machine is busy
	}
	s.ErrorIs(err, inbox.ErrLeaseHeld)
	<-time.After(lease.Duration / 4)
	sum, err := s.b.Summary(s.Context(), business, base)
	s.NoError(err)
	check.Equal(s, "Holder after it expired", sum.Holder, "")
	_, err = s.a.Renew(s.Context(), lease)
	s.ErrorIs(err, inbox.ErrLeaseLost)
	s.ErrorIs(s.a.Save(s.Context(), lease, nil, []inbox.ChatState{{Chat: 1}}), inbox.ErrLeaseLost)
}

func (s *suite) renewReturnsNext() {
	lease := s.acquire(s.a, business, "a")
	next, err := s.a.Renew(s.Context(), lease)
	s.NoError(err)
	check.Equal(s, "nothing is due", next.IsZero(), true)
	s.save(lease, inbox.ChatState{Chat: 1, DueAt: base}, inbox.ChatState{Chat: 2, DueAt: base.Add(-time.Minute)}, inbox.ChatState{Chat: 3})
	next, err = s.a.Renew(s.Context(), lease)
	s.NoError(err)
	s.SameTime("the earliest", next, base.Add(-time.Minute))
	s.NoError(s.a.Save(s.Context(), lease, &inbox.BusinessState{DueAt: base}, nil))
	state, err := s.b.Business(s.Context(), business)
	s.NoError(err)
	s.SameTime("DueAt of the business", state.DueAt, base.Add(-time.Minute))
	s.NoError(s.b.Wake(s.Context(), business, 3, base.Add(-time.Hour)))
	s.NoError(s.b.Wake(s.Context(), other, 3, base.Add(-24*time.Hour)))
	next, err = s.a.Renew(s.Context(), lease)
	s.NoError(err)
	s.SameTime("another process's push", next, base.Add(-time.Hour))
}

// steps returns the handles of a store that is an inbox.StepStore.
func (s *suite) steps() (a, b inbox.StepStore) {
	s.Helper()
	a, isA := s.a.(inbox.StepStore)
	b, isB := s.b.(inbox.StepStore)
	if !isA || !isB {
		s.Skip("not an inbox.StepStore")
	}
	return a, b
}

func (s *suite) acquireBusiness() {
	a, b := s.steps()
	lease, state, err := a.AcquireBusiness(s.Context(), business, inbox.Purpose, "a")
	s.NoError(err)
	check.Equal(s, "Version without a row", state.Version, 0)
	check.Equal(s, "StartTime without a row", state.StartTime.IsZero(), true)
	check.Equal(s, "DueAt without a row", state.DueAt.IsZero(), true)
	s.NoError(s.a.Save(s.Context(), lease, &inbox.BusinessState{StartTime: base, LastError: "broken"},
		[]inbox.ChatState{{Chat: 1, DueAt: base.Add(time.Hour)}}))
	_, _, err = b.AcquireBusiness(s.Context(), business, inbox.Purpose, "b")
	var held *inbox.LeaseHeldError
	if !errors.As(err, &held) {
		s.Fatalf("%v is not a LeaseHeldError", err)
	}
	check.Equal(s, "held by", held.Holder, "a")
	check.Equal(s, "expires in time", held.ExpiresIn > 0 && held.ExpiresIn <= lease.Duration, true)
	s.NoError(s.a.Release(s.Context(), lease))
	again, state, err := b.AcquireBusiness(s.Context(), business, inbox.Purpose, "b")
	s.NoError(err)
	check.Equal(s, "the lease is complete", again, inbox.Lease{
		Business: business, Purpose: inbox.Purpose, Holder: "b", Token: again.Token, Duration: lease.Duration,
	})
	check.Equal(s, "the token grows", again.Token > lease.Token, true)
	check.Equal(s, "Version", state.Version, 1)
	check.Equal(s, "LastError", state.LastError, "broken")
	s.SameTime("StartTime", state.StartTime, base)
	s.SameTime("DueAt", state.DueAt, base.Add(time.Hour))
	s.NoError(s.b.Save(s.Context(), again, &state, nil))
}

func (s *suite) releaseBusiness() {
	a, b := s.steps()
	lease := s.acquire(s.a, business, "a")
	s.save(lease, inbox.ChatState{Chat: 1, DueAt: base}, inbox.ChatState{Chat: 2, DueAt: base.Add(-time.Minute)}, inbox.ChatState{Chat: 3})
	state := inbox.BusinessState{StartTime: base, LastError: "broken"}
	next, err := a.ReleaseBusiness(s.Context(), lease, &state)
	s.NoError(err)
	s.SameTime("the earliest", next, base.Add(-time.Minute))
	check.Equal(s, "Version after it", state.Version, 1)
	lease, state, err = b.AcquireBusiness(s.Context(), business, inbox.Purpose, "b")
	s.NoError(err)
	check.Equal(s, "LastError", state.LastError, "broken")
	next, err = b.ReleaseBusiness(s.Context(), lease, nil)
	s.NoError(err)
	s.SameTime("the earliest, without a row to save", next, base.Add(-time.Minute))
	lease = s.acquire(s.a, other, "a")
	next, err = a.ReleaseBusiness(s.Context(), lease, nil)
	s.NoError(err)
	check.Equal(s, "nothing is due", next.IsZero(), true)
	s.acquire(s.b, other, "b")
}

func (s *suite) releaseNothing() {
	a, _ := s.steps()
	lease := s.acquire(s.a, business, "a")
	_, err := a.ReleaseBusiness(s.Context(), lease, &inbox.BusinessState{Version: 1, LastError: "conflicting"})
	s.ErrorIs(err, inbox.ErrConflict)
	_, err = s.b.Acquire(s.Context(), business, inbox.Purpose, "b")
	s.ErrorIs(err, inbox.ErrLeaseHeld)
	s.NoError(s.a.Release(s.Context(), lease))
	for _, state := range []*inbox.BusinessState{nil, {LastError: "late"}} {
		_, err = a.ReleaseBusiness(s.Context(), lease, state)
		s.ErrorIs(err, inbox.ErrLeaseLost)
	}
	second := s.acquire(s.b, business, "a") // the same holder
	_, err = a.ReleaseBusiness(s.Context(), lease, &inbox.BusinessState{LastError: "late"})
	s.ErrorIs(err, inbox.ErrLeaseLost)
	stored, err := s.a.Business(s.Context(), business)
	s.NoError(err)
	check.Equal(s, "LastError", stored.LastError, "")
	_, err = s.b.Renew(s.Context(), second)
	s.NoError(err)
}

func (s *suite) businessesAreSeparate() {
	lease, theirs := s.acquire(s.a, business, "a"), s.acquire(s.b, other, "b")
	s.save(lease, inbox.ChatState{Chat: 1, Open: true, DueAt: base, Checkpoint: 1, FailingSince: base})
	s.NoError(s.b.Save(s.Context(), theirs, &inbox.BusinessState{LastError: "theirs"},
		[]inbox.ChatState{{Chat: 1, Checkpoint: 2}}))
	check.Equal(s, "checkpoint", s.load(1).Checkpoint, 1)
	rows, err := s.a.Due(s.Context(), other, base, 10)
	s.NoError(err)
	check.Equal(s, "due", len(rows), 0)
	open, err := s.a.Open(s.Context(), other)
	s.NoError(err)
	check.Equal(s, "open", len(open), 0)
	state, err := s.a.Business(s.Context(), business)
	s.NoError(err)
	check.Equal(s, "LastError", state.LastError, "")
	sum, err := s.a.Summary(s.Context(), other, base)
	s.NoError(err)
	check.Equal(s, "holder", sum.Holder, "b")
	check.Equal(s, "chats, due and failing", [3]int{sum.Chats, sum.Due, len(sum.Failing)}, [3]int{1, 0, 0})
}

func (s *suite) endedContext() {
	lease := s.acquire(s.a, business, "a")
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	for name, call := range map[string]func() error{
		"Business": func() error { _, err := s.a.Business(ctx, business); return err },
		"Chats":    func() error { _, err := s.a.Chats(ctx, business, []chats.ChatID{1}); return err },
		"Due":      func() error { _, err := s.a.Due(ctx, business, base, 1); return err },
		"Open":     func() error { _, err := s.a.Open(ctx, business); return err },
		"Save":     func() error { return s.a.Save(ctx, lease, &inbox.BusinessState{}, []inbox.ChatState{{Chat: 1}}) },
		"Wake":     func() error { return s.a.Wake(ctx, business, 1, base) },
		"Summary":  func() error { _, err := s.a.Summary(ctx, business, base); return err },
		"Acquire":  func() error { _, err := s.a.Acquire(ctx, other, inbox.Purpose, "b"); return err },
		"Renew":    func() error { _, err := s.a.Renew(ctx, lease); return err },
		"Release":  func() error { return s.a.Release(ctx, lease) },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			s.Errorf("%s: the error is %v", name, err)
		}
	}
	_, err := s.b.Chats(s.Context(), business, []chats.ChatID{1})
	s.NoError(err)
	s.acquire(s.b, other, "b")
}
