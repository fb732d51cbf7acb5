package chatstest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/notify"
)

// delivered checks the answer that ended a delivery against the contract.
func delivered(t *testing.T, answer *http.Response) int {
	t.Helper()
	require.NotNil(t, answer)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, contract.NotificationAnswer(answer.StatusCode, answer.Header, body))
	return answer.StatusCode
}

func TestNotifyTellsEveryKindOfEvent(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 2, 9, 15, 0, 213_000_000, time.UTC)
	events := []notify.Event{
		notify.ChatCreated{Business: 1, Chat: 2, At: at},
		notify.MessageSent{Business: 1, Chat: 2, Message: 1772442900213000, At: at},
		notify.ArbitrageStarted{Business: 1, Chat: 2, At: at},
		notify.ArbitrageFinished{Business: 1, Chat: 2, At: at},
		notify.Other{Type: "ORDER_CREATED", Raw: json.RawMessage(`{"notificationType":"ORDER_CREATED","orderId":7}`)},
	}
	var got []notify.Event
	handler, err := notify.NewHandler("shop", "1", func(_ context.Context, e notify.Event) error {
		got = append(got, e)
		return nil
	}, notify.WithAllowedNetworks(notify.MarketNetworks()...))
	require.NoError(t, err)
	market := chatstest.NewMarket()
	for _, event := range events {
		assert.Equal(t, 200, delivered(t, market.Notify(handler, event)))
	}
	assert.Equal(t, events, got)
	assert.Equal(t, 200, delivered(t, market.Notify(handler, notify.Ping{})), "and a PING is answered without the function")
	assert.Equal(t, 200, delivered(t, market.Notify(handler, notify.Other{Type: "NEW_TYPE"})))
	assert.Len(t, got, len(events)+1)
}

// What Market sends, as the facts have it: a handler of one's own may depend on it.
func TestNotifyPostsAsMarketDoes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 2, 9, 15, 0, 213_000_000, time.UTC)
	for _, event := range []notify.Event{
		notify.Ping{At: at},
		notify.ChatCreated{Business: 1, Chat: 2, At: at},
		notify.MessageSent{Business: 1, Chat: 2, Message: 3, At: at},
		notify.ArbitrageStarted{Business: 1, Chat: 2, At: at},
		notify.ArbitrageFinished{Business: 1, Chat: 2, At: at},
	} {
		market := chatstest.NewMarket(chatstest.WithNotificationURL("https://crm.example/market/"))
		market.Notify(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, http.MethodPost, r.Method)
			assert.Equal(t, "https://crm.example/market/notification", r.URL.String())
			assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
			assert.NotEmpty(t, r.Header.Get("Traceparent"))
			body, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			assert.NoError(t, contract.NotificationBody(body))
			if _, sent := event.(notify.MessageSent); sent {
				assert.Contains(t, string(body), `"messageId":"3"`, "a string, here alone")
			}
			good(w)
		}), event)
	}
}

// tries is a handler that notes when it is tried, and answers what it is told.
type tries struct {
	mu     sync.Mutex
	at     []time.Time
	answer func(n int, w http.ResponseWriter)
}

func (h *tries) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	h.at = append(h.at, time.Now())
	n := len(h.at)
	h.mu.Unlock()
	h.answer(n, w)
}

const asJSON = "application/json"

func good(w http.ResponseWriter) {
	answered(asJSON, `{"version":"1","name":"shop","time":"2026-03-02T09:15:00Z"}`)(w)
}

func TestNotifyTriesOnTheVendorsSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &tries{answer: func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }}
		began := time.Now()
		answer := chatstest.NewMarket().Notify(h, notify.ChatCreated{Business: 1, Chat: 2})
		require.NotNil(t, answer)
		assert.Equal(t, 500, answer.StatusCode)
		assert.Equal(t, 14*24*time.Hour, time.Since(began), "then the subscription is switched off")
		assert.Len(t, h.at, 1+60+23*4+13*24)
		assert.Equal(t, time.Minute, h.at[60].Sub(h.at[59]))
		assert.Equal(t, 15*time.Minute, h.at[61].Sub(h.at[60]))
		assert.Equal(t, time.Hour, h.at[len(h.at)-1].Sub(h.at[len(h.at)-2]))
	})
}

func TestNotifyTriesNoLongerThanFourteenDays(t *testing.T) {
	t.Parallel()
	for takes, want := range map[time.Duration]int{9 * time.Second: http.StatusInternalServerError, time.Minute: 0} {
		synctest.Test(t, func(t *testing.T) {
			h := &tries{answer: func(_ int, w http.ResponseWriter) {
				<-time.After(takes)
				w.WriteHeader(http.StatusInternalServerError)
			}}
			began := time.Now()
			answer := chatstest.NewMarket().Notify(h, notify.ChatCreated{Business: 1, Chat: 2})
			if want == 0 {
				assert.Nil(t, answer, "there was none")
			} else {
				require.NotNil(t, answer)
				assert.Equal(t, want, answer.StatusCode)
			}
			h.mu.Lock() // a handler that was given up on has not returned yet
			assert.LessOrEqual(t, h.at[len(h.at)-1].Sub(began), 14*24*time.Hour)
			h.mu.Unlock()
			<-time.After(time.Minute)
		})
	}
}

