package inbox_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

func TestFirstStart_DeliversWhatComesFromThenOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market, id := shop()
		busy := market.AddChat(chats.Chat{})
		market.CustomerSays(busy, "a moment before")
		pass(5 * time.Second)
		in, seen := newInbox(t, connect(t, market), inbox.NewMemoryStore()), &notebook{}
		run := start(t, in, seen.handle)
		synctest.Wait()
		market.CustomerSays(busy, "at once")
		market.CustomerSays(id, "new")
		late := market.AddChat(chats.Chat{})
		market.CustomerSays(late, "first of a new chat")
		market.CustomerSays(late, "second of a new chat")
		pass(2 * time.Minute)
		require.NoError(t, run.stop())
		assert.ElementsMatch(t, []string{"at once", "new", "first of a new chat", "second of a new chat"}, seen.texts())
	})
}
