package chats_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/metrics"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/race"
	"github.com/ymchats/ymchats-go/gen"
)

// oddMessages are forms of a message in which something cannot be read as the contract has
// it. want is nil if the message has no readable ID.
var oddMessages = []struct {
	name, message string
	want          *chats.Message
}{
	{"id as a string", `{"messageId":"7","message":"a"}`, &chats.Message{ID: 7, Text: "a"}},
	{"id with spaces", `{"messageId":" 7 "}`, &chats.Message{ID: 7}},
	{"id with a fraction of zero", `{"messageId":7.0}`, &chats.Message{ID: 7}},
	{"id with an exponent", `{"messageId":7e0}`, &chats.Message{ID: 7}},
	{"large id as a string", `{"messageId":"1795650627397630"}`, &chats.Message{ID: 1795650627397630}},
	{"no id", `{"message":"a"}`, nil},
	{"id null", `{"messageId":null}`, nil},
	{"id empty", `{"messageId":""}`, nil},
	{"id 0", `{"messageId":0}`, nil},
	{"negative id", `{"messageId":-7}`, nil},
	{"id with a fraction", `{"messageId":7.5}`, nil},
	{"id too large", `{"messageId":9223372036854775808}`, nil},
	{"id an object", `{"messageId":{"id":7}}`, nil},
	{"id a list", `{"messageId":[7]}`, nil},
	{"id a UUID", `{"messageId":"6f9619ff-8b86-d011-b42d-00cf4fc964ff"}`, nil},
	{"null", `null`, nil},
	{"a string", `"7"`, nil},
	{"a number", `7`, nil},
	{"a list", `[7]`, nil},
	{"time without an offset", `{"messageId":7,"createdAt":"2026-03-02T08:40:00"}`, &chats.Message{ID: 7, CreatedAt: testTime}},
	{"time with a space", `{"messageId":7,"createdAt":"2026-03-02 11:40:00+03:00"}`, &chats.Message{ID: 7, CreatedAt: testTime}},
	{"time with spaces", `{"messageId":7,"createdAt":"2026-03-02 11:40:00 +0300"}`, &chats.Message{ID: 7, CreatedAt: testTime}},
	{"time with a short offset", `{"messageId":7,"createdAt":"2026-03-02T11:40:00.5+0300"}`, &chats.Message{ID: 7, CreatedAt: testTime.Add(time.Second / 2)}},
	{"time with an impossible offset, which encoding/json cannot write", `{"messageId":7,"createdAt":"2026-03-02T08:40:00+24:30"}`, &chats.Message{ID: 7}},
	{"time in lower case", `{"messageId":7,"createdAt":"2026-03-02t08:40:00z"}`, &chats.Message{ID: 7, CreatedAt: testTime}},
	{"time without seconds", `{"messageId":7,"createdAt":"2026-03-02T08:40"}`, &chats.Message{ID: 7, CreatedAt: testTime}},
	{"Unix time", `{"messageId":7,"createdAt":1772440800}`, &chats.Message{ID: 7, CreatedAt: testTime}},
	{"Unix time in milliseconds", `{"messageId":7,"createdAt":1772440800000}`, &chats.Message{ID: 7, CreatedAt: testTime}},
	{"Unix time in microseconds, as a string", `{"messageId":7,"createdAt":"1772440800000000"}`, &chats.Message{ID: 7, CreatedAt: testTime}},
	{"Unix time in nanoseconds", `{"messageId":7,"createdAt":1772440800000000000}`, &chats.Message{ID: 7, CreatedAt: testTime}},
	{"time empty", `{"messageId":7,"createdAt":""}`, &chats.Message{ID: 7}},
	{"time 0", `{"messageId":7,"createdAt":0}`, &chats.Message{ID: 7}},
	{"time null", `{"messageId":7,"createdAt":null}`, &chats.Message{ID: 7}},
	{"time in words", `{"messageId":7,"createdAt":"yesterday"}`, &chats.Message{ID: 7}},
	{"time an object", `{"messageId":7,"createdAt":{"seconds":1}}`, &chats.Message{ID: 7}},
	{"impossible time", `{"messageId":7,"createdAt":"2026-13-45T99:00:00Z"}`, &chats.Message{ID: 7}},
	{"year beyond JSON's", `{"messageId":7,"createdAt":"9999-12-31 23:59:59-10:00"}`, &chats.Message{ID: 7}},
	{"text an object", `{"messageId":7,"message":{"text":"a"}}`, &chats.Message{ID: 7}},
	{"text a number", `{"messageId":7,"message":5,"sender":"CUSTOMER"}`, &chats.Message{ID: 7, Sender: chats.SenderCustomer}},
	{"sender an object", `{"messageId":7,"sender":{"type":"CUSTOMER"},"message":"a"}`, &chats.Message{ID: 7, Text: "a"}},
	{"size as a string", `{"messageId":7,"payload":[{"name":"a","url":"u","size":"10"}]}`, &chats.Message{ID: 7, Files: []chats.File{{Name: "a", URL: "u", Size: 10}}}},
	{"size with a fraction", `{"messageId":7,"payload":[{"name":"a","url":"u","size":10.5}]}`, &chats.Message{ID: 7, Files: []chats.File{{Name: "a", URL: "u"}}}},
	{"file name a number", `{"messageId":7,"payload":[{"name":5,"url":"u"}]}`, &chats.Message{ID: 7, Files: []chats.File{{URL: "u"}}}},
	{"files that are none", `{"messageId":7,"payload":["a",5,null,[],{"url":"u"}]}`, &chats.Message{ID: 7, Files: []chats.File{{URL: "u"}}}},
	{"payload an object", `{"messageId":7,"payload":{"url":"u"},"message":"a"}`, &chats.Message{ID: 7, Text: "a"}},
	{"payload a string", `{"messageId":7,"payload":"none"}`, &chats.Message{ID: 7}},
	{"line end in a text", "{\"messageId\":7,\"message\":\"a\r\n\tb\"}", &chats.Message{ID: 7, Text: "a\r\n\tb"}},
	{"control characters in a text", "{\"messageId\":7,\"message\":\"\x00a\x1fb\"}", &chats.Message{ID: 7, Text: "\x00a\x1fb"}},
	{"escape that JSON does not have", `{"messageId":7,"message":"it\'s\\ \"\x\u12\u00e9\n"}`, &chats.Message{ID: 7, Text: "it's\\ \"xu12é\n"}},
	{"size not a number", `{"messageId":7,"payload":[{"url":"u","size":NaN}]}`, &chats.Message{ID: 7, Files: []chats.File{{URL: "u"}}}},
	{"text undefined", `{"messageId":7,"message":undefined,"more":[None,-Infinity, +1 ,.5]}`, &chats.Message{ID: 7}},
	{"quotes in a text", `{"messageId":7,"message":"a 55" screen, "new": yes","sender":"CUSTOMER","payload":[{"name":""a" \"b\".pdf","url":"u"}]}`, &chats.Message{
		ID: 7, Text: `a 55" screen, "new": yes`, Sender: chats.SenderCustomer, Files: []chats.File{{Name: `"a" "b".pdf`, URL: "u"}},
	}},
	{"spaces in a value", `{"messageId":7,"createdAt":2026-03-02 11:40:00 +03:00,"payload":[{"url":"u","size":5 KB}]}`, &chats.Message{ID: 7, Files: []chats.File{{URL: "u"}}}},
	{"text missing", `{"messageId":7,"message":,"sender":"CUSTOMER","createdAt": }`, &chats.Message{ID: 7, Sender: chats.SenderCustomer}},
	{"commas too many", `{"messageId":7,,"message":"a,}","payload":[{"url":"u", } , ,], }`, &chats.Message{ID: 7, Text: "a,}", Files: []chats.File{{URL: "u"}}}},
	{"id with leading zeros", `{"messageId":007}`, nil},
	{"odd and unknown fields", `{"messageId":"7","extra":{"createdAt":5,"messageId":[1]},"message":"<b>&"}`, &chats.Message{ID: 7, Text: "<b>&"}},
}

