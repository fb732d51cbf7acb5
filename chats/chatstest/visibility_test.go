package chatstest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// texts returns the texts of a chat's history as a client reads it.
func texts(t *testing.T, c *chats.Client, id chats.ChatID) []string {
	t.Helper()
	var all []string
	for _, message := range collect(t, c.History(t.Context(), id, 0)) {
		all = append(all, message.Text)
	}
	return all
}

// held delays the messages with this text by half an hour.
func held(message chats.Message) time.Duration {
	if message.Text == "held" {
		return 30 * time.Minute
	}
	return 0
}

func TestWithVisibility_ShowsAMessageBelowYoungerOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket(chatstest.WithVisibility(held))
		id := m.AddChat(chats.Chat{})
		c := client(t, m)
		time.Sleep(time.Minute)
		hidden := m.CustomerSays(id, "held")
		assert.Len(t, m.Messages(id), 1, "the test sees it")
		assert.Empty(t, texts(t, c, id))
		assert.Equal(t, chats.StatusNew, m.Chat(id).Status)
		assert.True(t, m.Chat(id).UpdatedAt.Equal(m.Chat(id).CreatedAt))
		_, err := c.Message(t.Context(), id, hidden)
		require.ErrorIs(t, err, chats.ErrNotFound)

		time.Sleep(time.Minute)
		m.AddMessage(id, chats.SenderPartner, "younger")
		updated := m.Chat(id).UpdatedAt
		time.Sleep(29*time.Minute - 1)
		assert.Equal(t, []string{"younger"}, texts(t, c, id))
		time.Sleep(time.Nanosecond)
		assert.Equal(t, []string{"held", "younger"}, texts(t, c, id))
		assert.Equal(t, updated, m.Chat(id).UpdatedAt, "the list does not show that it is new")
		assert.Equal(t, chats.StatusWaitingForPartner, m.Chat(id).Status)
		_, err = c.Message(t.Context(), id, hidden)
		require.NoError(t, err)
	})
}

func TestWithVisibility_DelaysFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket(chatstest.WithVisibility(func(message chats.Message) time.Duration {
			return time.Duration(len(message.Files)) * time.Second
		}))
		id := m.AddChat(chats.Chat{})
		m.CustomerSays(id, "with a file", m.AddFile("a.txt", []byte("a")))
		m.CustomerSays(id, "without")
		assert.Equal(t, []string{"without"}, texts(t, client(t, m), id))
		time.Sleep(time.Second)
		assert.Equal(t, []string{"with a file", "without"}, texts(t, client(t, m), id))
	})
}

// Messages that become visible at the same time do so in order.
func TestWithVisibility_KeepsTheOrderOfOneMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket(chatstest.WithVisibility(held))
		id := m.AddChat(chats.Chat{})
		m.CustomerSays(id, "held")
		m.AddMessage(id, chats.SenderPartner, "held")
		time.Sleep(time.Hour)
		assert.Equal(t, chats.StatusWaitingForCustomer, m.Chat(id).Status)
	})
}

func TestWithHistoryLag_ListIsAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket(chatstest.WithHistoryLag(time.Minute), chatstest.WithVisibility(held))
		id := m.AddChat(chats.Chat{})
		c := client(t, m)
		time.Sleep(time.Second)
		require.NoError(t, c.SendText(t.Context(), id, "sent"))
		assert.Equal(t, chats.StatusWaitingForCustomer, m.Chat(id).Status)
		assert.True(t, m.Chat(id).UpdatedAt.Equal(time.Now()))
		time.Sleep(time.Minute - 1)
		assert.Empty(t, texts(t, c, id))
		time.Sleep(time.Nanosecond)
		assert.Equal(t, []string{"sent"}, texts(t, c, id))

		m.CustomerSays(id, "held")
		time.Sleep(30 * time.Minute)
		assert.Equal(t, chats.StatusWaitingForPartner, m.Chat(id).Status)
		assert.Len(t, texts(t, c, id), 1, "the lag comes on top of the visibility")
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"sent", "held"}, texts(t, c, id))
	})
}

func TestWithStrictSince_NeedsAVisibleMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket(chatstest.WithStrictSince(), chatstest.WithVisibility(held))
		id := m.AddChat(chats.Chat{})
		c := client(t, m)
		first := m.CustomerSays(id, "first")
		hidden := m.CustomerSays(id, "held")
		page, err := c.HistoryPage(t.Context(), id, first, chats.PageRequest{})
		require.NoError(t, err)
		assert.Len(t, page.Items, 1)
		for _, since := range []chats.MessageID{first - 1, first + 100, hidden} {
			_, err = c.HistoryPage(t.Context(), id, since, chats.PageRequest{})
			require.ErrorIs(t, err, chats.ErrNotFound)
			require.ErrorContains(t, err, "Can't find message by id")
		}
		_, err = c.HistoryPage(t.Context(), id, 0, chats.PageRequest{})
		require.NoError(t, err)
	})
}
