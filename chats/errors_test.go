package chats_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

var (
	errorStatuses   = []int{400, 401, 403, 404, 405, 408, 415, 420, 423, 429, 499, 500, 502, 503, 504, 599, 301, 302, 303, 304, 305, 307, 308, 300, 418}
	statusSentinels = map[int]error{
		401: chats.ErrUnauthorized, 403: chats.ErrForbidden, 404: chats.ErrNotFound, 420: chats.ErrRateLimited, 429: chats.ErrRateLimited,
		500: chats.ErrServer, 502: chats.ErrServer, 503: chats.ErrServer, 504: chats.ErrServer, 599: chats.ErrServer,
	}
)

// envelopes are the names of the errorBodies that are the API's own.
var envelopes = map[string]bool{
	"envelope": true, "envelope with status OK": true, "envelope with a result": true, "errors null": true, "errors absent": true,
	"errors empty": true, "errors of nulls": true, "errors of other types": true, "object of unknown shape": true, "empty errors and a result": true,
	"many details": true, "control characters": true, "long details": true, "the key": true,
}

const longText = "слишком длинно "

// errorBodies returns bodies of error responses and the details that the caller gets.
func errorBodies(key string) []struct {
	name, body string
	want       []chats.Detail
} {
	type details = []chats.Detail
	message := func(text string) details { return details{{Message: text}} }
	return []struct {
		name, body string
		want       []chats.Detail
	}{
		{
			"envelope", `{"status":"ERROR","errors":[{"code":"A","message":"why"},{"code":"B"},{"message":"so"}]}`,
			details{{"A", "why"}, {"B", ""}, {"", "so"}},
		},
		{"envelope with status OK", `{"status":"OK","errors":[{"code":"A","message":"why"}]}`, details{{"A", "why"}}},
		{"envelope with a result", `{"status":"OK","result":{"chatId":5},"errors":[{"code":"A"}]}`, details{{"A", ""}}},
		{"errors null", `{"status":"ERROR","errors":null}`, nil},
		{"errors absent", `{"status":"ERROR"}`, nil},
		{"errors empty", `{"status":"ERROR","errors":[]}`, nil},
		{"errors of nulls", `{"status":"ERROR","errors":[null,{},{}]}`, message(`{"errors":[null,{},{}]}`)},
		{"errors of other types", `{"status":"ERROR","errors":[5,{"code":7,"message":"why"},["x"]]}`, message("why")},
		{"errors is not a list", `{"errors":"all of them","message":"why"}`, message("why")},
		{"bare message", `{"message":"why"}`, message("why")},
		{"bare message of another type", `{"message":{"text":"why"}}`, message(`{"message":{"text":"why"}}`)},
		{"object of unknown shape", `{"status":"ERROR","errors":null,"error":{"code":"A", "message":"why"}}`, message(`{"error":{"code":"A","message":"why"}}`)},
		{"errors are strings", `{"errors":["quota of the gateway"]}`, message(`{"errors":["quota of the gateway"]}`)},
		{"empty errors and a result", `{"status":"ERROR","result":{"chatId":1},"errors":[]}`, nil},
		{
			"gateway's HTML page", "<html>\r\n<head><title>Bad</title><style>p {}</style></head><body><h1>Bad &\tWorse</h1><script>go()</script></body></html>",
			message("Bad Bad & Worse"),
		},
		{"plain text", "  upstream\n is\tgone ", message("upstream is gone")},
		{"empty", "", nil},
		{"blank", " \r\n\t ", nil},
		{"truncated JSON", `{"status":"ERROR","errors":[{"code":"A","mess`, message(`{"status":"ERROR","errors":[{"code":"A","mess`)},
		{"JSON string", `"why"`, []chats.Detail{{Message: `"why"`}}},
		{"null", `null`, nil},
		{"a megabyte of text", strings.Repeat(longText, 1<<20/len(longText)), message(string([]rune(strings.Repeat(longText, 100))[:512]))},
		{"a megabyte of JSON", `{"message":"` + strings.Repeat("a", 1<<20) + `"}`, message((`{"message":"` + strings.Repeat("a", 1000))[:512])},
		{
			"long details", `{"errors":[{"code":"` + strings.Repeat("Ж", 2000) + `","message":"` + strings.Repeat("👍", 2000) + `"}]}`,
			details{{strings.Repeat("Ж", 512), strings.Repeat("👍", 512)}},
		},
		{
			"many details", `{"errors":[` + strings.Repeat(`{"code":"A"},`, 99) + `{"code":"B"}]}`,
			details{{"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}, {"A", ""}},
		},
		{
			"control characters", "{\"errors\":[{\"code\":\"A\\u0000\\u001b[31m\",\"message\":\"why\\r\\n\\u2028not\\u202e\\u0085\"}]}",
			details{{"A [31m", "why not"}},
		},
		{"control characters in text", "why\x1b[2J\x00not\xff\xfe", message("why [2J not?")},
		{"the key", `{"errors":[{"code":"` + key + `","message":"no such key: ` + key + `!"}]}`, details{{"[redacted]", "no such key: [redacted]!"}}},
		{"the key in a message", `{"message":"` + key + key + `"}`, message("[redacted][redacted]")},
		{"the key in a page", "<b>" + key + "</b>", message("[redacted]")},
		{"the key where a page is truncated", strings.Repeat(" ", 8*512-10) + key, message("[redacted]")},
		{"the key escaped", `{"message":"\u0041` + key[1:] + `"}`, message("[redacted]")},
		{"the key escaped in an object of unknown shape", `{"error":"\u0041` + key[1:] + `"}`, message(`{"error":"[redacted]"}`)},
	}
}

func TestErrors_StatusDecidesAndBodyExplains(t *testing.T) {
	t.Parallel()
	for _, status := range errorStatuses {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, noRetry)
			for _, body := range errorBodies(f.market.Key()) {
				if len(body.body) > 100_000 && status != 400 && status != 503 {
					continue // slow, and the same for every status
				}
				if status == http.StatusNotModified && body.body != "" {
					continue // HTTP allows no body with it
				}
				f.market.Fail(chats.OpGetChat, chatstest.Status(status, body.body))
				err := f.call(t.Context(), chats.OpGetChat)
				var e *chats.Error
				require.ErrorAs(t, err, &e, body.name)
				assert.Equal(t, status, e.StatusCode, body.name)
				assert.Equal(t, chats.OpGetChat, e.Operation)
				assert.Equal(t, 1, e.Attempts)
				assert.Equal(t, body.want, e.Details, body.name)
				assert.Regexp(t, "^00-[0-9a-f]{32}-[0-9a-f]{16}-01$", e.TraceParent, body.name)
				assert.Equal(t, statusSentinels[status] == chats.ErrRateLimited, e.Limit != nil)
				want := statusSentinels[status]
				if status == 404 && !envelopes[body.name] {
					want = chats.ErrProtocol // a gateway's
				}
				for _, sentinel := range sentinels {
					assert.Equal(t, want == sentinel, errors.Is(err, sentinel), "%s: %v", body.name, sentinel)
				}
				assertReadable(t, err, fmt.Sprintf("chats: getChat: %d: ", status), body.want)
			}
		})
	}
}

