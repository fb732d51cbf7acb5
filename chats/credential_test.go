package chats_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// allCredentials returns one credential of every kind, all with the same secret.
func allCredentials(secret string) map[string]chats.Credential {
	source := func(context.Context) (string, error) { return secret, nil }
	return map[string]chats.Credential{
		"APIKey": chats.APIKey(secret), "APIKeySource": chats.APIKeySource(source),
		"OAuthToken": chats.OAuthToken(secret), "OAuthTokenSource": chats.OAuthTokenSource(source),
	}
}

func TestCredential_SetsItsHeaders(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	source := func(secret string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return secret, nil }
	}
	tests := []struct {
		name       string
		credential chats.Credential
		want       http.Header // of the three headers that credentials use
	}{
		{"APIKey", chats.APIKey(market.Key()), http.Header{"Api-Key": {market.Key()}}},
		{"APIKeySource", chats.APIKeySource(source(market.Key())), http.Header{"Api-Key": {market.Key()}}},
		{"OAuthToken", chats.OAuthToken(market.Token()), http.Header{"Authorization": {"Bearer " + market.Token()}, "X-Business-Id": {"1234567"}}},
		{"OAuthTokenSource", chats.OAuthTokenSource(source(market.Token())), http.Header{"Authorization": {"Bearer " + market.Token()}, "X-Business-Id": {"1234567"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			log := &requestLog{next: market.Transport()}
			client, err := chats.New(market.Business(), tt.credential, withContract(t, log))
			require.NoError(t, err)
			mustCollect(t, client.Chats(t.Context(), chats.Filter{}))
			req, _ := log.last(t)
			got := http.Header{}
			for _, name := range []string{"Api-Key", "Authorization", "X-Business-Id"} {
				if values, set := req.Header[name]; set {
					got[name] = values
				}
			}
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestCredential_WrongOneIsRefusedByMarket(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	for want, credential := range map[error]chats.Credential{
		chats.ErrUnauthorized: chats.APIKey("ACMA:unknown:1"), chats.ErrForbidden: chats.OAuthToken("expired"),
	} {
		client, err := chats.New(market.Business(), credential, withContract(t, market.Transport()))
		require.NoError(t, err)
		_, err = client.Chat(t.Context(), 1)
		require.ErrorIs(t, err, want)
	}
}

func TestCredential_SourceIsCalledBeforeEveryAttempt(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	calls := 0
	source := func(ctx context.Context) (string, error) {
		calls++
		assert.Equal(t, "of the call", ctx.Value(contextKey{}))
		key := fmt.Sprint("ACMA:key:", calls)
		market.SetKey(key) // revokes the previous key
		return key, nil
	}
	client, err := chats.New(market.Business(), chats.APIKeySource(source), withContract(t, market.Transport()),
		chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond}))
	require.NoError(t, err)
	assert.Zero(t, calls, "the source is not called before it is needed")
	chat := market.AddChat(chats.Chat{})
	market.Fail(chats.OpGetChat, chatstest.Status(500, ""), chatstest.Refused())
	ctx := context.WithValue(t.Context(), contextKey{}, "of the call")
	_, err = client.Chat(ctx, chat)
	require.NoError(t, err)
	assert.Equal(t, 3, calls)
	require.NoError(t, client.SendText(ctx, chat, "Да"))
	assert.Equal(t, 4, calls)
}

// The response may come from a cache, or say that the key before was replaced.
func TestCredential_KeyOfAnEarlierAttemptIsRedacted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		keys := []string{"ACMA:first-of-several-keys", "ACMA:another-one-afterwards", "ACMA:the-last-of-all-of-them"}
		calls := 0
		source := chats.APIKeySource(func(context.Context) (string, error) {
			calls++
			return keys[calls-1], nil
		})
		client, err := chats.New(market.Business(), source, withContract(t, market.Transport()))
		require.NoError(t, err)
		echo := fmt.Sprintf(`{"status":"ERROR","errors":[{"code":"A","message":"%s or %s"}]}`, keys[0], keys[2])
		market.Fail(chats.OpGetChat, chatstest.Status(500, ""), chatstest.Status(502, ""), chatstest.Status(400, echo))
		_, err = client.Chat(t.Context(), 1)
		require.EqualError(t, err, "chats: getChat: 400: A: [redacted] or [redacted]")
	})
}

