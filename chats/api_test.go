package chats_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/gen"
)

func TestAPI_UsesSameCredentialLimitsAndRetries(t *testing.T) {
	t.Parallel()
	for _, op := range chats.Operations() {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				log := &requestLog{next: market.Transport()}
				var seen []chats.Attempt
				f := newFixtureOn(t, market, withContract(t, log), chats.WithIntegration("desk", "1"),
					chats.WithHook(func(_ context.Context, c chats.Attempt) { seen = append(seen, c) }))

				status, err := f.apiCall(t.Context(), op)
				require.NoError(t, err)
				assert.Equal(t, http.StatusOK, status)
				req, _ := log.last(t)
				assert.Equal(t, market.Key(), req.Header.Get("Api-Key"))
				assert.Equal(t, "desk/1", req.Header.Get("X-Market-Integration"))
				assert.Contains(t, req.Header.Get("User-Agent"), "ymchats-go/")
				named, ok := chats.OperationFromContext(req.Context())
				assert.True(t, ok)
				assert.Equal(t, op, named)
				_, reported := f.client.Limit(op)
				assert.True(t, reported)

				// The same retry rules apply.
				market.Fail(op, chatstest.RateLimitedParallel(), chatstest.Status(503, envelope))
				status, err = f.apiCall(t.Context(), op)
				require.NoError(t, err)
				want := map[bool]int{true: 503, false: 200}[isSend(op)]
				assert.Equal(t, want, status)
				assert.Len(t, seen, map[bool]int{true: 3, false: 4}[isSend(op)])

				// So does the hourly quota.
				market.Fail(op, chatstest.RateLimitedHourly(time.Now().Add(late)))
				status, err = f.apiCall(t.Context(), op)
				require.NoError(t, err)
				assert.Equal(t, 420, status)
				_, err = f.apiCall(t.Context(), op)
				require.ErrorIs(t, err, chats.ErrRateLimited)
				var e *chats.Error
				require.ErrorAs(t, err, &e)
				assert.Zero(t, e.Attempts)
			})
		})
	}
}

func TestAPI_ReturnsResponsesOfAnyStatus(t *testing.T) {
	t.Parallel()
	f := newFixture(t, noRetry)
	resp, err := f.client.API().GetChatWithResponse(t.Context(), int64(f.market.Business()), getChatParams(f.chat))
	require.NoError(t, err)
	require.NotNil(t, resp.JSON200)
	assert.Equal(t, int64(f.chat), resp.JSON200.Result.ChatID)
	assert.Equal(t, "200 OK", resp.Status())
	assert.NotEmpty(t, resp.HTTPResponse.Header.Get("Traceparent"))
	assert.Contains(t, string(resp.Body), `"chatId"`)

	resp, err = f.client.API().GetChatWithResponse(t.Context(), int64(f.market.Business()), getChatParams(5))
	require.NoError(t, err, "a response of any status is not an error")
	assert.Equal(t, "404 Not Found", resp.Status())
	require.NotNil(t, resp.JSON404)
	assert.Equal(t, "Can't find chat by id: '5'", resp.JSON404.Errors[0].Message)

	// Later responses must not overwrite this one.
	body := string(resp.Body)
	for range 10 {
		require.NoError(t, f.call(t.Context(), chats.OpGetChats))
	}
	assert.Equal(t, body, string(resp.Body))

	f.market.Fail(chats.OpGetChat, chatstest.DropBefore())
	_, err = f.client.API().GetChatWithResponse(t.Context(), int64(f.market.Business()), getChatParams(f.chat))
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, io.EOF)
}