// assertReadable asserts that the text of err is one line of printable characters and
// bounded length, begins with begin and has all details.
func assertReadable(t *testing.T, err error, begin string, details []chats.Detail) {
	t.Helper()
	text := err.Error()
	assert.True(t, strings.HasPrefix(text, begin), text)
	assert.Greater(t, len(text), len(begin))
	assert.True(t, utf8.ValidString(text))
	assert.LessOrEqual(t, utf8.RuneCountInString(text), 10*2*512+400)
	assert.False(t, strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }), "%q", text)
	for _, d := range details {
		assert.Contains(t, text, d.Code)
		assert.Contains(t, text, d.Message)
	}
}

func TestErrors_TextSaysWhatToDo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		op     chats.Operation
		status int
		body   string
		want   string
	}{
		{"no details", chats.OpGetChat, 400, ``, "chats: getChat: 400: the server gave no reason"},
		{"details", chats.OpGetChat, 400, `{"errors":[{"code":"A","message":"why"},{"message":"so"},{"code":"B"}]}`, "chats: getChat: 400: A: why; so; B"},
		{"unauthorized", chats.OpGetChats, 401, ``, "chats: getChats: 401: the credential is missing, malformed or revoked: create a new key in the seller's cabinet"},
		{
			"forbidden", chats.OpGetChats, 403, `{"message":"No scope"}`,
			"chats: getChats: 403: the credential lacks access: check its scopes and its business, and whether the token has expired; No scope",
		},
		{
			"parallel limit", chats.OpGetChats, 420, `{"errors":[{"code":"LIMIT","message":"Hit rate limit of 4 parallel requests for business"}]}`,
			"chats: getChats: 420: parallel limit of 4 reached; LIMIT: Hit rate limit of 4 parallel requests for business",
		},
		{
			"a send that may be posted", chats.OpSendMessageToChat, 503, `<h1>Gone</h1>`,
			"chats: sendMessageToChat: 503: Gone; it may have been posted: confirm it with ConfirmAfter and ConfirmResume instead of sending it again",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, noRetry)
			f.market.Fail(tt.op, chatstest.Status(tt.status, tt.body))
			assert.EqualError(t, f.call(t.Context(), tt.op), tt.want)
		})
	}
}

