package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/notify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestScript_PrintsEveryMessageOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		client := market.Client(chats.WithHTTPClient(&http.Client{Transport: contract.Transport(t, market.Transport())}))
		var out bytes.Buffer
		require.NoError(t, script(t.Context(), market, newReader(client, &out)))
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Len(t, lines, 4, out.String())
		for i, text := range []string{"субботу?", "в комплекте?", "[sticker]", "Спасибо!"} {
			assert.True(t, strings.HasSuffix(lines[i], text), lines[i])
			assert.Contains(t, lines[i], "CUSTOMER")
		}
		assert.Zero(t, market.Calls(chats.OpGetChatMessage), "the history has ten times the quota")
	})
}

func TestReader_RetriesFailedChat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		market.Fail(chats.OpGetChatHistory, chatstest.Status(http.StatusForbidden, ""))
		var out bytes.Buffer
		require.NoError(t, script(t.Context(), market, newReader(market.Client(), &out)))
		assert.Contains(t, out.String(), "failed, retry in")
		assert.Contains(t, out.String(), "Спасибо!")
	})
}

// Anyone can push an invented chat. It must not use up the quota.
func TestReader_ReadsUnknownChatOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		known := market.AddChat(chats.Chat{})
		reader := newReader(market.Client(chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1})), io.Discard)
		handler, err := newHandler(reader)
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); reader.run(ctx) }()
		for i := range chats.ChatID(20) {
			began := time.Now()
			require.NoError(t, push(t.Context(), market, handler, notify.ChatCreated{Business: market.Business(), Chat: known + 1 + i, At: began}))
			assert.Zero(t, time.Since(began), "responds at once")
		}
		time.Sleep(time.Hour)
		assert.Equal(t, 20, market.Calls(chats.OpGetChatHistory))
		market.FailFunc(func(chats.Operation, int) chatstest.Fault { return chatstest.Status(http.StatusForbidden, "") })
		require.NoError(t, push(t.Context(), market, handler, notify.ChatCreated{Business: market.Business(), Chat: known, At: time.Now()}))
		time.Sleep(time.Hour)
		assert.Less(t, market.Calls(chats.OpGetChatHistory), 20+20)
		stop()
		<-done
		market.FailFunc(nil)
		time.Sleep(time.Hour) // the last backoff
	})
}

func TestServe_ChecksProxy(t *testing.T) {
	t.Parallel()
	for _, proxy := range []string{"localhost", "::ffff:10.0.0.1"} {
		err := serve(t.Context(), newReader(chatstest.NewMarket().Client(), io.Discard), "127.0.0.1:0", proxy)
		assert.Error(t, err, proxy)
	}
}

func TestRun_ChecksEnvironment(t *testing.T) {
	t.Parallel()
	env := map[string]string{"YANDEX_MARKET_API_KEY": "ACMA:key", "YANDEX_MARKET_BUSINESS_ID": "mine"}
	err := run(context.Background(), func(name string) string { return env[name] }, "127.0.0.1:0", "127.0.0.1", &bytes.Buffer{})
	assert.ErrorContains(t, err, "YANDEX_MARKET_BUSINESS_ID")
}
