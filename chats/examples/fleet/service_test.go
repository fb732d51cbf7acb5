package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/notify"
)

// A process with a wrong setting does not start: every step that it made would fail.
func TestNewService_RefusesWrongSettings(t *testing.T) {
	t.Parallel()
	good := settings{database: "postgres://127.0.0.1:1/none", interval: time.Minute, log: slog.New(slog.DiscardHandler)}
	for want, change := range map[string]func(*settings){
		"DATABASE_URL": func(s *settings) { s.database = "" },
		"-poll":        func(s *settings) { s.interval = 0 },
		"base URL":     func(s *settings) { s.market = "market.example" },
		"parse":        func(s *settings) { s.database = "not a URL" },
		"refused":      func(*settings) {}, // by the port
	} {
		bad := good
		change(&bad)
		_, err := newService(t.Context(), bad)
		assert.ErrorContains(t, err, want)
	}
}

func TestHandler_TrustsTheNamedProxiesOnly(t *testing.T) {
	t.Parallel()
	s := &service{settings: settings{proxy: "192.0.2.10/32,192.0.2.11/32"}}
	handler, err := s.handler()
	require.NoError(t, err)
	for proxy, want := range map[string]int{"192.0.2.10": http.StatusOK, "192.0.2.11": http.StatusOK, "192.0.2.12": http.StatusForbidden} {
		body := strings.NewReader(`{"notificationType": "PING", "time": "2026-11-27T09:00:00Z"}`)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/market/notification", body)
		r.RemoteAddr = proxy + ":1234"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Forwarded-For", notify.MarketNetworks()[0].Addr().String())
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		assert.Equal(t, want, w.Code, proxy)
	}
	s.proxy = "192.0.2.10/32, everyone"
	_, err = s.handler()
	assert.ErrorContains(t, err, "TRUSTED_PROXY")
}

func TestHandler_RefusesBadRequests(t *testing.T) {
	t.Parallel()
	s := &service{} // without a database: none of them may get that far
	handler, err := s.handler()
	require.NoError(t, err)
	reply := func(business, chat int64, key, text string) string {
		return fmt.Sprintf(`{"business": %d, "chat": %d, "key": "%s", "text": "%s"}`, business, chat, key, text)
	}
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{http.MethodPost, "/reply", ``, http.StatusBadRequest},
		{http.MethodPost, "/reply", `[]`, http.StatusBadRequest},
		{http.MethodPost, "/reply", `null`, http.StatusBadRequest},
		{http.MethodPost, "/reply", `{"chat": "5"}`, http.StatusBadRequest},
		{http.MethodPost, "/reply", reply(1, 5, "", "hello"), http.StatusBadRequest},
		{http.MethodPost, "/reply", reply(1, 5, strings.Repeat("k", 201), "hello"), http.StatusBadRequest},
		{http.MethodPost, "/reply", reply(1, 0, "k", "hello"), http.StatusBadRequest},
		{http.MethodPost, "/reply", reply(1, 5, "k", " "), http.StatusBadRequest},
		{http.MethodPost, "/reply", reply(1, 5, "k", `a\u0000b`), http.StatusBadRequest},
		{http.MethodPost, "/reply", reply(1, 5, "k", "hell\xff"), http.StatusBadRequest},
		{http.MethodPost, "/reply", reply(1, 5, "k", "hello") + reply(1, 5, "l", "bye"), http.StatusBadRequest},
		{http.MethodPost, "/reply", reply(1, 5, "k", "hello") + strings.Repeat(" ", 64<<10), http.StatusBadRequest},
		{http.MethodGet, "/reply", ``, http.StatusMethodNotAllowed},
		{http.MethodPut, "/shops/0", `{"key": "ACMA:1"}`, http.StatusBadRequest},
		{http.MethodPut, "/shops/one", `{"key": "ACMA:1"}`, http.StatusBadRequest},
		{http.MethodPut, "/shops/99999999999999999999", `{"key": "ACMA:1"}`, http.StatusBadRequest},
		{http.MethodPut, "/shops/1", `{}`, http.StatusBadRequest},
		{http.MethodPut, "/shops/1", `{"key": "a b"}`, http.StatusBadRequest},
		{http.MethodPut, "/shops/1", `{"key": "ACMA:1"} {"key": "ACMA:2"}`, http.StatusBadRequest},
		{http.MethodPost, "/shops/1", `{"key": "ACMA:1"}`, http.StatusMethodNotAllowed},
		{http.MethodDelete, "/shops/one", ``, http.StatusBadRequest},
		{http.MethodDelete, "/shops/", ``, http.StatusNotFound},
	} {
		w := httptest.NewRecorder()
		func() {
			defer func() { assert.Nil(t, recover(), "%s %s", c.path, c.body) }()
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body)))
		}()
		assert.Equal(t, c.want, w.Code, "%s %s %s", c.method, c.path, c.body)
	}
}
