package inbox_test

import (
	"testing"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/inbox/inboxtest"
)

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	inboxtest.TestStoreInBubble(t, func(*testing.T) (a, b inbox.Store) {
		store := new(inbox.MemoryStore) // the zero value is ready
		return store, store
	})
}