func TestHistory_OddMessageCostsThatMessageOnly(t *testing.T) {
	t.Parallel()
	for _, tt := range oddMessages {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var skipped []int
			f := newFixture(t, chats.WithHook(func(_ context.Context, attempt chats.Attempt) { skipped = append(skipped, attempt.Skipped) }))
			const before, after = `{"messageId":5,"message":"before","createdAt":"2026-03-02T11:40:00+03:00"},`, `,{"messageId":9000000000000000000,"message":"after"}`
			f.market.Fail(chats.OpGetChatHistory, chatstest.Malformed(successBody(chats.OpGetChatHistory, before+tt.message+after)))
			f.market.Fail(chats.OpGetChatMessage, chatstest.Malformed(successBody(chats.OpGetChatMessage, tt.message)))
			got := mustCollect(t, f.client.History(t.Context(), f.chat, 0))
			require.GreaterOrEqual(t, len(got), 2)
			assert.Equal(t, "before", got[0].Text)
			assert.True(t, testTime.Equal(got[0].CreatedAt))
			assert.Equal(t, "after", got[len(got)-1].Text)
			id := chats.MessageID(7)
			if tt.want != nil {
				id = tt.want.ID
			}
			one, err := f.client.Message(t.Context(), f.chat, id)
			if tt.want == nil {
				assert.Len(t, got, 2)
				assert.Equal(t, 1, skipped[0])
				require.ErrorIs(t, err, chats.ErrProtocol)
				return
			}
			require.NoError(t, err)
			assert.Zero(t, skipped[0])
			for _, message := range append([]chats.Message{one}, got...) {
				if message.ID == 5 || message.Text == "after" {
					continue
				}
				assert.True(t, tt.want.CreatedAt.Equal(message.CreatedAt), "%s", message.CreatedAt)
				message.CreatedAt = tt.want.CreatedAt
				assert.Equal(t, *tt.want, message)
			}
		})
	}
}

