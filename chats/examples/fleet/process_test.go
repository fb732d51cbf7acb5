package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"net"
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
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), runProgram+"=1", "DATABASE_URL="+database)
	cmd.Stderr = t.Output()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	half(t, strings.TrimSpace(strings.TrimPrefix(line, "listening on ")))
	require.Eventually(t, func() bool { return leaders() == 1 }, time.Minute, 50*time.Millisecond)
	began := time.Now()
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	assert.NoError(t, cmd.Wait())
	assert.Less(t, time.Since(began), stopTime/2, "the request is given 5 s")
	assert.Zero(t, leaders())
}