// Buffers are pooled, and must not be reused before the response is closed.
func TestAPI_BodyIsValidUntilClosed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for range 10 {
		resp, err := f.client.API().GetChat(t.Context(), int64(f.market.Business()), getChatParams(f.chat))
		require.NoError(t, err)
		for range 5 {
			require.NoError(t, f.call(t.Context(), chats.OpGetChatHistory))
		}
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Len(t, body, int(resp.ContentLength))
		assert.Contains(t, string(body), fmt.Sprintf(`"result":{"chatId":%d,`, f.chat))
		require.NoError(t, resp.Body.Close())
		n, err := resp.Body.Read(make([]byte, 10))
		assert.Zero(t, n, "nothing can be read after Close")
		require.Error(t, err)
	}
}

func TestAPI_TruncatedBodyIsError(t *testing.T) {
	t.Parallel()
	var seen []chats.Attempt
	f := newFixture(t, noRetry, chats.WithHook(func(_ context.Context, c chats.Attempt) { seen = append(seen, c) }))
	f.market.Fail(chats.OpGetChat, chatstest.Truncate(10))
	_, err := f.apiCall(t.Context(), chats.OpGetChat)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Len(t, seen, 1)
	require.ErrorIs(t, seen[0].Err, chats.ErrProtocol, "the attempt has failed")
}

func TestAPI_RefusesOtherHostsAndPaths(t *testing.T) {
	t.Parallel()
	edit := func(change func(*url.URL)) gen.RequestEditorFn {
		return func(_ context.Context, req *http.Request) error {
			change(req.URL)
			return nil
		}
	}
	tests := []struct {
		name   string
		change func(*url.URL)
		want   string
	}{
		{"other host", func(u *url.URL) { u.Host = "evil.example" }, "the credential is sent only to https://api.partner.market.yandex.ru:443"},
		{"other port", func(u *url.URL) { u.Host += ":8443" }, "the credential is sent only to"},
		{"other scheme", func(u *url.URL) { u.Scheme = "http" }, "the credential is sent only to"},
		{"unknown path", func(u *url.URL) { u.Path = "/v2/businesses/1/offers" }, "is not a chats operation"},
		{"unrelated path", func(u *url.URL) { u.Path = "/other" }, "is not a chats operation"},
		{"incomplete path", func(u *url.URL) { u.Path = "/v2/businesses/1" }, "is not a chats operation"},
		{"path of another operation", func(u *url.URL) { u.Path = "/v2/businesses/1/chats/history" }, "GET /v2/businesses/1/chats/history is not a chats operation"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client := chatstest.NewMarket().Client(chats.WithHTTPClient(forbidRequests(t)))
			_, err := client.API().GetChatWithResponse(t.Context(), 1, getChatParams(1), edit(tt.change))
			require.ErrorIs(t, err, chats.ErrInvalidArgument)
			assert.Contains(t, err.Error(), tt.want)
		})
	}
}

func TestAPI_RefusesBodyOverTheMaximum(t *testing.T) {
	t.Parallel()
	client := chatstest.NewMarket().Client(chats.WithHTTPClient(forbidRequests(t)))
	_, err := client.API().SendMessageToChatWithResponse(t.Context(), 1, &gen.SendMessageToChatParams{ChatID: 1},
		gen.SendMessageToChatRequest{Text: strings.Repeat("a", 512<<10)})
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
	assert.Contains(t, err.Error(), "at most 524288 allowed")
}

// A body that cannot be read again is sent once.
func TestAPI_RetriesOnlyReplayableBody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		body func(string) io.Reader
		want int
	}{
		{"replayable", func(s string) io.Reader { return bytes.NewBufferString(s) }, 2},
		{"not replayable", func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond}))
			f.market.Fail(chats.OpGetChats, chatstest.Status(500, envelope))
			resp, err := f.client.API().GetChatsWithBodyWithResponse(t.Context(), int64(f.market.Business()), nil, "application/json", tt.body(`{}`))
			require.NoError(t, err)
			assert.Equal(t, map[int]int{2: 200, 1: 500}[tt.want], resp.StatusCode())
			assert.Equal(t, tt.want, f.market.Calls(chats.OpGetChats))
		})
	}
}

