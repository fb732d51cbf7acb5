package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

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
		return notification.ChatCreated{NotificationType: notification.TypeChatCreated,
			BusinessID: int64(e.Business), ChatID: int64(e.Chat), CreatedAt: e.At}
	case notify.MessageSent:
		return notification.ChatMessageSent{NotificationType: notification.TypeChatMessageSent,
			BusinessID: int64(e.Business), ChatID: int64(e.Chat), MessageID: fmt.Sprint(e.Message), SentAt: e.At}
	case notify.ArbitrageStarted:
		return notification.ChatArbitrageStarted{NotificationType: notification.TypeChatArbitrageStarted,
			BusinessID: int64(e.Business), ChatID: int64(e.Chat), StartedAt: e.At}
	case notify.ArbitrageFinished:
		return notification.ChatArbitrageFinished{NotificationType: notification.TypeChatArbitrageFinished,
			BusinessID: int64(e.Business), ChatID: int64(e.Chat), FinishedAt: e.At}
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
			return // a year or an offset that Go reads and does not write
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

func FuzzHandler(f *testing.F) {
	for i, body := range []string{pingBody, createdBody, sentBody, startedBody, finishedBody, otherBody, `{}`, ``} {
		f.Add([]byte(body), http.MethodPost, "application/json", "5.45.207.7:443", uint8(i))
	}
	f.Add([]byte(sentBody), http.MethodGet, "text/plain", "8.8.8.8:1", uint8(0))
	f.Fuzz(func(t *testing.T, body []byte, method, contentType, remote string, outcome uint8) {
		handler := newHandler(t, func(context.Context, notify.Event) error {
			switch outcome % 3 {
			case 1:
				return errors.New("no")
			case 2:
				panic("no")
			}
			return nil
		}, notify.WithDedupe(time.Hour, 1), notify.WithAllowedNetworks(notify.MarketNetworks()...))
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Method, r.RemoteAddr = method, remote
		r.Header.Set("Content-Type", contentType)

		status := send(t, handler, r).status
		event, err := notify.Parse(body)
		_, ping := event.(notify.Ping)
		switch {
		case status == http.StatusForbidden:
		case err != nil || method != http.MethodPost:
			assert.Equal(t, http.StatusBadRequest, status)
		case ping || outcome%3 == 0:
			assert.Equal(t, http.StatusOK, status)
		default:
			assert.Equal(t, http.StatusInternalServerError, status)
		}
	})
}
