package chatstest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
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

// delivered checks the response that ended a delivery against the contract.
func delivered(t *testing.T, resp *http.Response) int {
	t.Helper()
	require.NotNil(t, resp)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, contract.NotificationResponse(resp.StatusCode, resp.Header, body))
	return resp.StatusCode
}

func TestNotify_DeliversEveryKindOfEvent(t *testing.T) {
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
		assert.Equal(t, 200, delivered(t, market.Notify(t.Context(), handler, event)))
	}
	assert.Equal(t, events, got)
	assert.Equal(t, 200, delivered(t, market.Notify(t.Context(), handler, notify.Ping{})), "the handler responds to a PING itself")
	assert.Equal(t, 200, delivered(t, market.Notify(t.Context(), handler, notify.Other{Type: "NEW_TYPE"})))
	assert.Len(t, got, len(events)+1)
}

// A handler other than the library's may depend on each of these.
func TestNotify_RequestIsMarkets(t *testing.T) {
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
		market.Notify(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, http.MethodPost, r.Method)
			assert.Equal(t, "https://crm.example/market//notification", r.URL.String(), "Market appends, whatever the address ends with")
			assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
			assert.NotEmpty(t, r.Header.Get("Traceparent"))
			body, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			assert.NoError(t, contract.NotificationBody(body))
			if _, sent := event.(notify.MessageSent); sent {
				assert.Contains(t, string(body), `"messageId":"3"`, "a string only here")
			}
			good(w)
		}), event)
	}
}

// Notify shows what becomes of an address that was entered with a slash or with /notification.
func TestNotify_AddressIsAsEntered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, entered := range []string{"", "/", "//", "/notification", "/notification/"} {
			market := chatstest.NewMarket(chatstest.WithNotificationURL("https://crm.example/market" + entered))
			handler, err := notify.NewHandler("shop", "1", func(context.Context, notify.Event) error { return nil })
			require.NoError(t, err)
			mux := http.NewServeMux()
			mounted := handler.Mount(mux, "/market")
			resp := market.Notify(t.Context(), mounted, notify.ChatCreated{Chat: 2})
			require.NotNil(t, resp)
			assert.Equal(t, http.StatusOK, resp.StatusCode, entered)
			resp = market.Notify(t.Context(), mux, notify.ChatCreated{Chat: 3})
			require.NotNil(t, resp)
			assert.Equal(t, strings.HasSuffix(entered, "/"), resp.StatusCode == http.StatusTemporaryRedirect, "%s: of a mux", entered)
		}
	})
}

// attempts is a handler that records its calls.
type attempts struct {
	mu      sync.Mutex
	at      []time.Time
	respond func(n int, w http.ResponseWriter)
}

func (h *attempts) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	h.at = append(h.at, time.Now())
	n := len(h.at)
	h.mu.Unlock()
	h.respond(n, w)
}

const asJSON = "application/json"

func good(w http.ResponseWriter) {
	ok(asJSON, `{"version":"1","name":"shop","time":"2026-03-02T09:15:00Z"}`)(w)
}

func TestNotify_RetriesOnTheVendorsSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &attempts{respond: func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }}
		began := time.Now()
		resp := chatstest.NewMarket().Notify(t.Context(), h, notify.ChatCreated{Business: 1, Chat: 2})
		require.NotNil(t, resp)
		assert.Equal(t, 500, resp.StatusCode)
		assert.Equal(t, 14*24*time.Hour, time.Since(began), "then the subscription is switched off")
		assert.Len(t, h.at, 1+60+23*4+13*24)
		assert.Equal(t, time.Minute, h.at[60].Sub(h.at[59]))
		assert.Equal(t, 15*time.Minute, h.at[61].Sub(h.at[60]))
		assert.Equal(t, time.Hour, h.at[len(h.at)-1].Sub(h.at[len(h.at)-2]))
	})
}