// An editor that replaces the body need not know of GetBody.
func TestAPI_SendsTheBodyOfAnEditor(t *testing.T) {
	t.Parallel()
	f := newFixture(t, chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond}))
	f.market.Fail(chats.OpSendMessageToChat, chatstest.RateLimitedParallel()) // a retry sends it, too
	params, text := &gen.SendMessageToChatParams{ChatID: int64(f.chat)}, gen.SendMessageToChatRequest{Text: "Завтра"}
	_, err := f.client.API().SendMessageToChatWithResponse(t.Context(), int64(f.market.Business()), params, text,
		func(_ context.Context, req *http.Request) error {
			body, err := io.ReadAll(req.Body)
			req.Body = io.NopCloser(strings.NewReader(strings.ReplaceAll(string(body), "Завтра", "Послезавтра")))
			return err
		})
	require.NoError(t, err)
	require.Equal(t, 2, f.market.Calls(chats.OpSendMessageToChat))
	assert.Equal(t, "Послезавтра", f.market.Messages(f.chat)[1].Text)
}

// A server rarely echoes a key verbatim.
func TestAPI_RedactsACredentialEchoedInAnotherForm(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	key := market.Key()
	part := key[10:30]
	for name, echo := range map[string]string{
		"URL": url.QueryEscape(key), "JSON": strings.ReplaceAll(key, ":", `\u003a`), "HTML": strings.ReplaceAll(key, ":", "&#58;"),
		"lower case": strings.ToLower(key), "upper case": strings.ToUpper(key), "without its ends": key[3 : len(key)-3],
	} {
		client := market.Client(noRetry, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			resp := respond(req, http.StatusOK, `{"status":"OK","result":{"chatId":1,"createdAt":"`+echo+`"}}`)
			resp.Header["X-Echo"] = []string{echo}
			return resp, nil
		})}))
		_, err := client.API().GetChatWithResponse(t.Context(), 1234567, &gen.GetChatParams{ChatID: 1})
		require.Error(t, err, name)
		assert.NotContains(t, strings.ToLower(err.Error()), strings.ToLower(part), name)
		raw, err := client.API().GetChat(t.Context(), 1234567, &gen.GetChatParams{ChatID: 1})
		require.NoError(t, err)
		assert.NotContains(t, strings.ToLower(raw.Header.Get("X-Echo")), strings.ToLower(part), name)
		require.NoError(t, raw.Body.Close())
	}
	// An error response is searched for parts, too.
	client := market.Client(noRetry, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		return respond(req, http.StatusUnauthorized, `{"status":"ERROR","errors":[{"code":"UNAUTHORIZED","message":"unknown key `+part+`..."}]}`), nil
	})}))
	resp, err := client.API().GetChatWithResponse(t.Context(), 1234567, &gen.GetChatParams{ChatID: 1})
	require.NoError(t, err)
	assert.NotContains(t, string(resp.Body), part)
	assert.Contains(t, string(resp.Body), `"unknown key [redacted]..."`)
}

// A gateway may echo the request's headers.
func TestAPI_RedactsAnEchoedCredential(t *testing.T) {
	t.Parallel()
	server := roundTrip(func(req *http.Request) (*http.Response, error) {
		resp := respond(req, http.StatusBadRequest, `{"message":"unknown key `+req.Header.Get("Api-Key")+`"}`)
		resp.Header["X-Echo"] = []string{"Api-Key: " + req.Header.Get("Api-Key"), "Accept: application/json"}
		return resp, nil
	})
	client, err := chats.New(1, chats.APIKey(testSecret), chats.WithHTTPClient(&http.Client{Transport: server}))
	require.NoError(t, err)
	resp, err := client.API().GetChatWithResponse(t.Context(), 1, getChatParams(1))
	require.NoError(t, err)
	assert.JSONEq(t, `{"message":"unknown key [redacted]"}`, string(resp.Body))
	assert.Equal(t, []string{"Api-Key: [redacted]", "Accept: application/json"}, resp.HTTPResponse.Header["X-Echo"])
}
