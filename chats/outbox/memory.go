package outbox

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
)

// MemoryStore is a [Store] in memory, for tests. Items that have not been posted are lost when
// the process ends.
type MemoryStore struct {
	mu         sync.Mutex
	businesses map[chats.BusinessID]*memoryBusiness
	leases     leasing.Memory
	position   int64
}

var _ Store = (*MemoryStore)(nil)

type memoryBusiness struct {
	records map[string]*memoryRecord
	open    map[chats.ChatID][]*memoryRecord // unsettled, by position
	taken   map[chats.ChatID]map[chats.MessageID]*memoryRecord
}

type memoryRecord struct {
	Record

	digest [sha256.Size]byte
}

const maxUnreported = 100

// NewMemoryStore returns an empty store with leases of 5 s. The zero value is also ready to use.
func NewMemoryStore() *MemoryStore { return new(MemoryStore) }

func (s *MemoryStore) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	return nil
}

func (s *MemoryStore) business(id chats.BusinessID) *memoryBusiness {
	b := s.businesses[id]
	if b == nil {
		if s.businesses == nil {
			s.businesses = map[chats.BusinessID]*memoryBusiness{}
		}
		b = &memoryBusiness{
			records: map[string]*memoryRecord{},
			open:    map[chats.ChatID][]*memoryRecord{},
			taken:   map[chats.ChatID]map[chats.MessageID]*memoryRecord{},
		}
		s.businesses[id] = b
	}
	return b
}

// Put implements [Store].
func (s *MemoryStore) Put(ctx context.Context, business chats.BusinessID, items ...Item) error {
	items, err := CheckItems(items)
	if err != nil {
		return err
	}
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	b, added := s.business(business), make([]*memoryRecord, 0, len(items))
	for _, item := range items {
		digest := item.Digest()
		switch known := b.records[item.Key]; {
		case known == nil:
			item.File = slices.Clone(item.File)
			added = append(added, &memoryRecord{digest: digest, Record: Record{
				Business: business, Item: item, FileSize: len(item.File), State: Queued, QueuedAt: time.Now(),
			}})
		case known.digest != digest:
			return ErrKeyReused
		}
	}
	for _, r := range added {
		s.position++
		r.Position, r.Version = s.position, 1
		b.records[r.Item.Key] = r
		b.open[r.Item.Chat] = append(b.open[r.Item.Chat], r)
	}
	return nil
}

// Item implements [Store].
func (s *MemoryStore) Item(ctx context.Context, business chats.BusinessID, key string) (Record, error) {
	if err := s.lock(ctx); err != nil {
		return Record{}, err
	}
	defer s.mu.Unlock()
	r := s.business(business).records[key]
	if r == nil {
		return Record{}, ErrUnknownKey
	}
	record := r.copy()
	record.Item.File = nil
	return record, nil
}

// Head implements [Store].
func (s *MemoryStore) Head(ctx context.Context, business chats.BusinessID, chat chats.ChatID) (Record, error) {
	if err := s.lock(ctx); err != nil {
		return Record{}, err
	}
	defer s.mu.Unlock()
	b := s.business(business)
	if len(b.open[chat]) == 0 {
		return Record{}, ErrUnknownKey
	}
	record := b.open[chat][0].copy()
	for id := range b.taken[chat] {
		record.LastMessage = max(record.LastMessage, id)
	}
	return record, nil
}

func (r *memoryRecord) copy() Record {
	record := r.Record
	record.Baseline, record.Item.File = slices.Clone(record.Baseline), slices.Clone(record.Item.File)
	record.Message.Files = slices.Clone(record.Message.Files)
	if record.Failure != nil {
		record.Failure = record.Failure.clone()
	}
	return record
}

// Backlog implements [Store].
func (s *MemoryStore) Backlog(ctx context.Context, business chats.BusinessID, at time.Time) (Backlog, error) {
	if err := s.lock(ctx); err != nil {
		return Backlog{}, err
	}
	defer s.mu.Unlock()
	b := s.business(business)
	var backlog Backlog
	for chat, open := range b.open {
		r := open[0]
		backlog.Heads = append(backlog.Heads, Head{chat, r.Position, r.DueAt, r.notAfter(), r.Item.IsFile()})
	}
	var unreported []*memoryRecord
	for _, r := range b.records {
		switch {
		case !r.State.IsSettled() || r.Reported:
		case !r.DueAt.After(at):
			unreported = append(unreported, r)
		case backlog.NextReport.IsZero() || r.DueAt.Before(backlog.NextReport):
			backlog.NextReport = r.DueAt
		}
	}
	slices.SortFunc(unreported, func(a, b *memoryRecord) int {
		return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.Position, b.Position))
	})
	for _, r := range unreported[:min(len(unreported), maxUnreported)] {
		backlog.Unreported = append(backlog.Unreported, r.Item.Key)
	}
	return backlog, nil
}

// SaveItem implements [Store].
func (s *MemoryStore) SaveItem(ctx context.Context, lease inbox.Lease, record *Record) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if !s.holds(lease) || lease.Business != record.Business {
		return inbox.ErrLeaseLost
	}
	return s.save(record)
}

// ResolveItem implements [Store].
func (s *MemoryStore) ResolveItem(ctx context.Context, record *Record) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	return s.save(record)
}

