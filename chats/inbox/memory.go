package inbox

import (
	"context"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
)

// MemoryStore keeps the marks in memory: for tests, and for programs that may
// begin anew with every start. It is also a [Leaser], among the goroutines of one
// process. Like every Store it keeps times to the microsecond, in UTC.
type MemoryStore struct {
	mu     sync.Mutex
	marks  map[chats.BusinessID]map[chats.ChatID]Mark
	leases map[chats.BusinessID]chan struct{} // holds one element while the business is leased
}

var (
	_ Store  = (*MemoryStore)(nil)
	_ Leaser = (*MemoryStore)(nil)
)

// NewMemoryStore returns a store without any mark.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{
		marks:  make(map[chats.BusinessID]map[chats.ChatID]Mark),
		leases: make(map[chats.BusinessID]chan struct{}),
	}
}

// Marks gives a copy of the marks of a business. A chat whose mark was set to the
// zero Mark is not among them.
func (s *MemoryStore) Marks(ctx context.Context, business chats.BusinessID) (map[chats.ChatID]Mark, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	marks := make(map[chats.ChatID]Mark, len(s.marks[business]))
	for chat, mark := range s.marks[business] {
		if mark != (Mark{}) {
			marks[chat] = mark
		}
	}
	return marks, nil
}

// Commit moves the mark of a chat, as [Store] says.
func (s *MemoryStore) Commit(ctx context.Context, business chats.BusinessID, chat chats.ChatID, from, to Mark) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.marks[business][chat] != from.toMicrosecond() {
		return ErrConflict
	}
	if s.marks[business] == nil {
		s.marks[business] = make(map[chats.ChatID]Mark)
	}
	s.marks[business][chat] = to.toMicrosecond()
	return nil
}

// toMicrosecond is the mark as a store keeps it. Two marks are equal by == when
// they are so in the sense of [Store]; the zero time stays the zero time.
func (m Mark) toMicrosecond() Mark {
	return Mark{Message: m.Message, UpdatedAt: time.UnixMicro(m.UpdatedAt.UnixMicro()).UTC()}
}

// Lease waits until no other goroutine holds the business, in the order of the
// calls. held ends with release and with ctx; the lease itself lasts until release.
func (s *MemoryStore) Lease(ctx context.Context, business chats.BusinessID) (context.Context, func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	lease := s.lease(business)
	select {
	case lease <- struct{}{}: // goroutines that wait to send are served first come, first served
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	held, cancel := context.WithCancel(ctx)
	release := sync.OnceFunc(func() {
		cancel()
		<-lease
	})
	return held, release, nil
}

func (s *MemoryStore) lease(business chats.BusinessID) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[business] == nil {
		s.leases[business] = make(chan struct{}, 1)
	}
	return s.leases[business]
}
