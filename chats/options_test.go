package chats_test

import (
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

func TestOptions_InvalidValuesAreRefused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		option chats.Option
		field  string
		reason string
	}{
		{"nil", nil, "option", "is nil"},
		{"no HTTP client", chats.WithHTTPClient(nil), "HTTP client", "is nil"},
		{"no logger", chats.WithLogger(nil), "logger", "is nil"},
		{"a logger without a handler", chats.WithLogger(new(slog.Logger)), "logger", "is nil"},
		{"a logger with a nil handler", chats.WithLogger(slog.New((*slog.TextHandler)(nil))), "logger", "is nil"},
		{"a nil cookie jar", chats.WithHTTPClient(&http.Client{Jar: (*cookiejar.Jar)(nil)}), "HTTP client", "is nil"},
		{"no hook", chats.WithHook(nil), "hook", "is nil"},
		{"no limiter", chats.WithLimiter(nil), "limiter", "is nil"},
		{"a nil limiter", chats.WithLimiter((*countingLimiter)(nil)), "limiter", "is nil"},
		{"a nil transport", chats.WithHTTPClient(&http.Client{Transport: (*http.Transport)(nil)}), "HTTP client", "is nil"},
		{"a nil function", chats.WithHTTPClient(&http.Client{Transport: roundTrip(nil)}), "HTTP client", "is nil"},
		{"no attachment auth", chats.WithAttachmentAuth(nil), "attachment auth", "is nil"},
		{"no slots", chats.WithMaxParallel(0), "max parallel", "at least 1"},
		{"negative MaxAttempts", chats.WithRetry(chats.RetryPolicy{MaxAttempts: -1}), "retry policy", "negative"},
		{"negative BaseDelay", chats.WithRetry(chats.RetryPolicy{BaseDelay: -1}), "retry policy", "negative"},
		{"negative MaxDelay", chats.WithRetry(chats.RetryPolicy{MaxDelay: -1}), "retry policy", "negative"},
		{"negative AttemptTimeout", chats.WithRetry(chats.RetryPolicy{AttemptTimeout: -1}), "retry policy", "negative"},
		{"no name", chats.WithIntegration("", "1"), "integration", "must have a name and a version"},
		{"no version", chats.WithIntegration("desk", ""), "integration", "must have a name and a version"},
		{"too long", chats.WithIntegration(strings.Repeat("a", 98), "1.0"), "integration", "102 characters with the slash, at most 100"},
		{"space", chats.WithIntegration("my desk", "1"), "integration", "printable ASCII without spaces"},
		{"line end", chats.WithIntegration("desk", "1\r\nApi-Key: x"), "integration", "printable ASCII without spaces"},
		{"Cyrillic", chats.WithIntegration("стол", "1"), "integration", "printable ASCII without spaces"},
	}
	for _, tt := range tests {
		_, err := chats.New(1, chats.APIKey("key"), tt.option)
		require.ErrorIs(t, err, chats.ErrInvalidArgument, tt.name)
		var bad *chats.ArgumentError
		require.ErrorAs(t, err, &bad)
		assert.Equal(t, tt.field, bad.Field)
		assert.Contains(t, bad.Reason, tt.reason)
	}
	for _, business := range []chats.BusinessID{0, -1} {
		_, err := chats.New(business, chats.APIKey("key"))
		require.ErrorIs(t, err, chats.ErrInvalidArgument)
		assert.Contains(t, err.Error(), "business")
	}
	client, err := chats.New(77, chats.APIKey("key"), chats.WithIntegration(strings.Repeat("a", 98), "1"), chats.WithMaxParallel(1))
	require.NoError(t, err)
	assert.Equal(t, chats.BusinessID(77), client.Business())
}

