package chatstest_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

func TestSetOptions_ChangesARunningMarket(t *testing.T) {
	t.Parallel()
	// On the real clock, the quota would reset within the test at the end of an hour.
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket(chatstest.WithOrder(chatstest.NewestFirst), chatstest.WithHourlyLimit(chats.OpGetChat, 2))
		id := m.AddChat(chats.Chat{})
		m.CustomerSays(id, "one")
		m.CustomerSays(id, "two")
		c := client(t, m)
		_, err := c.Chat(t.Context(), id)
		require.NoError(t, err)

		m.SetOptions(chatstest.WithHourlyLimit(chats.OpGetChat, 1), chatstest.WithOrder(chatstest.OldestFirst))
		_, err = c.Chat(t.Context(), id)
		require.ErrorIs(t, err, chats.ErrRateLimited, "the used quota stays")
		page, err := c.HistoryPage(t.Context(), id, 0, chats.PageRequest{})
		require.NoError(t, err)
		assert.Equal(t, "one", page.Items[0].Text)

		m.SetOptions(chatstest.WithBusiness(7), chatstest.WithStoredText(func(string) string { return "stored" }))
		assert.Equal(t, chats.BusinessID(7), m.Business())
		c = client(t, m)
		_, err = c.Chat(t.Context(), id)
		require.NoError(t, err, "an option that is missing has its default")
		require.NoError(t, c.SendText(t.Context(), id, "sent"))
		assert.Equal(t, "stored", m.Messages(id)[2].Text)
	})
}

func TestSetOptions_OfAServerKeepsItsFileBase(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, ...chatstest.Option) *chatstest.Server{
		"http": chatstest.NewServer, "https": chatstest.NewTLSServer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			link := func() string { return s.AddFile("a.txt", []byte("data")).URL }
			assert.True(t, strings.HasPrefix(link(), s.URL+"/"), link())

			s.SetOptions(chatstest.WithOrder(chatstest.NewestFirst))
			assert.True(t, strings.HasPrefix(link(), s.URL+"/"), link())
			content, err := s.Client().Download(t.Context(), s.AddFile("b.txt", []byte("data")))
			require.NoError(t, err, "the link leads to the server")
			require.NoError(t, content.Close())

			s.SetOptions(chatstest.WithFileBase("https://files.example"))
			assert.True(t, strings.HasPrefix(link(), "https://files.example/"), link())
			s.SetOptions()
			assert.True(t, strings.HasPrefix(link(), s.URL+"/"), link())
		})
	}
}

func TestAddConversation_KeepsTimesAndIDs(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	asked := time.Date(2026, 3, 8, 9, 30, 0, 0, time.UTC)
	id := m.AddConversation(chats.Chat{Customer: chats.Customer{Name: "Анна"}},
		chats.Message{Sender: chats.SenderCustomer, Text: "asked", CreatedAt: asked},
		chats.Message{ID: 1_800_000_000_000_000, Sender: chats.SenderPartner, Text: "answered", CreatedAt: asked.Add(time.Hour)},
		chats.Message{Sender: chats.SenderMarket, Text: "rated", CreatedAt: asked.Add(time.Hour)})
	chat := m.Chat(id)
	assert.Equal(t, chats.StatusWaitingForCustomer, chat.Status)
	assert.True(t, chat.CreatedAt.Equal(asked))
	assert.True(t, chat.UpdatedAt.Equal(asked.Add(time.Hour)))
	messages := collect(t, client(t, m).History(t.Context(), id, 0))
	require.Len(t, messages, 3)
	assert.Equal(t, chats.MessageID(asked.UnixMicro()), messages[0].ID)
	assert.Equal(t, chats.MessageID(1_800_000_000_000_000), messages[1].ID)
	assert.Equal(t, messages[1].ID+1, messages[2].ID, "ids grow within a chat")
	assert.Equal(t, m.Messages(id), messages)

	finished := m.AddConversation(chats.Chat{Status: chats.StatusFinished, Type: chats.ChatTypeArbitrage},
		chats.Message{Sender: chats.SenderCustomer, Text: "asked", CreatedAt: asked})
	assert.Equal(t, chats.StatusFinished, m.Chat(finished).Status)
	assert.Equal(t, chats.ChatTypeArbitrage, m.Chat(finished).Type)

	timeless := m.AddConversation(chats.Chat{}, chats.Message{Sender: chats.SenderCustomer, Text: "one"}, chats.Message{Sender: chats.SenderCustomer, Text: "two"})
	messages = collect(t, client(t, m).History(t.Context(), timeless, 0))
	require.Len(t, messages, 2, "a message without a time has a valid ID, too")
	assert.Equal(t, m.Messages(timeless), messages)
}

