package chatstest_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// The conversation uses all seven operations and a download, in process and on
// both kinds of listener.
func TestMarket_Conversation(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		m := chatstest.NewMarket()
		converse(t, m, client(t, m))
	})
	for name, start := range map[string]func(testing.TB, ...chatstest.Option) *chatstest.Server{
		"http": chatstest.NewServer, "https": chatstest.NewTLSServer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t)
			checked := &http.Client{Transport: contract.Transport(t, s.Transport())}
			converse(t, s.Market, s.Client(chats.WithHTTPClient(checked)))
		})
	}
}

func converse(t *testing.T, m *chatstest.Market, c *chats.Client) {
	t.Helper()
	ctx := t.Context()
	id, err := c.OpenChat(ctx, chats.AboutOrder(42))
	require.NoError(t, err)
	again, err := c.OpenChat(ctx, chats.AboutOrder(42))
	require.NoError(t, err)
	assert.Equal(t, id, again)

	photo := m.AddFile("фото 1?.png", []byte("\x89PNG\r\n\x1a\n"))
	first := m.CustomerSays(id, "Где заказ?", photo)
	chat, err := c.Chat(ctx, id)
	require.NoError(t, err)
	assert.Equal(t, m.Chat(id), chat)
	assert.Equal(t, chats.StatusWaitingForPartner, chat.Status)
	assert.Equal(t, "\x89PNG\r\n\x1a\n", download(t, c, photo))

	require.NoError(t, c.SendText(ctx, id, "Едет"))
	require.NoError(t, c.SendFile(ctx, id, "чек \"1\".txt", strings.NewReader("итого 100")))
	assert.Equal(t, chats.StatusWaitingForCustomer, m.Chat(id).Status)
	uploads := m.Uploads(id)
	require.Len(t, uploads, 1)
	assert.Equal(t, "чек \"1\".txt", uploads[0].Name)
	assert.Equal(t, "итого 100", string(uploads[0].Data))
	assert.NotEmpty(t, uploads[0].ContentType)

	history := collect(t, c.History(ctx, id, 0))
	assert.Equal(t, m.Messages(id), history)
	require.Len(t, history, 3)
	assert.Equal(t, "итого 100", download(t, c, history[2].Files[0]))
	message, err := c.Message(ctx, id, first)
	require.NoError(t, err)
	assert.Equal(t, history[0], message)

	waiting := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForCustomer}}
	assert.Equal(t, m.Chats(), collect(t, c.Chats(ctx, waiting)))
}