func (s *MemoryStore) save(record *Record) error {
	b := s.business(record.Business)
	stored := b.records[record.Item.Key]
	if stored == nil || stored.Version != record.Version {
		return ErrConflict
	}
	chat := stored.Item.Chat
	if taken := b.taken[chat][record.Message.ID]; record.Message.ID != 0 && taken != nil && taken != stored {
		return ErrMessageTaken
	}
	record.Version++
	wasOpen, was := !stored.State.IsSettled(), stored.Record
	delete(b.taken[chat], stored.Message.ID)
	next := memoryRecord{Record: *record}
	stored.Record = next.copy()
	stored.Item, stored.FileSize, stored.Position, stored.QueuedAt = was.Item, was.FileSize, was.Position, was.QueuedAt
	stored.LastMessage = 0 // only Head sets it
	if record.State.isFinal() {
		stored.Item.File = nil
	}
	if id := record.Message.ID; id != 0 {
		if b.taken[chat] == nil {
			b.taken[chat] = map[chats.MessageID]*memoryRecord{}
		}
		b.taken[chat][id] = stored
	}
	b.reopen(stored, wasOpen)
	return nil
}

// reopen updates the list of a chat's unsettled records after the state of r has changed.
func (b *memoryBusiness) reopen(r *memoryRecord, wasOpen bool) {
	chat, isOpen := r.Item.Chat, !r.State.IsSettled()
	switch {
	case wasOpen && !isOpen:
		b.open[chat] = slices.DeleteFunc(b.open[chat], func(other *memoryRecord) bool { return other == r })
		if len(b.open[chat]) == 0 {
			delete(b.open, chat)
		}
	case !wasOpen && isOpen:
		b.open[chat] = append(b.open[chat], r)
		slices.SortFunc(b.open[chat], func(a, b *memoryRecord) int { return cmp.Compare(a.Position, b.Position) })
	}
}

// PostedAs implements [Store].
func (s *MemoryStore) PostedAs(
	ctx context.Context, business chats.BusinessID, chat chats.ChatID, above chats.MessageID,
) ([]chats.MessageID, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var ids []chats.MessageID
	for id := range s.business(business).taken[chat] {
		if id > above {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// DeleteSettled implements [Store].
func (s *MemoryStore) DeleteSettled(
	ctx context.Context, business chats.BusinessID, before time.Time, limit int,
) (n int, err error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	b := s.business(business)
	for key, r := range b.records {
		if n < limit && r.State.isFinal() && r.Reported && r.SettledAt.Before(before) {
			delete(b.records, key)
			delete(b.taken[r.Item.Chat], r.Message.ID)
			n++
		}
	}
	return n, nil
}

// Counts implements [Store].
func (s *MemoryStore) Counts(ctx context.Context, business chats.BusinessID) (Summary, error) {
	if err := s.lock(ctx); err != nil {
		return Summary{}, err
	}
	defer s.mu.Unlock()
	var sum Summary
	var last *memoryRecord
	for _, r := range s.business(business).records {
		sum.count(&r.Record)
		if !r.State.IsSettled() && r.Failure != nil && (last == nil || r.DueAt.After(last.DueAt)) {
			last = r
		}
	}
	if last != nil {
		sum.LastError = last.Failure.Reason
	}
	sum.Holder, sum.HeldSince = s.leases.Holder(business, Purpose)
	return sum, nil
}

func (sum *Summary) count(r *Record) {
	switch r.State {
	case Queued:
		sum.Queued++
	case Sending:
		sum.Sending++
	case Uncertain:
		sum.Uncertain++
	case Failed:
		sum.Failed++
	case Sent, Expired, Discarded:
	}
	if r.State.IsSettled() && !r.Reported {
		sum.Unreported++
	}
	if !r.State.IsSettled() && (sum.Oldest.IsZero() || r.QueuedAt.Before(sum.Oldest)) {
		sum.Oldest = r.QueuedAt
	}
}

// Acquire implements [Store].
func (s *MemoryStore) Acquire(ctx context.Context, business chats.BusinessID, purpose, holder string) (inbox.Lease, error) {
	if err := s.lock(ctx); err != nil {
		return inbox.Lease{}, err
	}
	defer s.mu.Unlock()
	token, held := s.leases.Acquire(business, purpose, holder)
	if held != nil {
		return inbox.Lease{}, &inbox.LeaseHeldError{Holder: held.Holder, Since: held.Since, ExpiresIn: held.ExpiresIn}
	}
	return inbox.Lease{
		Business: business, Purpose: purpose, Holder: holder, Token: token, Duration: leasing.MemoryDuration,
	}, nil
}

// Renew implements [Store].
func (s *MemoryStore) Renew(ctx context.Context, lease inbox.Lease) (next time.Time, err error) {
	if err := s.lock(ctx); err != nil {
		return time.Time{}, err
	}
	defer s.mu.Unlock()
	if !s.holds(lease) {
		return time.Time{}, inbox.ErrLeaseLost
	}
	s.leases.Extend(lease.Business, lease.Purpose)
	return time.Time{}, nil
}

// Release implements [Store].
func (s *MemoryStore) Release(ctx context.Context, lease inbox.Lease) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.holds(lease) {
		s.leases.Free(lease.Business, lease.Purpose)
	}
	return nil
}

// holds reports whether a lease is valid.
func (s *MemoryStore) holds(lease inbox.Lease) bool {
	return s.leases.Holds(lease.Business, lease.Purpose, lease.Holder, lease.Token)
}
