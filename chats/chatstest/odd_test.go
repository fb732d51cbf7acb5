package chatstest_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// The exchanges pass the contract, because responses with odd items are marked.
func TestWithOddItems_ChangesEveryChatAndMessage(t *testing.T) {
	t.Parallel()
	odd := false
	m := chatstest.NewMarket(chatstest.WithOddItems(func(item map[string]any) {
		if !odd {
			return
		}
		delete(item, "createdAt")
		if id, isMessage := item["messageId"].(json.Number); isMessage {
			item["messageId"] = id.String()
			item["payload"] = []any{nil}
		}
	}))
	m.AddChat(chats.Chat{ID: 5})
	message := strconv.FormatInt(int64(m.CustomerSays(5, "a")), 10)
	for path, body := range map[string]string{
		"/chats":                  "{}",
		"/chat?chatId=5":          "",
		"/chats/history?chatId=5": "{}",
		"/chats/message?chatId=5&messageId=" + message: "",
	} {
		method := http.MethodGet
		if body != "" {
			method = http.MethodPost
		}
		odd = false
		got := exchange(t, m.Transport(), request(t.Context(), t, method, business+path, body))
		assert.Contains(t, got.body, "createdAt", path)
		assert.Empty(t, got.header.Get(chatstest.FaultHeader), path)
		odd = true
		got = exchange(t, m.Transport(), request(t.Context(), t, method, business+path, body))
		assert.Equal(t, "odd items", got.header.Get(chatstest.FaultHeader), path)
		assert.NotContains(t, got.body, "createdAt", path)
		if path == "/chats" || path == "/chat?chatId=5" {
			assert.Contains(t, got.body, `"chatId":5`, path)
			continue
		}
		assert.Contains(t, got.body, `"messageId":"`+message+`"`, path)
		assert.Contains(t, got.body, `"payload":[null]`, path)
	}
	c := client(t, m)
	id, err := c.OpenChat(t.Context(), chats.AboutOrder(1))
	require.NoError(t, err, "what has no items stays as it is")
	require.NoError(t, c.SendText(t.Context(), id, "a"))
}

func TestWithOddItems_PanicsOnWhatIsNotJSON(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket(chatstest.WithOddItems(func(item map[string]any) { item["chatId"] = func() {} }))
	m.AddChat(chats.Chat{ID: 5})
	assert.Panics(t, func() { get(t.Context(), t, m) })
}
