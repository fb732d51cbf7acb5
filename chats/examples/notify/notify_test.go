package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
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

// Every push reads the chat at once, but they do not all begin retries of their own.
func TestReader_PushesDoNotMultiplyRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		market.FailFunc(func(chats.Operation, int) chatstest.Fault { return chatstest.Status(http.StatusForbidden, "") })
		reader := newReader(market.Client(), io.Discard)
		handler, err := newHandler(reader)
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); reader.run(ctx) }()
		for range 50 {
			message := market.CustomerSays(chat, "Вы здесь?")
			require.NoError(t, push(t.Context(), market, handler, notify.MessageSent{Chat: chat, Message: message}))
			time.Sleep(time.Second)
		}
		before := market.Calls(chats.OpGetChatHistory)
		time.Sleep(time.Hour)
		assert.LessOrEqual(t, market.Calls(chats.OpGetChatHistory)-before, 13, "one every five minutes")
		stop()
		<-done
		time.Sleep(time.Hour) // the last backoff
	})
}

// If a message is listed too late, those printed so far may have gaps.
func TestReader_ReadsAgainAfterAMessageOutOfOrder(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	old := make([]chats.Message, 450)
	for i := range old {
		old[i] = chats.Message{Sender: chats.SenderCustomer, Text: fmt.Sprintf("message %d.", i), CreatedAt: time.Now().Add(time.Duration(i-90_001) * time.Second)}
	}
	chat := market.AddConversation(chats.Chat{}, old...)
	all := market.Messages(chat)
	changeID := func(of, to chats.MessageID) chatstest.Fault {
		return chatstest.Rewrite(func(r *chatstest.Response) {
			r.Body = bytes.Replace(r.Body, strconv.AppendInt(nil, int64(of), 10), strconv.AppendInt(nil, int64(to), 10), 1)
		})
	}
	market.Fail(chats.OpGetChatHistory, changeID(all[17].ID, 0), chatstest.OK(), chatstest.OK(), changeID(all[350].ID, all[17].ID))
	var out bytes.Buffer
	reader := newReader(market.Client(), &out)
	require.ErrorIs(t, reader.read(t.Context(), chat), chats.ErrProtocol)
	require.NoError(t, reader.read(t.Context(), chat))
	assert.Contains(t, out.String(), "message 17.")
	assert.Contains(t, out.String(), "message 449.")
}

func TestServe_ChecksProxy(t *testing.T) {
	t.Parallel()
	for _, proxy := range []string{"localhost", "::ffff:10.0.0.1"} {
		err := serve(t.Context(), newReader(chatstest.NewMarket().Client(), io.Discard), "127.0.0.1:0", proxy)
		assert.Error(t, err, proxy)
	}
}

func TestServe_SaysThatItListens(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	require.NoError(t, serve(ctx, newReader(chatstest.NewMarket().Client(), &out), "127.0.0.1:0", "127.0.0.1"))
	assert.Equal(t, "listening on 127.0.0.1:0\n", out.String())
}

func TestRun_ChecksEnvironment(t *testing.T) {
	t.Parallel()
	env := map[string]string{"YANDEX_MARKET_API_KEY": "ACMA:key", "YANDEX_MARKET_BUSINESS_ID": "mine"}
	err := run(context.Background(), func(name string) string { return env[name] }, "127.0.0.1:0", "127.0.0.1", &bytes.Buffer{})
	assert.ErrorContains(t, err, "YANDEX_MARKET_BUSINESS_ID")
}