func TestOptions_BaseURLIsHTTPSOrLoopback(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"https://api.partner.market.yandex.ru", "https://proxy.example:8443/market/", "HTTPS://proxy.example", "https://10.0.0.1",
		"http://127.0.0.1:8080", "http://localhost", "http://[::1]:80/a", "http://127.8.8.8",
	} {
		_, err := chats.New(1, chats.APIKey("key"), chats.WithBaseURL(address))
		require.NoError(t, err, address)
	}
	for address, reason := range map[string]string{
		"": "is empty", "/v2": "absolute", "api.partner.market.yandex.ru": "absolute", "https://": "absolute", "https://:443": "absolute",
		"ftp://host": "absolute", "https:host": "absolute",
		"https://host\x00": "not a URL", "http://[::1": "not a URL", "https://secret:%zz@host": "not a URL",
		"https://user:secret@host": "must have no user", "https://host?a=secret": "must have no user", "https://host?": "must have no user", "https://host#a": "must have no user",
		"http://api.partner.market.yandex.ru": "must be https", "http://10.0.0.1": "must be https", "http://localhost.example": "must be https",
		"http://0.0.0.0": "must be https",
	} {
		_, err := chats.New(1, chats.APIKey("key"), chats.WithBaseURL(address))
		require.ErrorIs(t, err, chats.ErrInvalidArgument, address)
		assert.Contains(t, err.Error(), "chats: base URL: ")
		assert.Contains(t, err.Error(), reason, address)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestOptions_PlainHTTPAllowsAnyHostInEitherOrder(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	address := chats.WithBaseURL("http://sandbox:8080")
	for _, options := range [][]chats.Option{{address, chats.WithPlainHTTP()}, {chats.WithPlainHTTP(), address}} {
		client := market.Client(append(options, withContract(t, market.Transport()))...)
		_, err := client.Chat(t.Context(), chat)
		require.NoError(t, err)
	}
	_, err := chats.New(1, chats.APIKey("key"), chats.WithPlainHTTP(), chats.WithBaseURL("ftp://sandbox"))
	require.ErrorIs(t, err, chats.ErrInvalidArgument)
	_, err = chats.New(1, chats.APIKey("key"), chats.WithPlainHTTP())
	require.NoError(t, err)
}

func TestOptions_BaseURLPathIsKept(t *testing.T) {
	t.Parallel()
	for _, base := range []string{
		"https://proxy.example/market", "https://proxy.example/market/", "https://proxy.example/market//", "https://proxy.example/market/#",
	} {
		market := chatstest.NewMarket()
		log := &requestLog{next: roundTrip(func(req *http.Request) (*http.Response, error) {
			return respond(req, http.StatusOK, okBody(map[string]any{"chatId": 5})), nil
		})}
		client := market.Client(chats.WithBaseURL(base), chats.WithHTTPClient(&http.Client{Transport: log}))
		_, err := client.Chat(t.Context(), 5)
		require.NoError(t, err)
		_, err = client.API().GetChatWithResponse(t.Context(), 1234567, getChatParams(5))
		require.NoError(t, err)
		for _, req := range log.requests {
			assert.Equal(t, "https://proxy.example/market/v2/businesses/1234567/chat?chatId=5", req.URL.String())
		}
	}
}

func TestOptions_HTTPClientIsNotModified(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	file := market.AddFile("a.txt", []byte("content"))
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	shared := &http.Client{Transport: market.Transport(), Jar: jar, Timeout: time.Minute}
	before := *shared
	client := market.Client(chats.WithHTTPClient(shared))
	chat := market.AddChat(chats.Chat{})
	require.NoError(t, client.SendText(t.Context(), chat, "Да"))
	_, err = download(t, client, file.URL)
	require.NoError(t, err)
	assert.Equal(t, before, *shared)
	assert.Nil(t, shared.CheckRedirect)

	// Later changes by the owner do not affect the library either.
	shared.Transport = forbidRequests(t).Transport
	require.NoError(t, client.SendText(t.Context(), chat, "Да"))
	_, err = download(t, client, file.URL)
	require.NoError(t, err)
}

// New changes no shared state.
func TestNew_LeavesNetHTTPDefaultsUnchanged(t *testing.T) {
	t.Parallel()
	shared, ok := http.DefaultTransport.(*http.Transport)
	require.True(t, ok)
	config, dial := shared.TLSClientConfig, reflect.ValueOf(shared.DialContext).Pointer()
	_, err := chats.New(1, chats.APIKey("key"))
	require.NoError(t, err)
	assert.Same(t, config, shared.TLSClientConfig)
	assert.Equal(t, dial, reflect.ValueOf(shared.DialContext).Pointer())
	assert.Nil(t, http.DefaultClient.Transport)
	assert.Nil(t, http.DefaultClient.CheckRedirect)
}