func TestNotify_StopsAfterFourteenDays(t *testing.T) {
	t.Parallel()
	for takes, want := range map[time.Duration]int{9 * time.Second: http.StatusInternalServerError, time.Minute: 0} {
		synctest.Test(t, func(t *testing.T) {
			h := &attempts{respond: func(_ int, w http.ResponseWriter) {
				time.Sleep(takes)
				w.WriteHeader(http.StatusInternalServerError)
			}}
			began := time.Now()
			resp := chatstest.NewMarket().Notify(t.Context(), h, notify.ChatCreated{Business: 1, Chat: 2})
			if want == 0 {
				assert.Nil(t, resp, "there was none")
			} else {
				require.NotNil(t, resp)
				assert.Equal(t, want, resp.StatusCode)
			}
			h.mu.Lock() // a handler that timed out may still be running
			assert.LessOrEqual(t, h.at[len(h.at)-1].Sub(began), 14*24*time.Hour)
			h.mu.Unlock()
			time.Sleep(time.Minute)
		})
	}
}

// ok responds with 200 and this body.
func ok(contentType, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

func TestNotify_RetriesUnexpectedResponses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		respond func(http.ResponseWriter)
		event   notify.Event
		after   time.Duration // until the second attempt, which succeeds
	}{
		{"a 200 without the body", func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) }, notify.ChatCreated{}, time.Minute},
		{"a 200 without a time", ok(asJSON, `{"name":"a","version":"1"}`), notify.ChatCreated{}, time.Minute},
		{"a 200 without a version", ok(asJSON, `{"name":"a","time":"2026-03-02T09:15:00Z"}`), notify.ChatCreated{}, time.Minute},
		{"a 200 without a name", ok(asJSON, `{"version":"a","time":"2026-03-02T09:15:00Z"}`), notify.ChatCreated{}, time.Minute},
		{"a 200 with a long name", ok(asJSON, `{"name":"`+strings.Repeat("я", 101)+`","version":"1","time":"2026-03-02T09:15:00Z"}`), notify.ChatCreated{}, time.Minute},
		{"a 200 in another zone", ok(asJSON, `{"name":"a","version":"1","time":"2026-03-02T09:15:00+03:00"}`), notify.ChatCreated{}, time.Minute},
		{"a 200 in capitals", ok(asJSON, `{"NAME":"a","VERSION":"1","TIME":"2026-03-02T09:15:00Z"}`), notify.ChatCreated{}, time.Minute},
		{"a 200 as a text", ok("text/plain", `{"name":"a","version":"1","time":"2026-03-02T09:15:00Z"}`), notify.ChatCreated{}, time.Minute},
		{"a 409", func(w http.ResponseWriter) { w.WriteHeader(http.StatusConflict) }, notify.ChatCreated{}, time.Minute},
		{"a 503", func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }, notify.ChatCreated{}, time.Minute},
		{"a panic", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, notify.ChatCreated{}, time.Minute},
		{"too late", func(http.ResponseWriter) { time.Sleep(11 * time.Second) }, notify.ChatCreated{}, time.Minute + 10*time.Second},
		{"too late for a PING", func(http.ResponseWriter) { time.Sleep(2 * time.Second) }, notify.Ping{}, time.Minute + time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := &attempts{respond: func(n int, w http.ResponseWriter) {
					if n > 1 {
						good(w)
						return
					}
					tt.respond(w)
				}}
				resp := chatstest.NewMarket().Notify(t.Context(), h, tt.event)
				assert.Equal(t, 200, delivered(t, resp))
				require.Len(t, h.at, 2)
				assert.Equal(t, tt.after, h.at[1].Sub(h.at[0]))
			})
		})
	}
}

// Not parallel: the default logger is global.
func TestNotify_LogsWhyATestSeemsToHang(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	for reason, fail := range map[string]func(http.ResponseWriter){
		"unexpected response: 503 Service Unavailable": func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) },
		"no response in time":                          func(http.ResponseWriter) { time.Sleep(11 * time.Second) },
		"the handler panicked: no such queue":          func(http.ResponseWriter) { panic("no such queue") },
		"the handler exited its goroutine":             func(http.ResponseWriter) { runtime.Goexit() },
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
			h := &attempts{respond: func(n int, w http.ResponseWriter) {
				if n > 1 {
					good(w)
					return
				}
				fail(w)
			}}
			resp := chatstest.NewMarket().Notify(t.Context(), h, notify.ChatCreated{})
			assert.Equal(t, 200, delivered(t, resp))
			assert.Contains(t, out.String(), reason)
			assert.Equal(t, 1, strings.Count(out.String(), "not delivered"))
		})
	}
}