func TestErrors_2xxOutsideContractIsError(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		details    []chats.Detail // nil: the response breaks the contract
		want       string         // part of the error's text
	}{
		{"ERROR with details", envelope, []chats.Detail{{"SOME", "some reason"}}, "200: SOME: some reason"},
		{"ERROR with a bare message", `{"status":"ERROR","message":"why"}`, []chats.Detail{{"", "why"}}, "200: why"},
		{"ERROR with a result", `{"status":"ERROR","result":{"chatId":1,"messageId":1},"errors":[{"code":"A"}]}`, []chats.Detail{{"A", ""}}, "200: A"},
		{"ERROR without details", `{"status":"ERROR"}`, nil, "status is ERROR"},
		{"ERROR with errors null", `{"status":"ERROR","errors":null,"result":{"chatId":1,"messageId":1}}`, nil, "status is ERROR"},
		{"ERROR with an empty error", `{"status":"ERROR","errors":[{}]}`, nil, "status is ERROR"},
		{"ERROR with other fields", `{"status":"ERROR","errors":[null],"requestId":"7f3a"}`, nil, "status is ERROR"},
		{"ERROR with a text for errors", `{"status":"ERROR","errors":["why"]}`, []chats.Detail{{"", `{"errors":["why"]}`}}, "why"},
		{"empty", ``, nil, "empty response"},
		{"blank", "\r\n ", nil, "empty response"},
		{"HTML", `<html>It works!</html>`, nil, "invalid JSON response"},
		{"text", `OK`, nil, "invalid JSON response"},
		{"truncated", `{"status":"OK","result":{"chatId":1`, nil, "invalid JSON response"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, op := range chats.Operations() {
				f, err := callWithBody(t, op, tt.body)
				var e *chats.Error
				require.ErrorAs(t, err, &e, op)
				assert.Equal(t, http.StatusOK, e.StatusCode)
				assert.Equal(t, tt.details, e.Details)
				assert.NotEmpty(t, e.TraceParent)
				assert.Equal(t, tt.details == nil, errors.Is(err, chats.ErrProtocol), op)
				assert.Equal(t, tt.details == nil && isSend(op), errors.Is(err, chats.ErrOutcomeUnknown), op)
				assert.Contains(t, err.Error(), tt.want)
				assertReadable(t, err, "chats: "+string(op)+": 200: ", tt.details)
				assert.Equal(t, 1, f.market.Calls(op))
			}
		})
	}
}

// The decoder quotes a body that does not fit. The quote must be bounded and must not
// have the key in it.
func TestErrors_QuoteOfInvalidBodyIsBoundedAndRedacted(t *testing.T) {
	t.Parallel()
	key := chatstest.NewMarket().Key()
	for _, body := range []string{
		`{"status":"OK","result":{"chatId":` + strings.Repeat("1", 1<<20) + `}}`,
		`{"status":"OK","result":{"chatId":"` + strings.Repeat("x", 1<<20) + `"}}`,
		`{"status":"OK","result":"` + key + `"}`,
		`{"status":"OK","result":{"chatId":` + key + `}}`,
		`{"status":"OK","result":"\n\u001b[2J"}`,
	} {
		_, err := callWithBody(t, chats.OpGetChat, body)
		require.ErrorIs(t, err, chats.ErrProtocol)
		assertReadable(t, err, "chats: getChat: 200: ", nil)
		assert.LessOrEqual(t, utf8.RuneCountInString(err.Error()), 700)
		assert.NotContains(t, err.Error(), key[5:30])
	}
}

