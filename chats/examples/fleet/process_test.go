package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

const runProgram = "FLEET_TEST_RUN"

// TestMain is the program itself in the processes that the tests start.
func TestMain(m *testing.M) {
	if os.Getenv(runProgram) != "" {
		main()
		return
	}
	m.Run()
}

// newDatabase returns the URL of an empty database and a connection to it. It skips the test if
// there is no PostgreSQL.
func newDatabase(t *testing.T) (string, *pgx.Conn) {
	t.Helper()
	server := os.Getenv("DATABASE_URL")
	if server == "" {
		t.Skip("left out: the program with a database. Run ../../sqlstore/integration/postgres.sh go test ./... or set DATABASE_URL")
	}
	admin, err := pgx.Connect(t.Context(), server)
	require.NoError(t, err)
	name := "fleet_example_" + strings.ToLower(rand.Text())
	_, err = admin.Exec(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := admin.Exec(context.WithoutCancel(t.Context()), "DROP DATABASE "+name+" WITH (FORCE)")
		assert.NoError(t, err)
	})
	address, err := url.Parse(server)
	require.NoError(t, err)
	address.Path = "/" + name
	conn, err := pgx.Connect(t.Context(), address.String())
	require.NoError(t, err)
	return address.String(), conn
}

// startProgram starts the program, and returns the address for Market and the shop's own programs.
func startProgram(t *testing.T, environment ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0")
	cmd.Env = append(append(os.Environ(), runProgram+"=1"), environment...)
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return cmd, strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
}

// half sends half a request, and returns when the program is reading its body.
func half(t *testing.T, address string) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprint(conn, "POST /reply HTTP/1.1\r\nHost: fleet\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n{")
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "100 Continue")
}

// A request that never ends must not turn a deploy into a kill: the process stops its jobs at once,
// and resigns as River's leader.
func TestRun_StopsAlthoughARequestIsPending(t *testing.T) {
	t.Parallel()
	database, conn := newDatabase(t)
	leaders := func() (n int) {
		_ = conn.QueryRow(t.Context(), `SELECT count(*) FROM river_leader`).Scan(&n) // there is no table yet at first
		return n
	}
	cmd, address := startProgram(t, "DATABASE_URL="+database)
	half(t, address)
	require.Eventually(t, func() bool { return leaders() == 1 }, time.Minute, 50*time.Millisecond)
	began := time.Now()
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	assert.NoError(t, cmd.Wait())
	assert.Less(t, time.Since(began), stopTime, "the request is given 5 s, or else 10 s to be read")
	assert.Zero(t, leaders())
}

// A repeated request posts the reply once and tells the CRM once.
func TestReply_RunsTheProgramsOwnJob(t *testing.T) {
	t.Parallel()
	database, conn := newDatabase(t)
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{CreatedAt: time.Now().AddDate(0, -1, 0)})
	server := httptest.NewServer(market)
	t.Cleanup(server.Close)
	_, address := startProgram(t, "DATABASE_URL="+database, "YANDEX_MARKET_BASE_URL="+server.URL)
	request := func(want int, method, path, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader(body))
		require.NoError(t, err)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		assert.NoError(t, resp.Body.Close())
		assert.Equal(t, want, resp.StatusCode, "%s %s", path, body)
	}
	reply := func(text string) string {
		return fmt.Sprintf(`{"business": %d, "chat": %d, "key": "1", "text": %q}`, market.Business(), chat, text)
	}
	request(http.StatusNotFound, http.MethodPost, "/reply", reply("hello"))
	request(http.StatusNoContent, http.MethodPut, fmt.Sprint("/shops/", market.Business()), fmt.Sprintf(`{"key": %q}`, market.Key()))
	request(http.StatusNoContent, http.MethodPost, "/reply", reply("hello"))
	request(http.StatusNoContent, http.MethodPost, "/reply", reply("hello"))
	request(http.StatusConflict, http.MethodPost, "/reply", reply("another text"))
	require.Eventually(t, func() bool {
		var notified int
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM replies WHERE crm_notified_at IS NOT NULL`).Scan(&notified))
		return notified == 1 && len(market.Messages(chat)) > 0
	}, time.Minute, 50*time.Millisecond)
	var jobs int
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM river_job WHERE kind = $1`, crmArgs{}.Kind()).Scan(&jobs))
	assert.Equal(t, 1, jobs)
	assert.Len(t, market.Messages(chat), 1)
}

func openService(t *testing.T) (*service, *pgx.Conn) {
	t.Helper()
	database, conn := newDatabase(t)
	s, err := newService(t.Context(), settings{database: database, interval: time.Minute, log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s, conn
}

// River returns read-only connections to the pool, where they would fail for up to an hour.
func TestService_KeepsNoReadOnlyConnections(t *testing.T) {
	t.Parallel()
	s, conn := openService(t)
	health := func() int {
		w := httptest.NewRecorder()
		s.health(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil))
		return w.Code
	}
	setReadOnly := func(value string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), fmt.Sprintf("ALTER DATABASE %s SET default_transaction_read_only = %s", conn.Config().Database, value))
		require.NoError(t, err)
	}
	require.Equal(t, http.StatusOK, health())
	setReadOnly("on")
	s.pool.Reset()
	assert.Equal(t, http.StatusServiceUnavailable, health())
	setReadOnly("off")
	assert.Equal(t, http.StatusOK, health())
	_, err := s.pool.Exec(t.Context(), `UPDATE river_job SET priority = 1`)
	assert.NoError(t, err)
}

// A customer may write what PostgreSQL refuses.
func TestHandle_StoresAZeroByte(t *testing.T) {
	t.Parallel()
	s, conn := openService(t)
	delivery := inbox.Delivery{Business: 1, Chat: chats.Chat{ID: 2}, Message: chats.Message{ID: 3, Text: "Где\x00 заказ?"}}
	require.NoError(t, s.handle(t.Context(), delivery))
	var text string
	require.NoError(t, conn.QueryRow(t.Context(), `SELECT text FROM messages`).Scan(&text))
	assert.Equal(t, "Где заказ?", text)
}