func TestCredential_FailingSourceSendsNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		secret string
		err    error
		want   string
	}{
		{"error", "", errDisk, "the disk is gone"},
		{"empty", "", nil, "the credential is empty"},
		{"line end", testSecret + "\n", nil, "not printable ASCII"},
		{"prefix", "Bearer " + testSecret, nil, "pass the bare key"},
		{"non-ASCII letter", testSecret + "Ж", nil, "not printable ASCII"},
	}
	for _, tt := range tests {
		source := func(context.Context) (string, error) { return tt.secret, tt.err }
		for _, credential := range []chats.Credential{chats.APIKeySource(source), chats.OAuthTokenSource(source)} {
			client, err := chats.New(1, credential, chats.WithHTTPClient(forbidRequests(t)))
			require.NoError(t, err)
			for _, call := range []func() error{
				func() error { _, err := client.Chat(t.Context(), 1); return err },
				func() error { return client.SendText(t.Context(), 1, "Да") },
				func() error { return client.SendFile(t.Context(), 1, "a.txt", strings.NewReader("content")) },
			} {
				err := call()
				var e *chats.Error
				require.ErrorAs(t, err, &e, tt.name)
				assert.Zero(t, e.Attempts)
				assert.Contains(t, err.Error(), tt.want)
				assert.NotContains(t, err.Error(), "TopSecret")
				require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
				if tt.err != nil {
					require.ErrorIs(t, err, tt.err)
				}
			}
		}
	}
}

// A source may use a client of its own, whose failure says nothing about this call's attempts.
func TestCredential_SourceThatFailsLikeAnAttempt(t *testing.T) {
	t.Parallel()
	f := newFixture(t, noRetry)
	asked := 0
	client, err := chats.New(1, chats.APIKeySource(func(ctx context.Context) (string, error) {
		asked++
		f.market.Fail(chats.OpGetChat, chatstest.DropBefore())
		return "", f.call(ctx, chats.OpGetChat)
	}), chats.WithHTTPClient(forbidRequests(t)))
	require.NoError(t, err)
	err = client.SendText(t.Context(), 1, "Завтра")
	require.ErrorContains(t, err, "EOF")
	require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
	_, err = client.Chat(t.Context(), 1)
	require.ErrorContains(t, err, "EOF")
	assert.Equal(t, 2, asked, "once per call")
}

func TestCredential_InvalidOneIsRefusedByNew(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"", " ", testSecret + " ", "Bearer " + testSecret, testSecret + "\r\nX: y", testSecret + "é", "\x7f"} {
		for _, credential := range []chats.Credential{chats.APIKey(secret), chats.OAuthToken(secret)} {
			_, err := chats.New(1, credential)
			var bad *chats.ArgumentError
			require.ErrorAs(t, err, &bad, "%q", secret)
			assert.Equal(t, "credential", bad.Field)
			assert.NotContains(t, err.Error(), "TopSecret")
		}
	}
	for _, credential := range []chats.Credential{{}, chats.APIKeySource(nil), chats.OAuthTokenSource(nil)} {
		_, err := chats.New(1, credential)
		require.ErrorIs(t, err, chats.ErrInvalidArgument)
		assert.Contains(t, err.Error(), "use APIKey, OAuthToken")
	}
}

// credentialHolder stands for a struct of a user's program.
type credentialHolder struct {
	Public  chats.Credential
	hidden  chats.Credential
	pointer *chats.Credential
	Client  *chats.Client
	client  *chats.Client
}

func TestCredential_IsRedactedInEveryFormat(t *testing.T) {
	t.Parallel()
	for name, credential := range allCredentials(testSecret) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := chats.New(77, credential, chats.WithBaseURL("https://proxy.example"))
			require.NoError(t, err)
			holder := credentialHolder{credential, credential, &credential, client, client}
			values := []any{credential, &credential, client, *client, holder, &holder, []chats.Credential{credential}, map[string]any{"k": credential, "c": client}}
			for i, value := range values {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T", "%20v", "%t"} {
					assertNoSecret(t, fmt.Sprintf(verb, value), "%s of value %d", verb, i)
				}
				assertNoSecret(t, fmt.Sprint(value), "Print of value %d", i)
				text, _ := json.Marshal(value)
				assertNoSecret(t, string(text), "JSON of value %d", i)
				text, _ = xml.Marshal(value)
				assertNoSecret(t, string(text), "XML of value %d", i)
				var log bytes.Buffer
				slog.New(slog.NewTextHandler(&log, nil)).Info("text", "value", value, slog.Group("g", "value", value))
				slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "value", value, slog.Group("g", "value", value))
				assertNoSecret(t, log.String(), "slog of value %d", i)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
				assert.Equal(t, "[redacted]", fmt.Sprintf(verb, credential))
				assert.Equal(t, "chats.Client(business 77)", fmt.Sprintf(verb, client))
			}
			assert.Equal(t, "[redacted]", credential.String())
			assert.Equal(t, "[redacted]", credential.GoString())
			assert.Equal(t, "[redacted]", credential.LogValue().String())
			text, err := json.Marshal(credential)
			require.NoError(t, err)
			assert.JSONEq(t, `"[redacted]"`, string(text))
		})
	}
}

