package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/notify"
	"github.com/ymchats/ymchats-go/gen/notification"
)

// wire returns the notification of an event as in the contract.
func wire(event notify.Event) any {
	switch e := event.(type) {
	case notify.Ping:
		return notification.Ping{NotificationType: notification.TypePing, Time: e.At}
	case notify.ChatCreated:
		return notification.ChatCreated{
			NotificationType: notification.TypeChatCreated,
			BusinessID:       int64(e.Business), ChatID: int64(e.Chat), CreatedAt: e.At,
		}
	case notify.MessageSent:
		return notification.ChatMessageSent{
			NotificationType: notification.TypeChatMessageSent,
			BusinessID:       int64(e.Business), ChatID: int64(e.Chat), MessageID: fmt.Sprint(e.Message), SentAt: e.At,
		}
	case notify.ArbitrageStarted:
		return notification.ChatArbitrageStarted{
			NotificationType: notification.TypeChatArbitrageStarted,
			BusinessID:       int64(e.Business), ChatID: int64(e.Chat), StartedAt: e.At,
		}
	case notify.ArbitrageFinished:
		return notification.ChatArbitrageFinished{
			NotificationType: notification.TypeChatArbitrageFinished,
			BusinessID:       int64(e.Business), ChatID: int64(e.Chat), FinishedAt: e.At,
		}
	}
	return event.(notify.Other).Raw
}

func FuzzParse(f *testing.F) {
	for _, body := range []string{pingBody, createdBody, sentBody, startedBody, finishedBody, otherBody} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		event, err := notify.Parse(body)
		if err != nil {
			var parse *notify.ParseError
			require.ErrorAs(t, err, &parse)
			assert.NotEmpty(t, parse.Reason)
			assert.Nil(t, event)
			return
		}
		again, err := json.Marshal(wire(event))
		if err != nil {
			return // a year or an offset that Go reads but does not write
		}
		same, err := notify.Parse(again)
		require.NoError(t, err, "%s", again)
		if other, ok := event.(notify.Other); ok {
			assert.Equal(t, other.Type, same.(notify.Other).Type)
			return
		}
		rewritten, err := json.Marshal(wire(same))
		require.NoError(t, err)
		assert.Equal(t, string(again), string(rewritten))
	})
}

// FuzzHandler posts past a proxy, which appends the address of its client to whatever
// the client wrote into X-Forwarded-For.
func FuzzHandler(f *testing.F) {
	for i, body := range []string{pingBody, createdBody, sentBody, startedBody, finishedBody, otherBody, `{}`, ``} {
		f.Add([]byte(body), http.MethodPost, "application/json", "5.45.207.7, unknown", uint8(i))
	}
	f.Add([]byte(compressed(f, sentBody)), http.MethodGet, "text/plain", "", uint8(3))
	f.Fuzz(func(t *testing.T, body []byte, method, contentType, header string, outcome uint8) {
		handler := newHandler(t, func(context.Context, notify.Event) error {
			switch outcome % 3 {
			case 1:
				return errors.New("no")
			case 2:
				panic("no")
			}
			return nil
		}, notify.WithAllowedNetworks(notify.MarketNetworks()...), notify.WithTrustedProxies(netip.MustParsePrefix("10.0.0.1/32")))
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Method, r.RemoteAddr = method, "10.0.0.1:40000"
		r.Header.Set("Content-Type", contentType)
		foreign := outcome >= 128
		client := map[bool]string{false: "5.45.207.7", true: "203.0.113.5"}[foreign]
		r.Header.Set("X-Forwarded-For", header+","+client)

		status := send(t, handler, r).status
		event, err := notify.Parse(body)
		_, ping := event.(notify.Ping)
		switch {
		case foreign:
			assert.Equal(t, http.StatusForbidden, status)
		case bytes.HasPrefix(body, []byte{0x1f, 0x8b}):
			assert.NotEqual(t, http.StatusForbidden, status)
		case err != nil || method != http.MethodPost:
			assert.Equal(t, http.StatusBadRequest, status)
		case ping || outcome%3 == 0:
			assert.Equal(t, http.StatusOK, status)
		default:
			assert.Equal(t, http.StatusInternalServerError, status)
		}
	})
}
