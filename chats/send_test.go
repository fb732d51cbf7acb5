package chats_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

func TestOpenChat_CreatesOrFinds(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket(chatstest.WithSubjects(chats.AboutOrder(5), chats.AboutReturn(5)))
	log := &requestLog{next: market.Transport()}
	client := market.Client(withContract(t, log))

	about, err := client.OpenChat(t.Context(), chats.AboutOrder(5))
	require.NoError(t, err)
	req, body := log.last(t)
	assert.JSONEq(t, `{"context":{"id":5,"type":"ORDER"}}`, body)
	assert.Equal(t, "POST /v2/businesses/1234567/chats/new", req.Method+" "+req.URL.RequestURI())
	assert.Equal(t, chats.AboutOrder(5), market.Chat(about).Subject)

	again, err := client.OpenChat(t.Context(), chats.AboutOrder(5))
	require.NoError(t, err)
	assert.Equal(t, about, again, "finds the chat that exists")
	other, err := client.OpenChat(t.Context(), chats.Subject{Kind: chats.SubjectReturn, Order: 9, Return: 5})
	require.NoError(t, err)
	assert.NotEqual(t, about, other)
	_, body = log.last(t)
	assert.JSONEq(t, `{"context":{"id":5,"type":"RETURN"}}`, body)

	_, err = client.OpenChat(t.Context(), chats.AboutOrder(6))
	require.ErrorIs(t, err, chats.ErrNotFound)
	assert.Contains(t, err.Error(), "Order not found: '6'")
	assert.Len(t, market.Chats(), 2)
}

func TestSendText_PostsTextUnchanged(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	log := &requestLog{next: market.Transport()}
	client := market.Client(withContract(t, log))
	chat := market.AddChat(chats.Chat{})
	texts := []string{"Здравствуйте!", "  spaces  around  ", "два\nряда\r\n\tи отступ", `"quotes" \ <b>&amp;`, "👩‍👩‍👧‍👦 \u202e \u0000", " ", "null"}
	for _, text := range texts {
		require.NoError(t, client.SendText(t.Context(), chat, text))
	}
	req, body := log.last(t)
	assert.JSONEq(t, `{"message":"null"}`, body)
	assert.Equal(t, fmt.Sprintf("POST /v2/businesses/1234567/chats/message?chatId=%d", chat), req.Method+" "+req.URL.RequestURI())
	posted := make([]string, 0, len(texts))
	for _, m := range market.Messages(chat) {
		assert.Equal(t, chats.SenderPartner, m.Sender)
		posted = append(posted, m.Text)
	}
	assert.Equal(t, texts, posted)
	assert.ErrorIs(t, client.SendText(t.Context(), 1, "Кто тут?"), chats.ErrNotFound)
}

func TestRequest_HasHeaders(t *testing.T) {
	t.Parallel()
	for _, op := range chats.Operations() {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			market := chatstest.NewMarket()
			log := &requestLog{next: market.Transport()}
			f := newFixtureOn(t, market, withContract(t, log), chats.WithIntegration("desk", "1.2"))
			require.NoError(t, f.call(t.Context(), op))
			req, _ := log.last(t)
			assert.Equal(t, []string{market.Key()}, req.Header["Api-Key"])
			assert.Equal(t, "application/json", req.Header.Get("Accept"))
			assert.Equal(t, "ymchats-go/"+chats.Version+" desk/1.2", req.Header.Get("User-Agent"))
			assert.Equal(t, "desk/1.2", req.Header.Get("X-Market-Integration"))
			assert.NotContains(t, req.Header, "Authorization")
			assert.NotContains(t, req.Header, "X-Business-Id", "a key belongs to one business")
			assert.NotContains(t, req.Header, http.CanonicalHeaderKey("Idempotency-Key"), "with it, net/http would retry a POST by itself")
			assert.Equal(t, "api.partner.market.yandex.ru", req.URL.Host)
			assert.Equal(t, "https", req.URL.Scheme)
		})
	}
}

func TestRequest_HasNoIntegrationHeaderByDefault(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	log := &requestLog{next: market.Transport()}
	f := newFixtureOn(t, market, withContract(t, log))
	require.NoError(t, f.call(t.Context(), chats.OpGetChat))
	req, _ := log.last(t)
	assert.Equal(t, "ymchats-go/"+chats.Version, req.Header.Get("User-Agent"))
	assert.NotContains(t, req.Header, "X-Market-Integration")
}

func TestSplitText_SendTextAcceptsTheParts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	long := strings.Repeat("ж", chats.MaxTextLength)
	parts := chats.SplitText(long + " " + long + "\n\nж")
	assert.Equal(t, []string{long, long, "ж"}, parts)
	for _, part := range parts {
		require.NoError(t, f.client.SendText(t.Context(), f.chat, part))
	}
}