func assertNoSecret(t *testing.T, text, where string, args ...any) {
	t.Helper()
	assert.NotContains(t, text, "TopSecret", append([]any{where}, args...)...)
	assert.NotContains(t, strings.ToLower(text), fmt.Sprintf("%x", "TopSecret"), append([]any{where}, args...)...)
}

func TestCredential_SourceIsCalledAfterLimitWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		f := newFixtureOn(t, market)
		var calls []time.Time
		client, err := chats.New(market.Business(), chats.OAuthTokenSource(func(context.Context) (string, error) {
			calls = append(calls, time.Now())
			return market.Token(), nil
		}), chats.WithHTTPClient(&http.Client{Transport: market.Transport()}))
		require.NoError(t, err)
		f.client = client
		began := time.Now()
		market.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(began.Add(20*time.Second)), chatstest.RateLimitedHourly(began.Add(time.Hour)))
		require.ErrorIs(t, f.call(t.Context(), chats.OpGetChat), chats.ErrRateLimited)
		require.ErrorIs(t, f.call(t.Context(), chats.OpGetChat), chats.ErrRateLimited)
		assert.Equal(t, []time.Time{began, began.Add(20 * time.Second)}, calls, "called after the wait, and not for a local refusal")
	})
}

// A confirmed send also needs the quota of the history. If that is exhausted, the source is not asked
// for a key that will not be used.
func TestCredential_SourceIsNotCalledForAConfirmedSendWithoutHistory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		f := newFixtureOn(t, market)
		calls := 0
		client, err := chats.New(market.Business(), chats.APIKeySource(func(context.Context) (string, error) {
			calls++
			return market.Key(), nil
		}), chats.WithHTTPClient(&http.Client{Transport: market.Transport()}))
		require.NoError(t, err)
		f.client = client
		market.Fail(chats.OpGetChatHistory, chatstest.RateLimitedHourly(time.Now().Add(50*time.Minute)))
		require.ErrorIs(t, f.call(t.Context(), chats.OpGetChatHistory), chats.ErrRateLimited)
		_, err = client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
		require.ErrorIs(t, err, chats.ErrRateLimited)
		require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
		require.ErrorContains(t, err, "getChatHistory: hourly limit of 10000 reached", "not of the operation that sends")
		assert.Equal(t, 1, calls)
	})
}

func TestCredential_SlowSourceHoldsNoSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(time.Second))
		f := newFixtureOn(t, market)
		type slow struct{}
		client, err := chats.New(market.Business(), chats.APIKeySource(func(ctx context.Context) (string, error) {
			if ctx.Value(slow{}) != nil {
				time.Sleep(time.Minute)
			}
			return market.Key(), nil
		}), chats.WithHTTPClient(&http.Client{Transport: market.Transport()}), chats.WithMaxParallel(1))
		require.NoError(t, err)
		f.client = client
		var calls sync.WaitGroup
		for range 4 {
			calls.Go(func() { assert.NoError(t, f.call(context.WithValue(t.Context(), slow{}, true), chats.OpGetChat)) })
		}
		synctest.Wait()
		began := time.Now()
		require.NoError(t, f.call(t.Context(), chats.OpGetChats))
		assert.Equal(t, time.Second, time.Since(began))
		calls.Wait()
	})
}

// Nor does a slow source keep the slot in which a confirmed send reads the history: that read uses
// the key of the send.
func TestCredential_SourceIsNotCalledInTheSlotOfAConfirmedSend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(time.Second))
		f := newFixtureOn(t, market)
		var calls atomic.Int64
		client, err := chats.New(market.Business(), chats.APIKeySource(func(context.Context) (string, error) {
			calls.Add(1)
			time.Sleep(time.Minute)
			return market.Key(), nil
		}), chats.WithHTTPClient(&http.Client{Transport: market.Transport()}), chats.WithMaxParallel(1))
		require.NoError(t, err)
		began := time.Now()
		_, err = client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
		require.NoError(t, err)
		assert.EqualValues(t, 2, calls.Load(), "for the send, and for the search")
		assert.Equal(t, 2*time.Minute+3*time.Second, time.Since(began))
	})
}