func TestResponse_TooLargeIsError(t *testing.T) {
	t.Parallel()
	body := func(n int) string {
		const head, tail = `{"status":"OK","result":{"chatId":1,"padding":"`, `"}}`
		return head + strings.Repeat(" ", n-len(head)-len(tail)) + tail
	}
	_, err := callWithBody(t, chats.OpGetChat, body(8<<20))
	require.NoError(t, err, "exactly the maximum size")
	_, err = callWithBody(t, chats.OpGetChat, body(8<<20+1))
	require.ErrorIs(t, err, chats.ErrProtocol)
	assert.Contains(t, err.Error(), "larger than 8 MiB")
}

func TestResponse_EndlessBodyIsReadUpToLimit(t *testing.T) {
	t.Parallel()
	read := 0
	market := chatstest.NewMarket()
	client := market.Client(noRetry, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		resp := respond(req, http.StatusOK, "")
		resp.ContentLength = -1
		resp.Body = io.NopCloser(readerFunc(func(p []byte) (int, error) {
			read += len(p)
			return len(p), nil
		}))
		return resp, nil
	})}))
	_, err := client.Chat(t.Context(), 1)
	require.ErrorIs(t, err, chats.ErrProtocol)
	assert.LessOrEqual(t, read, 8<<20+1)
}

func TestErrors_WrapTheirCause(t *testing.T) {
	t.Parallel()
	broken := errors.New("the wire is broken")
	market := chatstest.NewMarket()
	client := market.Client(noRetry, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("round trip: %w", broken)
	})}))
	_, err := client.Chat(t.Context(), 1)
	require.ErrorIs(t, err, broken)
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, chats.Error{Operation: chats.OpGetChat, Attempts: 1}, chats.Error{Operation: e.Operation, StatusCode: e.StatusCode, Attempts: e.Attempts, TraceParent: e.TraceParent})
	assert.Equal(t, "chats: getChat: round trip: the wire is broken", err.Error(), "the text has no URL")

	err = client.SendText(t.Context(), 1, "Да")
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
	assert.NotErrorIs(t, err, context.Canceled)
}

func TestErrors_TraceParentIsSanitized(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	client := market.Client(noRetry, chats.WithHTTPClient(&http.Client{Transport: headerRewriter{market.Transport(), func(h http.Header) {
		h.Set("Traceparent", "a\x1b\n"+market.Key()+strings.Repeat("b", 9999))
	}}}))
	_, err := client.Chat(t.Context(), 1)
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, ("a [redacted]" + strings.Repeat("b", 999))[:512], e.TraceParent)
}

// A declared error counts even if the rest of the body cannot be read.
func TestErrors_DeclaredErrorWithUnreadableResult(t *testing.T) {
	t.Parallel()
	for _, op := range chats.Operations() {
		_, err := callWithBody(t, op, `{"status":"ERROR","errors":[{"code":"X","message":"why"}],"result":"none"}`)
		var e *chats.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, []chats.Detail{{Code: "X", Message: "why"}}, e.Details)
		require.NotErrorIs(t, err, chats.ErrProtocol)
		require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
	}
	_, err := callWithBody(t, chats.OpGetChats, `{"status":"OK","result":{"chats":{}}}`)
	require.ErrorIs(t, err, chats.ErrProtocol)
	require.ErrorContains(t, err, "unexpected object in result.chats")
	assert.NotContains(t, err.Error(), "Go ")
}

// A 400 of the server is not an error in an argument that the library has checked.
func TestErrors_ServerRefusalIsNotErrInvalidArgument(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.market.FinishChat(f.chat)
	err := f.client.SendText(t.Context(), f.chat, "Ещё один вопрос")
	require.Error(t, err)
	require.NotErrorIs(t, err, chats.ErrInvalidArgument)
	require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
	assert.Contains(t, err.Error(), "Chat is closed")
}
