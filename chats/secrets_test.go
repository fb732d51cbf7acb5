package chats_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// Whatever fails in whatever operation, the credential appears in no error, log record
// or hook, even if the server echoes it.
func TestCredential_AppearsInNoOutput(t *testing.T) {
	t.Parallel()
	for _, oauth := range []bool{false, true} {
		for _, op := range chats.Operations() {
			t.Run(fmt.Sprintf("%s, OAuth: %t", op, oauth), func(t *testing.T) {
				t.Parallel()
				for i := range faultCount + echoCount {
					synctest.Test(t, func(t *testing.T) {
						name, emitted := capture(t, op, oauth, i)
						for _, text := range emitted {
							for _, secret := range secretParts(oauth) {
								require.NotContains(t, strings.ToLower(text), strings.ToLower(secret), "%s: %s", op, name)
							}
						}
					})
				}
			})
		}
	}
}

func secretOf(m *chatstest.Market, oauth bool) string {
	if oauth {
		return m.Token()
	}
	return m.Key()
}

// secretParts returns the secret and those parts of it that must not appear either.
func secretParts(oauth bool) []string {
	secret := secretOf(chatstest.NewMarket(), oauth)
	return []string{secret, secret[len(secret)/4 : len(secret)/2], secret[len(secret)/2:]}
}

var echoCount = len(echoes(testSecret))

// echoes returns responses that have the credential in them.
func echoes(secret string) []chatstest.Fault {
	in := `{"status":"ERROR","errors":[{"code":"` + secret + `","message":"your key ` + secret + ` is bad"}]}`
	inner, _ := json.Marshal(in)
	return []chatstest.Fault{
		chatstest.Status(400, strings.ToLower(in)),
		chatstest.Status(400, `{"errors":[{"code":"X","message":`+string(inner)+`}]}`),
		chatstest.Status(404, "<p>"+html.EscapeString(in)+"</p>"),
		chatstest.Status(404, `{"error":"`+url.QueryEscape(secret)+`"}`),
		chatstest.Malformed(url.QueryEscape(url.QueryEscape(secret[:20]))),
		chatstest.Status(500, strings.ToUpper(secret[5:25])),
		chatstest.Status(400, strings.Repeat(" ", 64<<10-20)+secret),
		chatstest.Respond(420, http.Header{"Traceparent": {strings.ToUpper(secret)}, "Retry-After": {secret}, "X-Ratelimit-Resource-Until": {secret}}, secret[:30]),
		chatstest.BadStatusLine("HTTP/1.1 " + url.QueryEscape(secret)),
		chatstest.Status(400, in),
		chatstest.Status(503, "<html><p>"+secret+"</html>"),
		chatstest.Malformed(in),
		chatstest.Status(401, `{"message":"`+secret+`"}`),
	}
}

// capture makes a call to op under the i-th fault and returns everything that the
// library emitted.
func capture(t *testing.T, op chats.Operation, oauth bool, i int) (name string, emitted []string) {
	t.Helper()
	market := chatstest.NewMarket()
	credential := chats.APIKey(market.Key())
	if oauth {
		credential = chats.OAuthToken(market.Token())
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	hook := func(_ context.Context, attempt chats.Attempt) {
		emitted = append(emitted, fmt.Sprintf("%+v %#v %v", attempt, attempt, attempt.Err))
	}
	f := newFixtureOn(t, market)
	client, err := chats.New(market.Business(), credential, chats.WithRetry(policy), chats.WithLogger(logger), chats.WithHook(hook),
		chats.WithHTTPClient(&http.Client{Transport: contract.Transport(t, market.Transport())}))
	require.NoError(t, err)
	f.client = client

	if i < faultCount {
		row := faultTable()[i]
		name = row.name
		market.Fail(op, row.faults...)
	} else {
		name = fmt.Sprintf("echo %d", i-faultCount)
		market.Fail(op, times(9, echoes(secretOf(market, oauth))[i-faultCount])...)
	}
	err = f.call(t.Context(), op)
	if i >= faultCount {
		require.Error(t, err, name)
	}
	emitted = append(emitted, log.String(), fmt.Sprintf("%v %+v %#v", err, err, err), fmt.Sprintf("%v %+v %#v", f.client, f.client, f.client))
	var e *chats.Error
	if errors.As(err, &e) {
		text, _ := json.Marshal(e)
		emitted = append(emitted, fmt.Sprintf("%+v %#v", *e, *e), string(text))
		assert.NotContains(t, e.Error(), "\n")
	}
	return name, emitted
}

func TestCredential_SearchForSecretFindsIt(t *testing.T) {
	t.Parallel()
	secret := secretOf(chatstest.NewMarket(), false)
	found := 0
	for _, part := range secretParts(false) {
		if strings.Contains("a dump with "+secret+" in it", part) {
			found++
		}
	}
	assert.Equal(t, 3, found)
}

// What WithAttachmentAuth adds is hidden like the credential, and what the link has is not.
func TestDownload_HidesWhatAttachmentAuthAdds(t *testing.T) {
	t.Parallel()
	client := chatstest.NewMarket().Client(
		chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			_, password, _ := req.BasicAuth()
			text := fmt.Sprintf("%s %s %s %s", req.URL.RawQuery, strings.ToUpper(req.Header.Get("X-Token")), req.Header.Get("Authorization"), password)
			return respond(req, http.StatusForbidden, text), nil
		})}),
		chats.WithAttachmentAuth(func(_ context.Context, req *http.Request) error {
			query := req.URL.Query()
			query.Set("token", "added+to/the=query")
			req.URL.RawQuery = query.Encode()
			req.Header.Set("X-Token", "added-to-the-header")
			req.SetBasicAuth("user", "p4ssw0rd")
			return nil
		}))
	_, err := client.Download(t.Context(), chats.File{URL: "https://files.example/a?id=123456789"})
	require.ErrorIs(t, err, chats.ErrForbidden)
	assert.Contains(t, err.Error(), "id=123456789&token=[redacted] [redacted] Basic [redacted] [redacted]")
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, client.Business(), e.Business)
}

// The generated client quotes a time that it cannot read.
func TestAPI_ErrorsDoNotQuoteTheKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t, noRetry)
	f.market.Fail(chats.OpGetChat, chatstest.Malformed(`{"status":"OK","result":{"chatId":1,"createdAt":"`+f.market.Key()+`"}}`))
	_, err := f.apiCall(t.Context(), chats.OpGetChat)
	require.ErrorContains(t, err, "[redacted]")
	for _, secret := range secretParts(false) {
		assert.NotContains(t, err.Error(), secret)
	}
}