// The quota is exhausted while the attempt waits for a slot. The key is then read again
// after the wait for the next window.
func TestCredential_SourceIsCalledAgainAfterAWaitWithASlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithLatency(time.Second))
		f := newFixtureOn(t, market)
		began := time.Now()
		var calls []time.Duration
		client, err := chats.New(market.Business(), chats.APIKeySource(func(context.Context) (string, error) {
			calls = append(calls, time.Since(began))
			return market.Key(), nil
		}), chats.WithHTTPClient(&http.Client{Transport: market.Transport()}), chats.WithMaxParallel(1))
		require.NoError(t, err)
		f.client = client
		market.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(began.Add(20*time.Second)))
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() { assert.NoError(t, f.call(t.Context(), chats.OpGetChat)) })
			synctest.Wait()
		}
		both.Wait()
		assert.Equal(t, []time.Duration{0, 0, 20 * time.Second, 20 * time.Second}, calls)
	})
}

func TestCredentialFingerprint_ChangesWithTheSecretAndTheBusiness(t *testing.T) {
	t.Parallel()
	fingerprint := func(business chats.BusinessID, credential chats.Credential) string {
		client, err := chats.New(business, credential)
		require.NoError(t, err)
		f, err := client.CredentialFingerprint(t.Context())
		require.NoError(t, err)
		return f
	}
	const key = "ACMA:0123456789abcdef0123456789abcdef01234567:89abcdef"
	source := func(context.Context) (string, error) { return key, nil }
	first := fingerprint(1, chats.APIKey(key))
	assert.Equal(t, first, fingerprint(1, chats.APIKeySource(source)))
	assert.NotEqual(t, first, fingerprint(2, chats.APIKey(key)))
	assert.NotEqual(t, first, fingerprint(1, chats.APIKey(key+"0")))
	assert.NotEqual(t, first, fingerprint(1, chats.OAuthToken(key)))
	assert.Len(t, first, 16)
	assert.NotContains(t, key, first)

	failing := errors.New("the vault is sealed")
	client, err := chats.New(1, chats.APIKeySource(func(context.Context) (string, error) { return "", failing }))
	require.NoError(t, err)
	_, err = client.CredentialFingerprint(t.Context())
	assert.ErrorIs(t, err, failing)
}

// A token that could not be refreshed is quoted by some token sources.
func TestCredential_ErrorOfTheSourceDoesNotShowTheLastSecret(t *testing.T) {
	t.Parallel()
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(server.Close)
	client := newClientAt(t, server.URL, chats.OAuthTokenSource(func(context.Context) (string, error) {
		if calls++; calls > 1 {
			return "", fmt.Errorf("refreshing %s: %w", testSecret, io.ErrUnexpectedEOF)
		}
		return testSecret, nil
	}), chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond}))
	_, err := client.Chat(t.Context(), 1)
	require.EqualError(t, err, "chats: getChat: 503: refreshing [redacted]: unexpected EOF")
	_, err = client.Chat(t.Context(), 1)
	require.EqualError(t, err, "chats: getChat: refreshing [redacted]: unexpected EOF", "the token of an earlier call")
	_, err = client.Download(t.Context(), chats.File{URL: server.URL})
	require.EqualError(t, err, "chats: download: refreshing [redacted]: unexpected EOF")
}

func TestAttachmentOAuth_ErrorOfTheSourceDoesNotShowTheLastToken(t *testing.T) {
	t.Parallel()
	calls := 0
	auth := chats.AttachmentOAuth(func(context.Context) (string, error) {
		if calls++; calls > 1 {
			return "", fmt.Errorf("refreshing %s: %w", testSecret, io.ErrUnexpectedEOF)
		}
		return testSecret, nil
	})
	req := httptest.NewRequest(http.MethodGet, "https://files.messenger.yandex.net/x", http.NoBody)
	require.NoError(t, auth(t.Context(), req))
	require.EqualError(t, auth(t.Context(), req), "refreshing [redacted]: unexpected EOF")
}
