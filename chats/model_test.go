package chats_test

import (
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// successBody returns the body of a response to op with item as its chat or message.
func successBody(op chats.Operation, item string) string {
	switch op {
	case chats.OpGetChats:
		return `{"status":"OK","result":{"chats":[` + item + `]}}`
	case chats.OpGetChatHistory:
		return `{"status":"OK","result":{"messages":[` + item + `]}}`
	}
	return `{"status":"OK","result":` + item + `}`
}

var testTime = time.Date(2026, 3, 2, 11, 40, 0, 0, time.FixedZone("", 3*60*60))

func TestChats_UnknownValuesAndFieldsAreAccepted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, chat string
		want       chats.Chat
	}{
		{
			"unknown values and fields", `{"chatId":7,"type":"GROUP","status":"ASLEEP","mood":{"deep":[1,null]},
			"createdAt":"2026-03-02T11:40:00+03:00","updatedAt":"2026-03-02T11:40:00.123456789+03:00",
			"context":{"type":"GIFT","orderId":1,"returnId":2,"campaignId":3,"customer":{"name":"Анна","publicId":"x","age":30},"why":true}}`,
			chats.Chat{
				ID: 7, Type: "GROUP", Status: "ASLEEP", Subject: chats.Subject{Kind: "GIFT", Order: 1, Return: 2}, Campaign: 3,
				Customer: chats.Customer{Name: "Анна", PublicID: "x"}, CreatedAt: testTime, UpdatedAt: testTime.Add(123456789),
			},
		},
		{
			"DIRECT without ids", `{"chatId":7,"type":"CHAT","status":"NEW","createdAt":"2026-03-02T11:40:00+03:00",
			"updatedAt":"2026-03-02T11:40:00+03:00","context":{"type":"DIRECT"}}`,
			chats.Chat{
				ID: 7, Type: chats.ChatTypeChat, Status: chats.StatusNew, Subject: chats.Subject{Kind: chats.SubjectDirect},
				CreatedAt: testTime, UpdatedAt: testTime,
			},
		},
		{"all optional fields null", `{"chatId":7,"orderId":null,"type":null,"status":null,"createdAt":null,"updatedAt":null,
			"context":{"type":null,"orderId":null,"returnId":null,"campaignId":null,"customer":null}}`, chats.Chat{ID: 7}},
		{"an id only", `{"chatId":7}`, chats.Chat{ID: 7}},
		{"no context", `{"chatId":7,"context":null}`, chats.Chat{ID: 7}},
		{"the largest id", `{"chatId":9223372036854775807}`, chats.Chat{ID: math.MaxInt64}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.market.Fail(chats.OpGetChat, chatstest.Malformed(successBody(chats.OpGetChat, tt.chat)))
			f.market.Fail(chats.OpGetChats, chatstest.Malformed(successBody(chats.OpGetChats, tt.chat+`,{"chatId":8}`)))
			got, err := f.client.Chat(t.Context(), tt.want.ID)
			require.NoError(t, err)
			assertSameChat(t, tt.want, got)
			list := mustCollect(t, f.client.Chats(t.Context(), chats.Filter{}))
			require.Len(t, list, 2)
			assertSameChat(t, tt.want, list[0])
		})
	}
}

// The order of a chat is that of its context.
func TestChats_LegacyOrderIDIsNotRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.market.Fail(chats.OpGetChat, chatstest.Malformed(successBody(chats.OpGetChat, `{"chatId":7,"orderId":5,"context":{"type":"DIRECT"}}`)))
	got, err := f.client.Chat(t.Context(), 7)
	require.NoError(t, err)
	assert.Equal(t, chats.Chat{ID: 7, Subject: chats.Subject{Kind: chats.SubjectDirect}}, got)
}

// assertSameChat compares times with Equal: one instant has many time.Time values.
func assertSameChat(t *testing.T, want, got chats.Chat) {
	t.Helper()
	assert.True(t, want.CreatedAt.Equal(got.CreatedAt), "created at %s", got.CreatedAt)
	assert.True(t, want.UpdatedAt.Equal(got.UpdatedAt), "updated at %s", got.UpdatedAt)
	got.CreatedAt, got.UpdatedAt = want.CreatedAt, want.UpdatedAt
	assert.Equal(t, want, got)
}