func TestMarket_RejectsInvalidRequests(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	m.AddChat(chats.Chat{ID: 5})
	const get, post = http.MethodGet, http.MethodPost
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		text                     string
	}{
		{"no chat", get, "/chat", "", 400, "'chatId'"},
		{"chat zero", get, "/chat?chatId=0", "", 400, "'chatId'"},
		{"chat that is no number", get, "/chat?chatId=five", "", 400, "'chatId'"},
		{"unknown chat", get, "/chat?chatId=6", "", 404, "Can't find chat by id: '6'"},
		{"unknown message", get, "/chats/message?chatId=5&messageId=7", "", 404, "Can't find message by id: '7' for chat '5'"},
		{"message of an unknown chat", get, "/chats/message?chatId=6&messageId=7", "", 404, "Can't find chat by id: '6'"},
		{"no message", get, "/chats/message?chatId=5", "", 400, "'messageId'"},
		{"history of an unknown chat", post, "/chats/history?chatId=6", "{}", 404, "Can't find chat by id: '6'"},
		{"history's page too large", post, "/chats/history?chatId=5&limit=101", "{}", 400, "'limit'"},
		{"history from zero", post, "/chats/history?chatId=5", `{"messageIdFrom":0}`, 400, "'messageIdFrom'"},
		{"history from a text", post, "/chats/history?chatId=5", `{"messageIdFrom":"a"}`, 400, "cannot be read"},
		{"history without a body", post, "/chats/history?chatId=5", "", 415, "Content-Type"},
		{"unknown token", post, "/chats/history?chatId=5&pageToken=nonsense", "{}", 400, "'pageToken'"},
		{"page too large", post, "/chats?limit=21", "{}", 400, "'limit'"},
		{"page of none", post, "/chats?limit=0", "{}", 400, "'limit'"},
		{"page of a text", post, "/chats?limit=all", "{}", 400, "'limit'"},
		{"body is no object", post, "/chats", "null", 400, "JSON object"},
		{"body is cut off", post, "/chats", `{"statuses":`, 400, "cannot be read"},
		{"body is not UTF-8", post, "/chats", "{\"x\":\"\xff\"}", 400, "UTF-8"},
		{"body is large", post, "/chats", "{}" + strings.Repeat(" ", 512<<10), 400, "larger"},
		{"no statuses", post, "/chats", `{"statuses":[]}`, 400, "'statuses' must not be empty"},
		{"no contexts", post, "/chats", `{"contexts":[]}`, 400, "'contexts' must not be empty"},
		{"no kinds", post, "/chats", `{"contextTypes":[]}`, 400, "'contextTypes' must not be empty"},
		{"no types", post, "/chats", `{"types":[]}`, 400, "'types' must not be empty"},
		{"a status twice", post, "/chats", `{"statuses":["NEW","NEW"]}`, 400, "'statuses' has a value twice"},
		{"unknown type", post, "/chats", `{"types":["TALK"]}`, 400, "unknown value: 'TALK'"},
		{"direct context", post, "/chats", `{"contexts":[{"type":"DIRECT","id":1}]}`, 400, "'context.type'"},
		{"two bodies", post, "/chats", `{} {}`, 400, "cannot be read"},
		{"open nothing", post, "/chats/new", `{}`, 400, "'context' is missing"},
		{"open in capitals", post, "/chats/new", `{"Context":{"type":"ORDER","id":1}}`, 400, "'context' is missing"},
		{"open with a capital", post, "/chats/new", `{"context":{"type":"ORDER","ID":1}}`, 400, "'context.id'"},
		{"open by the legacy id", post, "/chats/new", `{"orderId":77}`, 400, "'context' is missing"},
		{"text in capitals", post, "/chats/message?chatId=5", `{"MESSAGE":"a"}`, 400, "1 to 4096"},
		{"parameter in lower case", get, "/chat?chatid=5", "", 400, "'chatId'"},
		{"open a direct chat", post, "/chats/new", `{"context":{"type":"DIRECT","id":1}}`, 400, "'context.type'"},
		{"open order zero", post, "/chats/new", `{"context":{"type":"ORDER","id":0}}`, 400, "'context.id'"},
		{"open by a text", post, "/chats/new", `"ORDER"`, 400, "JSON object"},
		{"no text", post, "/chats/message?chatId=5", `{}`, 400, "1 to 4096"},
		{"text too long", post, "/chats/message?chatId=5", `{"message":"` + strings.Repeat("ы", 4097) + `"}`, 400, "1 to 4096"},
		{"text of a number", post, "/chats/message?chatId=5", `{"message":1}`, 400, "cannot be read"},
		{"text to an unknown chat", post, "/chats/message?chatId=6", `{"message":"a"}`, 404, "Can't find chat by id: '6'"},
		{"file in JSON", post, "/chats/file/send?chatId=5", `{"file":"a"}`, 415, "Content-Type"},
		{"wrong method", http.MethodPut, "/chats", "{}", 405, "PUT"},
		{"wrong path", get, "/chats/all", "", 404, "No resource"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := sendInvalid(t, m, c.method, business+c.path, c.body)
			assert.Equal(t, c.status, got.status)
			assert.Contains(t, got.body, c.text)
			assert.True(t, strings.HasPrefix(got.body, `{"status":"ERROR","errors":[{"code":"`), got.body)
		})
	}
	t.Cleanup(func() { assert.Empty(t, m.Messages(5)) })
}

func TestMarket_AcceptsRequestsAtTheBounds(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	m.AddChat(chats.Chat{ID: 5})
	for path, body := range map[string]string{
		"/chats?limit=20":                    `{"statuses":null,"unknown":[]}`,
		"/chats/history?chatId=5&limit=100":  `{"messageIdFrom":null}`,
		"/chats/message?chatId=5&unknown=no": `{"message":"` + strings.Repeat("ы", 4096) + `"}`,
	} {
		got := sendInvalid(t, m, http.MethodPost, business+path, body)
		assert.Equal(t, http.StatusOK, got.status, got.body)
	}
	assert.Len(t, m.Messages(5), 1)
}

func TestMarket_Credentials(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket(chatstest.WithBusiness(8))
	assert.Regexp(t, `^ACMA:[A-Za-z0-9]{40}:[0-9a-f]{8}$`, m.Key())
	ask := func(url, header, value string) result {
		req := request(contract.Skip(t.Context()), t, http.MethodPost, url, "{}")
		req.Header.Del("Api-Key")
		req.Header.Set(header, value)
		return exchange(t, m.Transport(), req)
	}
	const mine = host + "/v2/businesses/8/chats"
	for _, c := range []struct {
		name, url, header, value string
		status                   int
	}{
		{"the key", mine, "Api-Key", m.Key(), 200},
		{"the token", mine, "Authorization", "Bearer " + m.Token(), 200},
		{"nothing", mine, "X-Other", "x", 401},
		{"another key", mine, "Api-Key", m.Key() + "0", 401},
		{"another token", mine, "Authorization", "Bearer x", 403},
		{"a password", mine, "Authorization", "Basic " + m.Token(), 401},
		{"another business", business + "/chats", "Api-Key", m.Key(), 403},
		{"no business", host + "/v2/businesses/mine/chats", "Api-Key", m.Key(), 400},
	} {
		assert.Equal(t, c.status, ask(c.url, c.header, c.value).status, c.name)
	}
	old := m.Key()
	m.SetKey("ACMA:new")
	assert.Equal(t, 401, ask(mine, "Api-Key", old).status)
	assert.Equal(t, 200, ask(mine, "Api-Key", "ACMA:new").status)
}