// answered is a handler that answers 200 with this body.
func answered(contentType, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

func TestNotifyAndAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer func(http.ResponseWriter)
		event  notify.Event
		after  time.Duration // until the second try, which is answered well
	}{
		{"a 200 without the body", func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) }, notify.ChatCreated{}, time.Minute},
		{"a 200 without a time", answered(asJSON, `{"name":"a","version":"1"}`), notify.ChatCreated{}, time.Minute},
		{"a 200 without a version", answered(asJSON, `{"name":"a","time":"2026-03-02T09:15:00Z"}`), notify.ChatCreated{}, time.Minute},
		{"a 200 without a name", answered(asJSON, `{"version":"a","time":"2026-03-02T09:15:00Z"}`), notify.ChatCreated{}, time.Minute},
		{"a 200 with a long name", answered(asJSON, `{"name":"`+strings.Repeat("я", 101)+`","version":"1","time":"2026-03-02T09:15:00Z"}`), notify.ChatCreated{}, time.Minute},
		{"a 200 in another zone", answered(asJSON, `{"name":"a","version":"1","time":"2026-03-02T09:15:00+03:00"}`), notify.ChatCreated{}, time.Minute},
		{"a 200 in capitals", answered(asJSON, `{"NAME":"a","VERSION":"1","TIME":"2026-03-02T09:15:00Z"}`), notify.ChatCreated{}, time.Minute},
		{"a 200 as a text", answered("text/plain", `{"name":"a","version":"1","time":"2026-03-02T09:15:00Z"}`), notify.ChatCreated{}, time.Minute},
		{"a 409", func(w http.ResponseWriter) { w.WriteHeader(http.StatusConflict) }, notify.ChatCreated{}, time.Minute},
		{"a 503", func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }, notify.ChatCreated{}, time.Minute},
		{"a panic", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, notify.ChatCreated{}, time.Minute},
		{"too late", func(http.ResponseWriter) { <-time.After(11 * time.Second) }, notify.ChatCreated{}, time.Minute + 10*time.Second},
		{"too late for a PING", func(http.ResponseWriter) { <-time.After(2 * time.Second) }, notify.Ping{}, time.Minute + time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := &tries{answer: func(n int, w http.ResponseWriter) {
					if n > 1 {
						good(w)
						return
					}
					tt.answer(w)
				}}
				answer := chatstest.NewMarket().Notify(h, tt.event)
				assert.Equal(t, 200, delivered(t, answer))
				require.Len(t, h.at, 2)
				assert.Equal(t, tt.after, h.at[1].Sub(h.at[0]))
			})
		})
	}
}

func TestNotifySendsAMalformedOneOnce(t *testing.T) {
	t.Parallel()
	handler, err := notify.NewHandler("shop", "1", func(context.Context, notify.Event) error { return nil })
	require.NoError(t, err)
	answer := chatstest.NewMarket().Notify(handler, notify.ChatCreated{}) // ids that are none
	assert.Equal(t, 400, delivered(t, answer))
}

// A handler fails twice and then works. Everything arrives, one after the other, on
// the schedule; and a copy that Market sends is handled once.
func TestAFailingHandlerHoldsEverythingUpAndLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		began := time.Now()
		failures := 2
		var handled []chats.MessageID
		var at []time.Duration
		handler, err := notify.NewHandler("shop", "1", func(_ context.Context, e notify.Event) error {
			if failures > 0 {
				failures--
				return errors.New("the database is down")
			}
			handled = append(handled, e.(notify.MessageSent).Message)
			at = append(at, time.Since(began))
			return nil
		}, notify.WithDedupe(time.Hour, 100))
		require.NoError(t, err)

		var pushes sync.WaitGroup
		for _, message := range []chats.MessageID{1, 2, 2, 3} {
			pushes.Go(func() {
				answer := market.Notify(handler, notify.MessageSent{Business: 1, Chat: 2, Message: message, At: began})
				assert.Equal(t, 200, delivered(t, answer))
			})
			synctest.Wait() // so that they queue up in this order
		}
		pushes.Wait()
		assert.Equal(t, []chats.MessageID{1, 2, 3}, handled)
		assert.Equal(t, []time.Duration{2 * time.Minute, 2 * time.Minute, 2 * time.Minute}, at)
	})
}