// An odd item does not change the other items of its page, not even the time zone of their times.
func TestHistory_OddItemLeavesTheOthersAsTheyAre(t *testing.T) {
	t.Parallel()
	odd := false
	market := chatstest.NewMarket(chatstest.WithPreciseTimes(), chatstest.WithOddItems(func(item map[string]any) {
		if odd = !odd; odd {
			item["createdAt"], item["sender"], item["context"] = "2026-03-02 11:40:07 +0300", 1, 2
		}
	}))
	chat := addChatWithMessages(market, 4)
	market.AddChat(chats.Chat{})
	client := newClient(t, market)
	moscow := time.FixedZone("", 3*60*60)
	for i, message := range mustCollect(t, client.History(t.Context(), chat, 0)) {
		want := market.Messages(chat)[i]
		if i%2 == 0 {
			want.CreatedAt, want.Sender = time.Date(2026, 3, 2, 11, 40, 7, 0, moscow), ""
			assert.Equal(t, want.CreatedAt.Format(time.RFC3339Nano), message.CreatedAt.Format(time.RFC3339Nano))
			message.CreatedAt = want.CreatedAt
		}
		assert.Equal(t, want, message)
	}
	assert.Equal(t, market.Chats()[1], mustCollect(t, client.Chats(t.Context(), chats.Filter{}))[1])
}

