package inbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/inbox/inboxtest"
	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	inboxtest.TestStoreInBubble(t, func(*testing.T) (a, b inbox.Store) {
		store := new(inbox.MemoryStore) // the zero value is ready
		return store, store
	})
}

// zonedStore uses its own clock for pushes and returns times in its own time zone, as a database may.
type zonedStore struct{ *inbox.MemoryStore }

func (s zonedStore) Wake(ctx context.Context, business chats.BusinessID, chat chats.ChatID, at time.Time) error {
	return s.MemoryStore.Wake(ctx, business, chat, wait.Earliest(at, time.Now()))
}

func (s zonedStore) Business(ctx context.Context, business chats.BusinessID) (inbox.BusinessState, error) {
	state, err := s.MemoryStore.Business(ctx, business)
	for _, at := range []*time.Time{&state.StartTime, &state.Incremental.StartedAt, &state.Handlers.RetryAt} {
		*at = at.In(time.FixedZone("Moscow", 3*60*60))
	}
	return state, err
}

func TestStore_AcceptsAClockAndATimeZoneOfTheStore(t *testing.T) {
	t.Parallel()
	inboxtest.TestStoreInBubble(t, func(*testing.T) (a, b inbox.Store) {
		store := zonedStore{inbox.NewMemoryStore()}
		return store, store
	})
}
