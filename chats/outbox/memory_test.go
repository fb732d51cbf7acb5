package outbox_test

import (
	"testing"

	"github.com/ymchats/ymchats-go/chats/outbox"
	"github.com/ymchats/ymchats-go/chats/outbox/outboxtest"
)

func TestMemoryStore_KeepsTheContract(t *testing.T) {
	t.Parallel()
	outboxtest.TestStoreInBubble(t, func(*testing.T) (a, b outbox.Store) {
		store := new(outbox.MemoryStore) // the zero value is ready
		return store, store
	})
}