func TestHistory_UnknownValuesAndFieldsAreAccepted(t *testing.T) {
	t.Parallel()
	const begin = `{"messageId":7,"createdAt":"2026-03-02T11:40:00+03:00","sender":"CUSTOMER"`
	photo := chats.File{Name: "a.jpg", URL: "https://files.example/a", Size: 5}
	const jpeg = `{"name":"a.jpg","url":"https://files.example/a","size":5}`
	tests := []struct {
		name, message string
		want          chats.Message
	}{
		{
			"unknown sender and fields", `{"messageId":7,"createdAt":"2026-03-02T08:40:00Z","sender":"ROBOT","reactions":[{"a":1}],"message":"Да"}`,
			chats.Message{Sender: "ROBOT", Text: "Да"},
		},
		{"without text and files", begin + `}`, chats.Message{Sender: chats.SenderCustomer}},
		{"payload null, text null", begin + `,"payload":null,"message":null}`, chats.Message{Sender: chats.SenderCustomer}},
		{"payload empty", begin + `,"payload":[]}`, chats.Message{Sender: chats.SenderCustomer}},
		{"payload holding a null", begin + `,"payload":[null,` + jpeg + `,null]}`, chats.Message{Sender: chats.SenderCustomer, Files: []chats.File{photo}}},
		{"payload with nothing but nulls", begin + `,"payload":[null,{}]}`, chats.Message{Sender: chats.SenderCustomer}},
		{
			"a file with nulls", begin + `,"payload":[{"name":null,"url":"u","size":null,"hash":"x"}]}`,
			chats.Message{Sender: chats.SenderCustomer, Files: []chats.File{{URL: "u"}}},
		},
		{
			"a huge file", begin + `,"payload":[{"name":"a","url":"u","size":9223372036854775807}]}`,
			chats.Message{Sender: chats.SenderCustomer, Files: []chats.File{{Name: "a", URL: "u", Size: math.MaxInt64}}},
		},
		{
			"text and files", begin + `,"message":"\u0416 \ud83d\udc4d <b>&amp;","payload":[` + jpeg + `,` + jpeg + `]}`,
			chats.Message{Sender: chats.SenderCustomer, Text: "Ж 👍 <b>&amp;", Files: []chats.File{photo, photo}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.market.Fail(chats.OpGetChatMessage, chatstest.Malformed(successBody(chats.OpGetChatMessage, tt.message)))
			f.market.Fail(chats.OpGetChatHistory, chatstest.Malformed(successBody(chats.OpGetChatHistory, tt.message)))
			got, err := f.client.Message(t.Context(), f.chat, 7)
			require.NoError(t, err)
			history := mustCollect(t, f.client.History(t.Context(), f.chat, 0))
			require.Len(t, history, 1)
			for _, message := range []chats.Message{got, history[0]} {
				assert.True(t, testTime.Equal(message.CreatedAt), "%s", message.CreatedAt)
				want := tt.want
				want.ID, want.CreatedAt = 7, message.CreatedAt
				assert.Equal(t, want, message)
			}
		})
	}
}

func TestChatsAndHistory_PagingMayBeMissing(t *testing.T) {
	t.Parallel()
	for _, paging := range []string{``, `,"paging":null`, `,"paging":{}`, `,"paging":{"nextPageToken":null}`, `,"paging":{"nextPageToken":"","prevPageToken":"p"}`} {
		f := newFixture(t)
		f.market.Fail(chats.OpGetChats, chatstest.Malformed(`{"status":"OK","result":{"chats":[{"chatId":1}]`+paging+`}}`))
		f.market.Fail(chats.OpGetChatHistory, chatstest.Malformed(`{"status":"OK","result":{"messages":[{"messageId":1}]`+paging+`}}`))
		assert.Len(t, mustCollect(t, f.client.Chats(t.Context(), chats.Filter{})), 1)
		assert.Len(t, mustCollect(t, f.client.History(t.Context(), f.chat, 0)), 1)
	}
}

