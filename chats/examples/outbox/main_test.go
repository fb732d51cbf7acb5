package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// The demo runs this binary as the program, with the program's flags. The environment does not
// tell the two apart: a developer may have set the variables for the sandbox.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-db" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestDemo_PostsEveryReplyOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, demo(t.Context(), &out))
	assert.Equal(t, 3, strings.Count(out.String(), "kill -9"), out.String())
	assert.Contains(t, out.String(), "24 replies, 24 posted once")
}

func TestService_RespondsToOperators(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{"SQLite": "", "PostgreSQL": os.Getenv("DATABASE_URL")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "PostgreSQL" && address == "" {
				t.Skip("left out: set DATABASE_URL to an empty database, as postgres.sh does")
			}
			respond(t, address)
		})
	}
}

func respond(t *testing.T, address string) {
	t.Helper()
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{ID: 5})
	db, dialect, err := openDatabase(filepath.Join(t.TempDir(), "outbox.db"), address)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := newService(t.Context(), market.Client(), db, dialect, sqlstore.WithTablePrefix("test_"))
	require.NoError(t, err)
	do := func(method, path, key, body string) (int, string) {
		req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
		req.Header.Set("Idempotency-Key", key)
		w := httptest.NewRecorder()
		s.handler().ServeHTTP(w, req)
		return w.Code, w.Body.String()
	}
	for _, c := range []struct {
		key, body string
		status    int
	}{
		{"a", `{"chat":5,"text":"hello"}`, http.StatusAccepted},
		{"a", `{"chat":5,"text":"hello"}`, http.StatusAccepted},
		{"a", `{"chat":5,"text":"other"}`, http.StatusConflict},
		{"b", `{"chat":5}`, http.StatusBadRequest},
		{"", `{"chat":5,"text":"hello"}`, http.StatusBadRequest},
		{"d", `{"chat":5,"text":"a\u0000b"}`, http.StatusBadRequest},
		{"\xff", `{"chat":5,"text":"hello"}`, http.StatusBadRequest},
		{"c", `{`, http.StatusBadRequest},
		{"c", `{"chat":5,"text":"hello"} {"chat":5,"text":"bye"}`, http.StatusBadRequest},
		{"c", "{\"chat\":5,\"text\":\"hell\xff\"}", http.StatusBadRequest},
		{"c", `{"chat":5,"text":"hello"}` + strings.Repeat(" ", 64<<10), http.StatusBadRequest},
	} {
		code, body := do(http.MethodPost, "/reply", c.key, c.body)
		assert.Equal(t, c.status, code, "%s: %s", c.body, body)
	}
	assert.Equal(t, "queued", rowState(t, db, "a"))
	assert.Empty(t, rowState(t, db, "b"), "the shop's own row is rolled back, too")
	_, err = s.box.Step(t.Context())
	require.NoError(t, err)
	code, body := do(http.MethodGet, "/reply/a", "", "")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, body, `"state":"sent"`)
	assert.Equal(t, "sent", rowState(t, db, "a"))
	for _, key := range []string{"b", "%00", "%FF"} {
		code, _ = do(http.MethodGet, "/reply/"+key, "", "")
		assert.Equal(t, http.StatusNotFound, code, key)
	}
	assert.Len(t, market.Messages(chat), 1)
}

// On PostgreSQL, CREATE TABLE IF NOT EXISTS may fail if others execute it at the same time.
func TestNewService_InSeveralProcessesAtOnce(t *testing.T) {
	address := os.Getenv("DATABASE_URL")
	if address == "" {
		t.Skip("left out: set DATABASE_URL to an empty database, as postgres.sh does")
	}
	for n := range 20 {
		schema := fmt.Sprint("at_once_", n)
		db, dialect, err := openDatabase("", address+"&search_path="+schema)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), "CREATE SCHEMA "+schema)
		require.NoError(t, err)
		var processes sync.WaitGroup
		for range 8 {
			processes.Go(func() {
				_, err := newService(t.Context(), chatstest.NewMarket().Client(), db, dialect)
				assert.NoError(t, err)
			})
		}
		processes.Wait()
		_, err = db.ExecContext(t.Context(), "DROP SCHEMA "+schema+" CASCADE")
		require.NoError(t, err)
		require.NoError(t, db.Close())
	}
}

func rowState(t *testing.T, db *sql.DB, key string) (state string) {
	t.Helper()
	_ = db.QueryRowContext(t.Context(), `SELECT state FROM replies WHERE key = $1`, key).Scan(&state)
	return state
}

// With one of the two variables, it is not the demo that is wanted.
func TestRun_NeedsBothVariables(t *testing.T) {
	for _, name := range []string{"YANDEX_MARKET_API_KEY", "YANDEX_MARKET_BUSINESS_ID"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("YANDEX_MARKET_API_KEY", "")
			t.Setenv("YANDEX_MARKET_BUSINESS_ID", "")
			t.Setenv(name, "7")
			assert.Error(t, run(t.Context(), "", "", time.Second))
		})
	}
}
