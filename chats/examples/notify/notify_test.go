package main

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryMessageIsPrintedOnceAndTheStickerComesAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		client := market.Client(chats.WithHTTPClient(&http.Client{Transport: contract.Transport(t, market.Transport())}))
		var out bytes.Buffer
		require.NoError(t, story(t.Context(), market, newReader(client, &out)))
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		require.Len(t, lines, 4, out.String())
		for i, said := range []string{"субботу?", "в комплекте?", "[sticker]", "Спасибо!"} {
			assert.True(t, strings.HasSuffix(lines[i], said), lines[i])
			assert.Contains(t, lines[i], "CUSTOMER")
		}
		assert.Zero(t, market.Calls(chats.OpGetChatMessage), "the history is ten times cheaper")
	})
}

func TestAChatThatCannotBeReadIsToldAndReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		market.Fail(chats.OpGetChatHistory, chatstest.Status(http.StatusForbidden, ""))
		var out bytes.Buffer
		require.NoError(t, story(t.Context(), market, newReader(market.Client(), &out)))
		assert.Contains(t, out.String(), "cannot be read, tried again")
		assert.Contains(t, out.String(), "Спасибо!")
	})
}

func TestTheEnvironmentIsChecked(t *testing.T) {
	t.Parallel()
	env := map[string]string{"YANDEX_MARKET_API_KEY": "ACMA:key", "YANDEX_MARKET_BUSINESS_ID": "mine"}
	err := run(context.Background(), func(name string) string { return env[name] }, "127.0.0.1:0", &bytes.Buffer{})
	assert.ErrorContains(t, err, "YANDEX_MARKET_BUSINESS_ID")
}