func TestCreateChat_FindsOrCreates(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket(chatstest.WithSubjects(chats.AboutOrder(1), chats.AboutReturn(2)))
	c := client(t, m)
	there := m.AddChat(chats.Chat{Subject: chats.Subject{Kind: chats.SubjectReturn, Order: 30, Return: 3}})
	m.AddChat(chats.Chat{Subject: chats.AboutOrder(30)})

	order, err := c.OpenChat(t.Context(), chats.AboutOrder(1))
	require.NoError(t, err)
	assert.Equal(t, chats.StatusNew, m.Chat(order).Status)
	ret, err := c.OpenChat(t.Context(), chats.AboutReturn(2))
	require.NoError(t, err)
	assert.NotZero(t, m.Chat(ret).Subject.Order, "a return has an order")
	found, err := c.OpenChat(t.Context(), chats.AboutReturn(3))
	require.NoError(t, err)
	assert.Equal(t, there, found)
	assert.Len(t, m.Chats(), 4)

	_, err = c.OpenChat(t.Context(), chats.AboutOrder(2))
	require.ErrorIs(t, err, chats.ErrNotFound)
	require.ErrorContains(t, err, "Order not found: '2'")
	_, err = c.OpenChat(t.Context(), chats.AboutReturn(1))
	assert.ErrorContains(t, err, "Return not found: '1'")
}

func TestFinishChat_RejectsMessages(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	id := m.AddChat(chats.Chat{})
	m.CustomerSays(id, "Спасибо")
	m.FinishChat(id)
	c := client(t, m)
	for _, err := range []error{
		c.SendText(t.Context(), id, "Пожалуйста"),
		c.SendFile(t.Context(), id, "a.txt", strings.NewReader("a")),
	} {
		var refused *chats.Error
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, http.StatusBadRequest, refused.StatusCode)
		assert.Contains(t, refused.Details[0].Message, "closed")
	}
	assert.Len(t, m.Messages(id), 1)
	assert.Equal(t, chats.StatusFinished, m.Chat(id).Status)
}

func TestGetChats_CombinesFilters(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	order := m.AddChat(chats.Chat{Subject: chats.AboutOrder(1), Status: chats.StatusWaitingForPartner})
	ret := m.AddChat(chats.Chat{Subject: chats.Subject{Kind: chats.SubjectReturn, Order: 1, Return: 1}})
	dispute := m.AddChat(chats.Chat{Type: chats.ChatTypeArbitrage, Status: chats.StatusWaitingForArbiter})
	direct := m.AddChat(chats.Chat{Subject: chats.Subject{Kind: chats.SubjectDirect}})
	for _, c := range []struct {
		name   string
		filter chats.Filter
		want   []chats.ChatID
	}{
		{"all", chats.Filter{}, []chats.ChatID{order, ret, dispute, direct}},
		{"an order", chats.Filter{Subjects: []chats.Subject{chats.AboutOrder(1)}}, []chats.ChatID{order}},
		{
			"an order and a return",
			chats.Filter{Subjects: []chats.Subject{chats.AboutOrder(1), chats.AboutReturn(1)}},
			[]chats.ChatID{order, ret},
		},
		{"a kind", chats.Filter{SubjectKinds: []chats.SubjectKind{chats.SubjectDirect}}, []chats.ChatID{direct}},
		{"a type", chats.Filter{Types: []chats.ChatType{chats.ChatTypeArbitrage}}, []chats.ChatID{dispute}},
		{"a status", chats.Filter{Statuses: []chats.Status{chats.StatusNew}}, []chats.ChatID{ret, direct}},
		{
			"a status and a kind",
			chats.Filter{Statuses: []chats.Status{chats.StatusNew}, SubjectKinds: []chats.SubjectKind{chats.SubjectReturn}},
			[]chats.ChatID{ret},
		},
		{
			"nothing fits both",
			chats.Filter{Types: []chats.ChatType{chats.ChatTypeArbitrage}, Statuses: []chats.Status{chats.StatusNew}},
			nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got []chats.ChatID
			for _, chat := range collect(t, client(t, m).Chats(t.Context(), c.filter)) {
				got = append(got, chat.ID)
			}
			assert.ElementsMatch(t, c.want, got)
		})
	}
	got := exchange(t, m.Transport(), request(t.Context(), t, http.MethodPost, business+"/chats", `{"Types":["ARBITRAGE"]}`))
	assert.Equal(t, 4, strings.Count(got.body, `"chatId"`), "a name in another case is another name")
}

