package notify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/notify"
	"github.com/ymchats/ymchats-go/gen/notification"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	pingBody     = `{"notificationType":"PING","time":"2026-04-20T09:30:00.123456789Z"}`
	createdBody  = `{"notificationType":"CHAT_CREATED","chatId":9021,"businessId":7431,"createdAt":"2026-04-20T12:30:00.213+03:00"}`
	sentBody     = `{"notificationType":"CHAT_MESSAGE_SENT","chatId":9021,"messageId":"1776677400213000","businessId":7431,"sentAt":"2026-04-20T09:30:00.213Z"}`
	startedBody  = `{"notificationType":"CHAT_ARBITRAGE_STARTED","chatId":9021,"businessId":7431,"startedAt":"2026-04-20T09:31:00Z"}`
	finishedBody = `{"notificationType":"CHAT_ARBITRAGE_FINISHED","chatId":9021,"businessId":7431,"finishedAt":"2026-04-21T09:31:00Z"}`
	otherBody    = `{"notificationType":"ORDER_CREATED","orderId":5150,"campaignId":88}`
)

type handleFunc = func(context.Context, notify.Event) error

func accept(context.Context, notify.Event) error { return nil }

// newHandler returns a handler that discards its log unless an option sets a logger.
func newHandler(tb testing.TB, handle handleFunc, options ...notify.Option) *notify.Handler {
	tb.Helper()
	options = append([]notify.Option{notify.WithLogger(slog.New(slog.DiscardHandler))}, options...)
	handler, err := notify.NewHandler("shop", "1.0", handle, options...)
	require.NoError(tb, err)
	return handler
}

// response is a response that the contract allows.
type response struct {
	status int
	header http.Header
	notification.Response
	notification.ErrorResponse
}

// send passes a request to the handler and checks the response against the contract.
func send(tb testing.TB, handler http.Handler, r *http.Request) response {
	tb.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return checked(tb, w.Code, w.Header(), w.Body.Bytes())
}

// validated holds the responses that the contract allowed, so that a test can make
// thousands of equal ones.
var validated sync.Map

func checked(tb testing.TB, status int, header http.Header, body []byte) response {
	tb.Helper()
	exchange := fmt.Sprint(status, header, string(body))
	if _, ok := validated.Load(exchange); !ok && assert.NoError(tb, contract.NotificationResponse(status, header, body)) {
		validated.Store(exchange, true)
	}
	assert.Contains(tb, []int{http.StatusOK, http.StatusBadRequest, http.StatusForbidden, http.StatusInternalServerError}, status)
	resp := response{status: status, header: header}
	assert.NoError(tb, json.Unmarshal(body, &resp.Response))
	assert.NoError(tb, json.Unmarshal(body, &resp.ErrorResponse))
	return resp
}

// post sends a notification as Market does.
func post(tb testing.TB, handler http.Handler, body string) response {
	tb.Helper()
	return send(tb, handler, request(body))
}

func request(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/market/notification", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json;charset=UTF-8")
	return r
}