func TestWithCustomers_NamesTheCustomerOfAnOpenedChat(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket(chatstest.WithCustomers(func(about chats.Subject) chats.Customer {
		return chats.Customer{Name: "customer of " + strconv.FormatInt(int64(about.Order), 10)}
	}))
	c := client(t, m)
	id, err := c.OpenChat(t.Context(), chats.AboutOrder(17))
	require.NoError(t, err)
	chat, err := c.Chat(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, "customer of 17", chat.Customer.Name)
}

func TestLastMessages_PagesBackwards(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	id := m.AddChat(chats.Chat{})
	assert.Empty(t, m.LastMessages(id, 0, 2))
	for range 5 {
		m.CustomerSays(id, "text")
	}
	all := m.Messages(id)
	assert.Equal(t, all[3:], m.LastMessages(id, 0, 2))
	assert.Equal(t, all[1:3], m.LastMessages(id, all[3].ID, 2))
	assert.Equal(t, all[:1], m.LastMessages(id, all[1].ID, 2))
	assert.Equal(t, all[1:], m.LastMessages(id, all[4].ID+1, 4))
	assert.Empty(t, m.LastMessages(id, all[0].ID, 2))
	assert.Empty(t, m.LastMessages(id, 0, -1))
}

func TestOnChange_ReportsTheChat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket(chatstest.WithHistoryLag(time.Minute))
		changed := map[chats.ChatID]int{}
		m.OnChange(func(id chats.ChatID) { changed[id]++ })
		reported := func(id chats.ChatID) bool {
			defer clear(changed)
			return changed[id] > 0
		}
		id := m.AddChat(chats.Chat{})
		assert.True(t, reported(id), "a new chat")
		require.NoError(t, client(t, m).SendText(t.Context(), id, "text"))
		assert.True(t, reported(id), "a message")
		assert.False(t, reported(id), "nothing")
		time.Sleep(time.Minute)
		m.Calls(chats.OpGetChat)
		assert.True(t, reported(id), "the message becomes visible")
		m.SetType(id, chats.ChatTypeArbitrage)
		assert.True(t, reported(id), "its type")
		assert.Equal(t, chats.ChatTypeArbitrage, m.Chat(id).Type)
		m.FinishChat(id)
		assert.True(t, reported(id), "its status")
		m.OnChange(nil)
		m.FinishChat(id)
		assert.False(t, reported(id))
	})
}

func TestContextWithFault_PrecedesQueuedFaults(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	m.Fail(chats.OpGetChats, chatstest.Status(500, ""))
	w := httptest.NewRecorder()
	ctx := chatstest.ContextWithFault(t.Context(), chatstest.HTML(502))
	m.ServeHTTP(w, request(ctx, t, http.MethodPost, business+"/chats", "{}"))
	assert.Equal(t, 502, w.Code)
	w = httptest.NewRecorder()
	m.ServeHTTP(w, request(chatstest.ContextWithFault(t.Context(), chatstest.OK()), t, http.MethodPost, business+"/chats", "{}"))
	assert.Equal(t, 200, w.Code)
	w = httptest.NewRecorder()
	m.ServeHTTP(w, request(t.Context(), t, http.MethodPost, business+"/chats", "{}"))
	assert.Equal(t, 500, w.Code, "it is still queued")
	assert.Equal(t, 3, m.Calls(chats.OpGetChats))
}