func TestChats_OddChatCostsThatChatOnly(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, chat string
		want       *chats.Chat
	}{
		{"id as a string", `{"chatId":"7","status":"NEW"}`, &chats.Chat{ID: 7, Status: chats.StatusNew}},
		{"no id", `{"status":"NEW"}`, nil},
		{"id an object", `{"chatId":{}}`, nil},
		{"null", `null`, nil},
		{"a string", `"7"`, nil},
		{"createdAt empty", `{"chatId":7,"createdAt":"","updatedAt":"2026-03-02T08:40:00"}`, &chats.Chat{ID: 7, UpdatedAt: testTime}},
		{"offset of a day", `{"chatId":7,"createdAt":"2026-03-02T08:40:00-24:00","updatedAt":"2026-03-02T08:40:00Z"}`, &chats.Chat{ID: 7, UpdatedAt: testTime}},
		{"status a number", `{"chatId":7,"status":1,"type":"CHAT"}`, &chats.Chat{ID: 7, Type: chats.ChatTypeChat}},
		{"context a string", `{"chatId":7,"context":"ORDER"}`, &chats.Chat{ID: 7}},
		{"context a list", `{"chatId":7,"context":[]}`, &chats.Chat{ID: 7}},
		{"customer a list", `{"chatId":7,"context":{"customer":[],"type":"DIRECT"}}`, &chats.Chat{ID: 7, Subject: chats.Subject{Kind: chats.SubjectDirect}}},
		{
			"ids of the context as strings", `{"chatId":7,"context":{"type":"RETURN","orderId":"1","returnId":2.0,"campaignId":"3"}}`,
			&chats.Chat{ID: 7, Subject: chats.Subject{Kind: chats.SubjectReturn, Order: 1, Return: 2}, Campaign: 3},
		},
		{"customer's name a number", `{"chatId":7,"context":{"customer":{"name":5,"publicId":"x"}}}`, &chats.Chat{ID: 7, Customer: chats.Customer{PublicID: "x"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.market.Fail(chats.OpGetChats, chatstest.Malformed(successBody(chats.OpGetChats, `{"chatId":5},`+tt.chat+`,{"chatId":9}`)))
			f.market.Fail(chats.OpGetChat, chatstest.Malformed(successBody(chats.OpGetChat, tt.chat)))
			list := mustCollect(t, f.client.Chats(t.Context(), chats.Filter{}))
			one, err := f.client.Chat(t.Context(), 7)
			if tt.want == nil {
				assert.Equal(t, []chats.ChatID{5, 9}, chatIDs(list))
				require.ErrorIs(t, err, chats.ErrProtocol)
				return
			}
			require.NoError(t, err)
			assertSameChat(t, *tt.want, one)
			require.Equal(t, []chats.ChatID{5, 7, 9}, chatIDs(list))
			assertSameChat(t, *tt.want, list[1])
		})
	}
}

// Every second message of every page has an ID that cannot be read.
func TestHistory_SkippedItemsAreReportedAndListingGoesOn(t *testing.T) {
	t.Parallel()
	n := 0
	market := chatstest.NewMarket(chatstest.WithOddItems(func(item map[string]any) {
		if n++; n%2 == 0 {
			item["messageId"] = "none"
			item["message"] = "secret content"
		}
	}))
	var log bytes.Buffer
	skipped := 0
	client := newClient(t, market, chats.WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
		chats.WithHook(func(_ context.Context, attempt chats.Attempt) { skipped += attempt.Skipped }))
	chat := addChatWithMessages(market, 250)
	assert.Len(t, mustCollect(t, client.History(t.Context(), chat, 0)), 125)
	assert.Equal(t, 125, skipped)
	assert.Equal(t, 3, strings.Count(log.String(), "level=WARN msg=\"chats: unreadable items skipped\" business=1234567 operation=getChatHistory count="), log.String())
	assert.NotContains(t, log.String(), "secret")
}

func TestPages_PageTokenMayBeANumber(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.market.Fail(chats.OpGetChatHistory, chatstest.Malformed(`{"status":"OK","result":{"messages":[{"messageId":1}],"paging":{"nextPageToken":17}}}`))
	page, err := f.client.HistoryPage(t.Context(), f.chat, 0, chats.PageRequest{})
	require.NoError(t, err)
	assert.Equal(t, "17", page.Next)
}

// What decides about the next page fails if it cannot be read: the listing must not look
// complete.
func TestPages_EmptyPagingIsThatOfTheLastPage(t *testing.T) {
	t.Parallel()
	for _, paging := range []string{`[]`, `{}`, `false`, `""`, `null`, `{"nextPageToken":[]}`, `{"nextPageToken":{}}`, `{"nextPageToken":false}`, `{"nextPageToken":""}`} {
		f := newFixture(t, noRetry)
		f.market.Fail(chats.OpGetChatHistory, chatstest.Malformed(`{"status":"OK","result":{"context":[],"messages":[{"messageId":1}],"paging":`+paging+`}}`))
		f.market.Fail(chats.OpGetChats, chatstest.Malformed(`{"status":"OK","result":{"chats":[{"chatId":1}],"paging":`+paging+`}}`))
		assert.Len(t, mustCollect(t, f.client.History(t.Context(), f.chat, 0)), 1, paging)
		assert.Len(t, mustCollect(t, f.client.Chats(t.Context(), chats.Filter{})), 1, paging)
	}
}