func TestResponse_UnknownStatusFailsNoRead(t *testing.T) {
	t.Parallel()
	for _, op := range []chats.Operation{chats.OpGetChats, chats.OpGetChat, chats.OpGetChatHistory, chats.OpGetChatMessage, chats.OpCreateChat} {
		for _, status := range []string{`"status":"PARTIAL",`, `"status":null,`, `"status":7,"errors":"none",`, ``} {
			_, err := callWithBody(t, op, `{`+status+`"result":{"chatId":1,"messageId":1,"chats":[],"messages":[]}}`)
			require.NoError(t, err, "%s: %s", op, status)
		}
	}
}

// A cache may ignore the query of a request, and respond with another customer's chat.
func TestResponse_OfAnotherChatOrMessageIsError(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	other := f.market.AddChat(chats.Chat{})
	second := f.market.CustomerSays(f.chat, "Ау?")
	for op, calls := range map[chats.Operation][]func() (any, error){
		chats.OpGetChat: {
			func() (any, error) { return f.client.Chat(t.Context(), f.chat) },
			func() (any, error) { return f.client.Chat(t.Context(), other) },
		},
		chats.OpGetChatMessage: {
			func() (any, error) { return f.client.Message(t.Context(), f.chat, f.first) },
			func() (any, error) { return f.client.Message(t.Context(), f.chat, second) },
		},
	} {
		_, err := calls[0]()
		require.NoError(t, err)
		f.market.Fail(op, chatstest.Replay())
		got, err := calls[1]()
		require.ErrorIs(t, err, chats.ErrProtocol, op)
		assert.Zero(t, got, op)
		require.ErrorContains(t, err, "another chat or message", op)
		assert.Equal(t, 2, f.market.Calls(op), "a retry would not help")
	}
}

func TestResponse_RequiredFields(t *testing.T) {
	t.Parallel()
	const noID, noResult, noList = "without an ID", "no result", "no list"
	tests := []struct {
		name, body, want string
		ops              []chats.Operation
	}{
		{"no result", `{"status":"OK"}`, noResult, []chats.Operation{chats.OpGetChat, chats.OpGetChatMessage, chats.OpCreateChat}},
		{"result null", `{"status":"OK","result":null}`, noResult, []chats.Operation{
			chats.OpGetChats, chats.OpGetChat, chats.OpGetChatHistory, chats.OpGetChatMessage, chats.OpCreateChat,
		}},
		{"no result with a list", `{"status":"OK"}`, noList, []chats.Operation{chats.OpGetChats, chats.OpGetChatHistory}},
		{"result empty", `{"status":"OK","result":{}}`, noID, []chats.Operation{chats.OpGetChat, chats.OpGetChatMessage, chats.OpCreateChat}},
		{"list absent", `{"status":"OK","result":{"paging":{"nextPageToken":"a"}}}`, noList, []chats.Operation{chats.OpGetChats, chats.OpGetChatHistory}},
		{"list null", `{"status":"OK","result":{"chats":null,"messages":null}}`, noList, []chats.Operation{chats.OpGetChats, chats.OpGetChatHistory}},
		{"id below 1", `{"status":"OK","result":{"chatId":-7,"messageId":0}}`, noID, []chats.Operation{chats.OpGetChat, chats.OpGetChatMessage, chats.OpCreateChat}},
		{
			"id too large", `{"status":"OK","result":{"chatId":9223372036854775808,"messageId":1e30}}`, noID,
			[]chats.Operation{chats.OpGetChat, chats.OpGetChatMessage, chats.OpCreateChat},
		},
		{"list of another type", `{"status":"OK","result":{"chats":{},"messages":"none"}}`, "invalid JSON response", []chats.Operation{chats.OpGetChats, chats.OpGetChatHistory}},
		{"no status", `{"result":{"chatId":1,"messageId":1,"chats":[],"messages":[]}}`, "status", []chats.Operation{chats.OpSendMessageToChat, chats.OpSendFileToChat}},
		{"unknown status", `{"status":"MAYBE","result":{"chatId":1}}`, "status", []chats.Operation{chats.OpSendMessageToChat, chats.OpSendFileToChat}},
		{"unknown status and no result", `{"status":"MAYBE"}`, "status", []chats.Operation{chats.OpGetChat, chats.OpGetChatMessage, chats.OpCreateChat}},
		{"an array", `[]`, "invalid JSON response", chats.Operations()},
		{"null", `null`, "status", chats.Operations()},
		{"two documents", `{"status":"OK","result":{"chatId":1,"messageId":1,"chats":[],"messages":[]}}{}`, "invalid JSON response", chats.Operations()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, op := range tt.ops {
				f, err := callWithBody(t, op, tt.body)
				require.ErrorIs(t, err, chats.ErrProtocol, op)
				assert.Contains(t, err.Error(), tt.want, op)
				var e *chats.Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, http.StatusOK, e.StatusCode)
				assert.NotEmpty(t, e.TraceParent)
				assert.Empty(t, e.Details)
				assert.Equal(t, 1, f.market.Calls(op), "a retry would not help")
			}
		})
	}
}