func TestNotify_SendsAMalformedEventOnce(t *testing.T) {
	t.Parallel()
	handler, err := notify.NewHandler("shop", "1", func(context.Context, notify.Event) error { return nil })
	require.NoError(t, err)
	resp := chatstest.NewMarket().Notify(t.Context(), handler, notify.ChatCreated{}) // no IDs
	assert.Equal(t, 400, delivered(t, resp))
}

// Events that wait behind a failing one are delivered in order, and a duplicate is
// handled once.
func TestNotify_FailingHandlerDelaysAndLosesNothing(t *testing.T) {
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
				resp := market.Notify(t.Context(), handler, notify.MessageSent{Business: 1, Chat: 2, Message: message, At: began})
				assert.Equal(t, 200, delivered(t, resp))
			})
			synctest.Wait() // so that they queue in this order
		}
		pushes.Wait()
		assert.Equal(t, []chats.MessageID{1, 2, 3}, handled)
		assert.Equal(t, []time.Duration{2 * time.Minute, 2 * time.Minute, 2 * time.Minute}, at)
	})
}

// An event names the Market's own business by default, and reaches a handler that is mounted
// as documented.
func TestNotify_WorksWithoutConfiguration(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket(chatstest.WithBusiness(8))
	var got []notify.Event
	handler, err := notify.NewHandler("shop", "1", func(_ context.Context, e notify.Event) error {
		got = append(got, e)
		return nil
	})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/market", handler)
	mux.Handle("/market/notification", handler)
	at := time.Date(2026, 3, 2, 9, 15, 0, 0, time.UTC)
	for _, event := range []notify.Event{
		notify.ChatCreated{Chat: 2, At: at},
		notify.MessageSent{Chat: 2, Message: 3, At: at},
		notify.ArbitrageStarted{Chat: 2, At: at},
		notify.ArbitrageFinished{Chat: 2, At: at},
	} {
		assert.Equal(t, 200, delivered(t, market.Notify(t.Context(), mux, event)))
	}
	assert.Equal(t, []notify.Event{
		notify.ChatCreated{Business: 8, Chat: 2, At: at},
		notify.MessageSent{Business: 8, Chat: 2, Message: 3, At: at},
		notify.ArbitrageStarted{Business: 8, Chat: 2, At: at},
		notify.ArbitrageFinished{Business: 8, Chat: 2, At: at},
	}, got)
}

func TestNotify_EndsWithTheContext(t *testing.T) {
	t.Parallel()
	failing := func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }
	for name, tt := range map[string]struct {
		respond func(http.ResponseWriter)
		after   time.Duration
		status  int
	}{
		"between two attempts": {failing, 90 * time.Second, 500},
		"during an attempt":    {func(http.ResponseWriter) { time.Sleep(time.Second) }, 100 * time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.after)
				defer cancel()
				began := time.Now()
				market := chatstest.NewMarket()
				h := &attempts{respond: func(_ int, w http.ResponseWriter) { tt.respond(w) }}
				var queued sync.WaitGroup
				queued.Go(func() {
					synctest.Wait()
					assert.Nil(t, market.Notify(ctx, h, notify.Ping{}), "it never came to its turn")
				})
				resp := market.Notify(ctx, h, notify.ChatCreated{Chat: 2})
				if tt.status == 0 {
					assert.Nil(t, resp)
				} else {
					require.NotNil(t, resp)
					assert.Equal(t, tt.status, resp.StatusCode)
				}
				queued.Wait()
				assert.Equal(t, tt.after, time.Since(began))
				time.Sleep(time.Second) // for the handler to return
			})
		})
	}
}

// Nothing is left to chance: the handler must not be called, however often that is tried.
func TestNotify_CallsNoHandlerAfterTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	market := chatstest.NewMarket()
	h := &attempts{respond: func(int, http.ResponseWriter) {}}
	for range 100 {
		assert.Nil(t, market.Notify(ctx, h, notify.Ping{}))
	}
	assert.Empty(t, h.at)
}