func TestPages_UnreadablePagingIsError(t *testing.T) {
	t.Parallel()
	for _, paging := range []string{`"none"`, `5`, `["a"]`, `{"nextPageToken":{"token":"a"}}`, `{"nextPageToken":["a"]}`, `{"nextPageToken":true}`} {
		f := newFixture(t, noRetry)
		f.market.Fail(chats.OpGetChatHistory, chatstest.Malformed(`{"status":"OK","result":{"messages":[{"messageId":1}],"paging":`+paging+`}}`))
		f.market.Fail(chats.OpGetChats, chatstest.Malformed(`{"status":"OK","result":{"chats":[{"chatId":1}],"paging":`+paging+`}}`))
		_, err := collect(t, f.client.History(t.Context(), f.chat, 0))
		require.ErrorIs(t, err, chats.ErrProtocol, paging)
		_, err = collect(t, f.client.Chats(t.Context(), chats.Filter{}))
		require.ErrorIs(t, err, chats.ErrProtocol, paging)
	}
}

// withBody makes a client respond with a status and a body, compressed if the transport
// asks for it, without a Content-Length.
func clientOfBody(t *testing.T, status int, body func(io.Writer)) *chats.Client {
	t.Helper()
	base := newFileServer(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(status)
		compressed := gzip.NewWriter(w)
		body(compressed)
		_ = compressed.Close()
	})
	return newClientAt(t, base.URL, chats.APIKey("key"), noRetry)
}

// repeatJSON returns a function that writes begin, then item n times, separated by commas,
// then end.
func repeatJSON(begin, item string, n int, end string) func(io.Writer) {
	return func(w io.Writer) {
		_, _ = io.WriteString(w, begin+item+strings.Repeat(","+item, n-1)+end)
	}
}