func TestWithLegacyOrderIDs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options []chatstest.Option
		found   int // chats found by orderIds, which the server either ignores or supports
		status  int // of the response to creating a chat by orderId
		fields  int // order IDs in one chat and one history, outside the contexts
	}{
		"off": {nil, 3, http.StatusBadRequest, 0},
		"on":  {[]chatstest.Option{chatstest.WithLegacyOrderIDs()}, 2, http.StatusOK, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := chatstest.NewMarket(c.options...)
			id := m.AddChat(chats.Chat{Subject: chats.AboutOrder(1)})
			m.AddChat(chats.Chat{Subject: chats.Subject{Kind: chats.SubjectReturn, Order: 1, Return: 1}})
			m.AddChat(chats.Chat{})
			send := func(method, path, body string) result {
				return sendInvalid(t, m, method, business+path, body)
			}
			got := send(http.MethodPost, "/chats", `{"orderIds":[1]}`)
			assert.Equal(t, c.found, strings.Count(got.body, `"chatId"`))
			got = send(http.MethodPost, "/chats", `{"orderIds":[]}`)
			assert.Equal(t, c.fields > 0, got.status == http.StatusBadRequest)
			assert.Equal(t, c.status, send(http.MethodPost, "/chats/new", `{"orderId":77}`).status)
			body := send(http.MethodGet, fmt.Sprintf("/chat?chatId=%d", id), "").body +
				send(http.MethodPost, fmt.Sprintf("/chats/history?chatId=%d", id), "{}").body
			assert.Equal(t, 2+c.fields, strings.Count(body, `"orderId":1`))
			assert.Equal(t, 2, strings.Count(body, `"context":{"type":"ORDER","orderId":1}`))
		})
	}
}

func TestSendFileToChat_FormMustBeComplete(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	id := m.AddChat(chats.Chat{ID: 5})
	whole := form(t, part{"note", "", "ignored"}, part{"file", "a.txt", "content"})
	for _, c := range []struct {
		name, body, text string
	}{
		{"cut within the file", whole[:len(whole)-20], "not complete"},
		{"cut within a header", whole[:len(whole)-30], "not complete"},
		{"cut before the end", whole[:len(whole)-4], "not complete"},
		{"empty", "", "not complete"},
		{"no header", "--b\r\nx\r\n--b--", "cannot be read"},
		{"no parts", "--b--\r\n", "has 0"},
		{"another name", form(t, part{"photo", "a.txt", "content"}), "has 0"},
		{"two files", form(t, part{"file", "a", "a"}, part{"file", "b", "b"}), "has 2"},
		{"no file name", form(t, part{"file", "", "content"}), "no name"},
		{"nothing in it", form(t, part{"file", "a.txt", ""}), "empty"},
		{"a byte too many", form(t, part{"file", "a.txt", strings.Repeat("a", chats.MaxFileSize+1)}), "larger"},
		{"far too much", form(t, part{"file", "a.txt", strings.Repeat("a", 6<<20)}), "larger"},
	} {
		req := request(contract.Skip(t.Context()), t, http.MethodPost, business+"/chats/file/send?chatId=5", c.body)
		req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		got := exchange(t, m.Transport(), req)
		assert.Equal(t, http.StatusBadRequest, got.status, c.name)
		assert.Contains(t, got.body, c.text, c.name)
	}
	assert.Empty(t, m.Messages(id))
	assert.Empty(t, m.Uploads(id))

	largest := form(t, part{"file", "a.txt", strings.Repeat("a", chats.MaxFileSize)})
	for _, body := range []string{whole, largest} {
		req := request(contract.Skip(t.Context()), t, http.MethodPost, business+"/chats/file/send?chatId=5", body)
		req.Header.Set("Content-Type", "multipart/form-data; boundary=b")
		assert.Equal(t, http.StatusOK, exchange(t, m.Transport(), req).status)
	}
	assert.Len(t, m.Uploads(id), 2)
}

type part struct{ name, file, content string }

func form(t *testing.T, parts ...part) string {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	require.NoError(t, w.SetBoundary("b"))
	for _, p := range parts {
		create := func() (interface{ Write([]byte) (int, error) }, error) { return w.CreateFormField(p.name) }
		if p.file != "" {
			create = func() (interface{ Write([]byte) (int, error) }, error) { return w.CreateFormFile(p.name, p.file) }
		}
		field, err := create()
		require.NoError(t, err)
		_, err = field.Write([]byte(p.content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return body.String()
}
