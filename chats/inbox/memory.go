package inbox

import (
	"cmp"
	"container/heap"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/internal/tenure"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

// MemoryStore keeps the state in memory: for tests, and for programs that may start from
// scratch every time. Its leases work only within one process.
type MemoryStore struct {
	mu         sync.Mutex
	businesses map[chats.BusinessID]*memoryBusiness
	leases     tenure.Memory
}

var _ Store = (*MemoryStore)(nil)

type memoryBusiness struct {
	state BusinessState
	rows  map[chats.ChatID]*memoryRow
	due   dueHeap
	open  map[chats.ChatID]struct{}
}

type memoryRow struct {
	ChatState
	index int // in the heap, -1 if DueAt is zero
}

const maxFailing = 100

// NewMemoryStore returns an empty store, with leases of 5 s.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{businesses: map[chats.BusinessID]*memoryBusiness{}}
}

// Business implements [Store].
func (s *MemoryStore) Business(ctx context.Context, business chats.BusinessID) (BusinessState, error) {
	if err := ctx.Err(); err != nil {
		return BusinessState{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.business(business).state
	state.Usage = maps.Clone(state.Usage)
	return state, nil
}

// Chats implements [Store].
func (s *MemoryStore) Chats(ctx context.Context, business chats.BusinessID, ids []chats.ChatID) ([]ChatState, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.business(business)
	rows := make([]ChatState, 0, len(ids))
	for _, id := range ids {
		if row := b.rows[id]; row != nil {
			rows = append(rows, row.clone())
		}
	}
	return rows, nil
}

// Due implements [Store].
func (s *MemoryStore) Due(
	ctx context.Context, business chats.BusinessID, at time.Time, limit int,
) ([]ChatState, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := s.business(business).due.until(at)
	slices.SortFunc(rows, func(a, b *memoryRow) int {
		if a.isWoken() != b.isWoken() {
			if a.isWoken() {
				return -1
			}
			return 1
		}
		return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.Chat, b.Chat))
	})
	due := make([]ChatState, 0, min(limit, len(rows)))
	for _, row := range rows[:min(limit, len(rows))] {
		due = append(due, row.clone())
	}
	return due, nil
}

func (s *ChatState) isWoken() bool { return s.Wakes != s.SeenWakes }

// Open implements [Store].
func (s *MemoryStore) Open(ctx context.Context, business chats.BusinessID) ([]chats.ChatID, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.business(business).open)), nil
}

// Save implements [Store].
func (s *MemoryStore) Save(ctx context.Context, lease Lease, business *BusinessState, rows []ChatState) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.holds(lease) {
		return ErrLeaseLost
	}
	b := s.business(lease.Business)
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
		b.save(rows[i].clone())
	}
	return nil
}

// Wake implements [Store].
func (s *MemoryStore) Wake(ctx context.Context, business chats.BusinessID, chat chats.ChatID, at time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.business(business)
	row := ChatState{Chat: chat}
	if known := b.rows[chat]; known != nil {
		row = known.ChatState
	}
	row.Wakes++
	if row.Attempts == 0 || row.DueAt.IsZero() {
		row.DueAt = wait.Earliest(row.DueAt, at)
	}
	b.put(row)
	return nil
}

// Summary implements [Store].
func (s *MemoryStore) Summary(ctx context.Context, business chats.BusinessID, at time.Time) (Summary, error) {
	if err := ctx.Err(); err != nil {
		return Summary{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.business(business)
	sum := Summary{Chats: len(b.rows), Due: len(b.due.until(at))}
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
	return sum, nil
}

// Acquire implements [Store].
func (s *MemoryStore) Acquire(ctx context.Context, business chats.BusinessID, purpose, holder string) (Lease, error) {
	if err := ctx.Err(); err != nil {
		return Lease{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	token, held := s.leases.Acquire(business, purpose, holder)
	if held != nil {
		return Lease{}, &LeaseHeldError{Holder: held.Holder, Since: held.Since, ExpiresIn: held.ExpiresIn}
	}
	return Lease{Business: business, Purpose: purpose, Holder: holder, Token: token, Duration: tenure.MemoryDuration}, nil
}

// Renew implements [Store].
func (s *MemoryStore) Renew(ctx context.Context, lease Lease) (next time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.holds(lease) {
		return time.Time{}, ErrLeaseLost
	}
	s.leases.Extend(lease.Business, lease.Purpose)
	if due := s.business(lease.Business).due; len(due) > 0 {
		next = due[0].DueAt
	}
	return next, nil
}

// Release implements [Store].
func (s *MemoryStore) Release(ctx context.Context, lease Lease) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds(lease) {
		s.leases.Free(lease.Business, lease.Purpose)
	}
	return nil
}

// holds reports whether a lease is valid.
func (s *MemoryStore) holds(lease Lease) bool {
	return s.leases.Holds(lease.Business, lease.Purpose, lease.Holder, lease.Token)
}

func (s *MemoryStore) business(id chats.BusinessID) *memoryBusiness {
	b := s.businesses[id]
	if b == nil {
		b = &memoryBusiness{rows: map[chats.ChatID]*memoryRow{}, open: map[chats.ChatID]struct{}{}}
		s.businesses[id] = b
	}
	return b
}

// save keeps the wakes that came after the row was loaded.
func (b *memoryBusiness) save(row ChatState) {
	if stored := b.rows[row.Chat]; stored != nil && stored.Wakes != row.Wakes {
		row.Wakes, row.DueAt = stored.Wakes, wait.Earliest(row.DueAt, stored.DueAt)
	}
	b.put(row)
}

func (b *memoryBusiness) put(row ChatState) {
	stored := b.rows[row.Chat]
	if stored == nil {
		stored = &memoryRow{index: -1}
		b.rows[row.Chat] = stored
	}
	stored.ChatState = row
	if row.Open {
		b.open[row.Chat] = struct{}{}
	} else {
		delete(b.open, row.Chat)
	}
	switch isDue := !row.DueAt.IsZero(); {
	case isDue && stored.index < 0:
		heap.Push(&b.due, stored)
	case isDue:
		heap.Fix(&b.due, stored.index)
	case stored.index >= 0:
		heap.Remove(&b.due, stored.index)
	}
}

// dueHeap is a container/heap of the rows with a DueAt, the earliest first.
type dueHeap []*memoryRow //nolint:recvcheck // as the package has it: Push and Pop change the length

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].DueAt.Before(h[j].DueAt) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	row, _ := x.(*memoryRow)
	row.index = len(*h)
	*h = append(*h, row)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	row := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	row.index = -1
	return row
}

// until returns the rows that are due at a time, without visiting those below one that
// is not.
func (h dueHeap) until(at time.Time) (rows []*memoryRow) {
	for next := []int{0}; len(next) > 0; {
		i := next[len(next)-1]
		next = next[:len(next)-1]
		if i < len(h) && !h[i].DueAt.After(at) {
			rows = append(rows, h[i])
			next = append(next, 2*i+1, 2*i+2)
		}
	}
	return rows
}