func TestChatsAndHistory_EmptyListIsValid(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	body := `{"status":"OK","result":{"chats":[],"messages":[]}}`
	f.market.Fail(chats.OpGetChats, chatstest.Malformed(body), chatstest.Malformed(body))
	f.market.Fail(chats.OpGetChatHistory, chatstest.Malformed(body), chatstest.Malformed(body))
	assert.Empty(t, mustCollect(t, f.client.Chats(t.Context(), chats.Filter{})))
	assert.Empty(t, mustCollect(t, f.client.History(t.Context(), f.chat, 0)))
	require.NoError(t, f.call(t.Context(), chats.OpGetChats))
	require.NoError(t, f.call(t.Context(), chats.OpGetChatHistory))
}

func TestSendTextAndSendFile_NeedNoResult(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"status":"OK"}`, `{"status":"OK","result":null}`, `{"status":"OK","result":{"messageId":5}}`, `{"status":"OK","result":[1],"errors":null}`} {
		for _, op := range []chats.Operation{chats.OpSendMessageToChat, chats.OpSendFileToChat} {
			_, err := callWithBody(t, op, body)
			assert.NoError(t, err, "%s: %s", op, body)
		}
	}
}

// A message that the server may not have posted must not look posted.
func TestSendTextAndSendFile_ErrorsDespiteStatusOKAreDoubt(t *testing.T) {
	t.Parallel()
	for _, errs := range []string{`[{"code":"A","message":"why"}]`, `[{"code":"A","message":"why"}],"result":{}`} {
		for _, op := range []chats.Operation{chats.OpSendMessageToChat, chats.OpSendFileToChat} {
			_, err := callWithBody(t, op, `{"status":"OK","errors":`+errs+`}`)
			require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
			require.ErrorIs(t, err, chats.ErrProtocol)
			var e *chats.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, []chats.Detail{{Code: "A", Message: "why"}}, e.Details, "a person has to know")
		}
	}
	_, err := callWithBody(t, chats.OpGetChatHistory, `{"status":"OK","errors":[{"code":"A"}],"result":{"messages":[]}}`)
	require.NoError(t, err, "the result counts")
	_, err = callWithBody(t, chats.OpGetChatHistory, `{"status":"OK","errors":[{"code":"A"}]}`)
	require.ErrorIs(t, err, chats.ErrProtocol)
	assert.ErrorContains(t, err, "A; response has status OK and errors")
}

func TestEnums_MatchTheContract(t *testing.T) {
	t.Parallel()
	assertEnum(t, "ChatType", chats.ChatType.Known, chats.ChatTypeChat, chats.ChatTypeArbitrage)
	assertEnum(t, "ChatStatusType", chats.Status.Known, chats.StatusNew, chats.StatusWaitingForCustomer,
		chats.StatusWaitingForPartner, chats.StatusWaitingForArbiter, chats.StatusWaitingForMarket, chats.StatusFinished)
	assertEnum(t, "ChatMessageSenderType", chats.Sender.Known, chats.SenderPartner, chats.SenderCustomer, chats.SenderMarket, chats.SenderSupport)
	assertEnum(t, "ChatContextType", chats.SubjectKind.Known, chats.SubjectOrder, chats.SubjectReturn, chats.SubjectDirect)
}

func assertEnum[T ~string](t *testing.T, schema string, known func(T) bool, constants ...T) {
	t.Helper()
	values := make([]string, 0, len(constants))
	for _, c := range constants {
		values = append(values, string(c))
		assert.True(t, known(c), c)
	}
	assert.ElementsMatch(t, contract.Enumeration(schema), values, schema)
	assert.False(t, known("NEW_VALUE"))
	assert.False(t, known(""))
}
