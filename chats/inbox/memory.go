package inbox

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
)

// MemoryStore is a [Store] in memory, for tests and for programs that may start from scratch
// every time. Its leases work only within one process.
type MemoryStore struct {
	mu         sync.Mutex
	businesses map[chats.BusinessID]*memoryBusiness
	leases     leasing.Memory
}

var _ Store = (*MemoryStore)(nil)

type memoryBusiness struct {
	state BusinessState
	rows  map[chats.ChatID]*ChatState
	due   []*ChatState // rows with a DueAt, the earliest first
}

const maxFailing = 100

// NewMemoryStore returns an empty store with leases of 5 s. The zero value is also ready to use.
func NewMemoryStore() *MemoryStore { return new(MemoryStore) }

// locked calls do with the state of a business while the store is locked.
func (s *MemoryStore) locked(ctx context.Context, business chats.BusinessID, do func(*memoryBusiness) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.businesses[business]
	if b == nil {
		if s.businesses == nil {
			s.businesses = map[chats.BusinessID]*memoryBusiness{}
		}
		b = &memoryBusiness{rows: map[chats.ChatID]*ChatState{}}
		s.businesses[business] = b
	}
	return do(b)
}

// Business implements [Store].
func (s *MemoryStore) Business(ctx context.Context, business chats.BusinessID) (BusinessState, error) {
	var state BusinessState
	err := s.locked(ctx, business, func(b *memoryBusiness) error {
		state = b.state
		state.Usage = maps.Clone(state.Usage)
		if state.DueAt = (time.Time{}); state.Version > 0 && len(b.due) > 0 {
			state.DueAt = b.due[0].DueAt
		}
		return nil
	})
	return state, err
}

// Chats implements [Store].
func (s *MemoryStore) Chats(ctx context.Context, business chats.BusinessID, ids []chats.ChatID) ([]ChatState, error) {
	rows := make([]ChatState, 0, len(ids))
	err := s.locked(ctx, business, func(b *memoryBusiness) error {
		for _, id := range ids {
			if row := b.rows[id]; row != nil {
				rows = append(rows, row.clone())
			}
		}
		return nil
	})
	return rows, err
}

// Due implements [Store].
func (s *MemoryStore) Due(
	ctx context.Context, business chats.BusinessID, at time.Time, limit int,
) (rows []ChatState, err error) {
	err = s.locked(ctx, business, func(b *memoryBusiness) error {
		due := b.due[:b.dueAt(at)]
		for _, woken := range []bool{true, false} {
			for n := 0; n < len(due) && len(rows) < limit; n++ {
				if due[n].isWoken() == woken {
					rows = append(rows, due[n].clone())
				}
			}
		}
		return nil
	})
	return rows, err
}

func (s *ChatState) isWoken() bool { return s.Wakes != s.SeenWakes }

// Open implements [Store].
func (s *MemoryStore) Open(ctx context.Context, business chats.BusinessID) (open []chats.ChatID, err error) {
	err = s.locked(ctx, business, func(b *memoryBusiness) error {
		for id, row := range b.rows {
			if row.Open {
				open = append(open, id)
			}
		}
		return nil
	})
	return open, err
}

// Save implements [Store].
func (s *MemoryStore) Save(ctx context.Context, lease Lease, business *BusinessState, rows []ChatState) error {
	return s.locked(ctx, lease.Business, func(b *memoryBusiness) error {
		if !s.holds(lease) {
			return ErrLeaseLost
		}
		if business != nil && business.Version != b.state.Version {
			return ErrConflict
		}
		for i := range rows {
			if row := b.rows[rows[i].Chat]; row == nil && rows[i].Version != 0 || row != nil && row.Version != rows[i].Version {
				return ErrConflict
			}
		}
		if business != nil {
			business.Version++
			b.state = *business
			b.state.Usage = maps.Clone(business.Usage)
		}
		for i := range rows {
			rows[i].Version++
			row := rows[i].clone()
			if stored := b.rows[row.Chat]; stored != nil && stored.Wakes != row.Wakes { // a push after the row was loaded
				row.Wakes = stored.Wakes
				row.hasten(stored.DueAt)
			}
			b.put(row)
		}
		return nil
	})
}