// A response of a few kilobytes on the wire must not become hundreds of megabytes of heap.
func TestResponse_ItemsAreBounded(t *testing.T) {
	race.SkipSlow(t)
	const messages, chat = `{"status":"OK","result":{"messages":[`, `{"status":"OK","result":{"chatId":1,`
	for name, tt := range map[string]struct {
		status int
		body   func(io.Writer)
	}{
		"empty messages":           {200, repeatJSON(messages, `{}`, 2_790_000, `]}}`)},
		"null messages":            {200, repeatJSON(messages, `null`, 1_670_000, `]}}`)},
		"messages":                 {200, repeatJSON(messages, `{"messageId":1}`, 524_281, `]}}`)},
		"files":                    {200, repeatJSON(messages+`{"messageId":1,"payload":[`, `{}`, 2_790_000, `]}]}}`)},
		"odd files":                {200, repeatJSON(messages+`{"messageId":"1","payload":[`, `[]`, 2_790_000, `]}]}}`)},
		"errors":                   {200, repeatJSON(`{"status":"ERROR","errors":[`, `{}`, 2_790_000, `]}`)},
		"errors of a 500":          {500, repeatJSON(`{"status":"ERROR","errors":[`, `{}`, 2_790_000, `]}`)},
		"errors of a 404":          {404, repeatJSON(`{"status":"ERROR","errors":[`, `{}`, 2_790_000, `]}`)},
		"control characters":       {200, repeatJSON(messages+`{"messageId":1,"message":"`, strings.Repeat("\x01", 8<<10), 1000, `"}]}}`)},
		"unknown lists of a chat":  {200, repeatJSON(chat+`"createdAt":"odd","x":[`, `[]`, 2_790_000, `]}}`)},
		"unknown fields of a chat": {200, repeatJSON(chat+`"createdAt":"odd",`, `"x":0`, 1_390_000, `}}`)},
		"nested lists of a chat":   {200, repeatJSON(chat+`"createdAt":"odd","x":[`, strings.Repeat("[", 900)+strings.Repeat("]", 900), 4_600, `]}}`)},
	} {
		t.Run(name, func(t *testing.T) { // not parallel: the heap is measured
			client := clientOfBody(t, tt.status, tt.body)
			for op, call := range map[string]func() error{
				"page": func() error {
					_, err := client.HistoryPage(t.Context(), 1, 0, chats.PageRequest{})
					return err
				},
				"chat": func() error { _, err := client.Chat(t.Context(), 1); return err },
				"API": func() error {
					resp, err := client.API().GetChatHistoryWithResponse(t.Context(), 1, &gen.GetChatHistoryParams{ChatID: 1}, gen.GetChatHistoryRequest{})
					if err == nil && resp.StatusCode() != http.StatusOK {
						return fmt.Errorf("status %d", resp.StatusCode())
					}
					return err
				},
			} {
				before := allocated()
				err := call()
				assert.Less(t, (allocated()-before)>>20, uint64(120), "%s: MiB", op)
				require.Error(t, err, op)
				if op != "API" && tt.status == http.StatusOK {
					require.ErrorIs(t, err, chats.ErrProtocol, op)
				}
			}
		})
	}
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// A server may send more than the limit, but not many times as much.
func TestPages_ItemsOfAPageAreBounded(t *testing.T) {
	t.Parallel()
	for n, valid := range map[int]bool{100: true, 400: true, 401: false, 20_000: false} {
		f := newFixture(t)
		var body bytes.Buffer
		repeatJSON(`{"status":"OK","result":{"messages":[`, `{"messageId":1}`, n, `]}}`)(&body)
		f.market.Fail(chats.OpGetChatHistory, chatstest.Malformed(body.String()))
		_, err := f.client.HistoryPage(t.Context(), f.chat, 0, chats.PageRequest{})
		assert.Equal(t, valid, err == nil, "%d: %v", n, err)
		if !valid {
			require.ErrorIs(t, err, chats.ErrProtocol)
			assert.Contains(t, err.Error(), "too many items")
			assert.Equal(t, 1, f.market.Calls(chats.OpGetChatHistory), "a retry would not help")
		}
	}
}

// Commas in texts are no items.
func TestResponse_TextsDoNotCountAsItems(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var body bytes.Buffer
	text := strings.Repeat(`,{[\",\\`, 800)
	repeatJSON(`{"status":"OK","result":{"messages":[`, `{"messageId":1,"message":"`+text+`"}`, 100, `]}}`)(&body)
	f.market.Fail(chats.OpGetChatHistory, chatstest.Malformed(body.String()))
	page, err := f.client.HistoryPage(t.Context(), f.chat, 0, chats.PageRequest{})
	require.NoError(t, err)
	assert.Len(t, page.Items, 100)
}

func TestResponse_ByteOrderMarkIsSkipped(t *testing.T) {
	t.Parallel()
	for _, op := range chats.Operations() {
		_, err := callWithBody(t, op, "\r\n\ufeff\ufeff"+`{"status":"OK","result":{"chatId":1,"messageId":1,"chats":[],"messages":[]}}`)
		require.NoError(t, err, op)
		f := newFixture(t, noRetry)
		f.market.Fail(op, chatstest.Status(http.StatusForbidden, "\ufeff"+envelope))
		var e *chats.Error
		require.ErrorAs(t, f.call(t.Context(), op), &e)
		assert.Equal(t, []chats.Detail{{Code: "SOME", Message: "some reason"}}, e.Details)
		f.market.Fail(op, chatstest.Malformed("\ufeff"+`{"status":"OK","result":{"chatId":1,"messageId":1,"chats":[],"messages":[]}}`))
		status, err := f.apiCall(t.Context(), op)
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, status)
	}
}

// Without a length of the body, only its JSON shows that the connection closed early.
func TestResponse_BodyWithoutLengthThatEndsEarlyIsRetried(t *testing.T) {
	t.Parallel()
	const body = `{"status":"OK","result":{"chatId":1,"messageId":1,"chats":[],"messages":[]}}`
	for _, cut := range []int{0, 1, 20, len(body) - 1} {
		for _, op := range chats.Operations() {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				f := newFixture(t, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
					n++
					resp := respond(req, http.StatusOK, body)
					if n == 1 {
						resp = respond(req, http.StatusOK, body[:cut])
					}
					resp.ContentLength = -1
					return resp, nil
				})}))
				f.chat, f.first = 1, 1
				err := f.call(t.Context(), op)
				if isSend(op) {
					require.ErrorIs(t, err, chats.ErrOutcomeUnknown, op)
					assert.Equal(t, 1, n, op)
					return
				}
				require.NoError(t, err, op)
				assert.Equal(t, 2, n, op)
			})
		}
	}
}