// Wake implements [Store].
func (s *MemoryStore) Wake(ctx context.Context, business chats.BusinessID, chat chats.ChatID, at time.Time) error {
	return s.locked(ctx, business, func(b *memoryBusiness) error {
		row := ChatState{Chat: chat}
		if known := b.rows[chat]; known != nil {
			row = *known
		}
		row.Wakes++
		row.hasten(at)
		b.put(row)
		return nil
	})
}

// Summary implements [Store].
func (s *MemoryStore) Summary(ctx context.Context, business chats.BusinessID, at time.Time) (Summary, error) {
	var sum Summary
	err := s.locked(ctx, business, func(b *memoryBusiness) error {
		sum = Summary{Chats: len(b.rows), Due: b.dueAt(at)}
		if sum.Due > 0 {
			sum.OldestDue = b.due[0].DueAt
		}
		for _, row := range b.rows {
			if !row.FailingSince.IsZero() {
				sum.Failing = append(sum.Failing, row.clone())
			}
		}
		slices.SortFunc(sum.Failing, func(a, b ChatState) int {
			return cmp.Or(a.FailingSince.Compare(b.FailingSince), cmp.Compare(a.Chat, b.Chat))
		})
		sum.Failing = sum.Failing[:min(len(sum.Failing), maxFailing)]
		sum.Holder, sum.HeldSince = s.leases.Holder(business, Purpose)
		return nil
	})
	return sum, err
}

// Acquire implements [Store].
func (s *MemoryStore) Acquire(ctx context.Context, business chats.BusinessID, purpose, holder string) (Lease, error) {
	var lease Lease
	err := s.locked(ctx, business, func(*memoryBusiness) error {
		token, held := s.leases.Acquire(business, purpose, holder)
		if held != nil {
			return (*LeaseHeldError)(held)
		}
		lease = Lease{Business: business, Purpose: purpose, Holder: holder, Token: token, Duration: leasing.MemoryDuration}
		return nil
	})
	return lease, err
}

// Renew implements [Store].
func (s *MemoryStore) Renew(ctx context.Context, lease Lease) (next time.Time, err error) {
	err = s.locked(ctx, lease.Business, func(b *memoryBusiness) error {
		if !s.holds(lease) {
			return ErrLeaseLost
		}
		s.leases.Extend(lease.Business, lease.Purpose)
		if len(b.due) > 0 {
			next = b.due[0].DueAt
		}
		return nil
	})
	return next, err
}

// Release implements [Store].
func (s *MemoryStore) Release(ctx context.Context, lease Lease) error {
	return s.locked(ctx, lease.Business, func(_ *memoryBusiness) error {
		if s.holds(lease) {
			s.leases.Free(lease.Business, lease.Purpose)
		}
		return nil
	})
}

func (s *MemoryStore) holds(lease Lease) bool {
	return s.leases.Holds(lease.Business, lease.Purpose, lease.Holder, lease.Token)
}

// put replaces a row. Stored rows are never modified in place.
func (b *memoryBusiness) put(row ChatState) {
	if stored := b.rows[row.Chat]; stored != nil && !stored.DueAt.IsZero() {
		at, _ := slices.BinarySearchFunc(b.due, stored, compareDue)
		b.due = slices.Delete(b.due, at, at+1)
	}
	b.rows[row.Chat] = &row
	if !row.DueAt.IsZero() {
		at, _ := slices.BinarySearchFunc(b.due, &row, compareDue)
		b.due = slices.Insert(b.due, at, &row)
	}
}

func compareDue(a, b *ChatState) int {
	return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.Chat, b.Chat))
}

// dueAt returns how many rows are due at a time.
func (b *memoryBusiness) dueAt(at time.Time) int {
	return sort.Search(len(b.due), func(n int) bool { return b.due[n].DueAt.After(at) })
}
