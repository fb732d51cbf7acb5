package integration

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/inbox/inboxtest"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

func TestStore_KeepsTheContract(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		open  func(*testing.T) database
		conns int // at most
		idle  int // at most
	}{
		{name: "SQLite", open: sqliteFile, idle: 1},
		{name: "SQLite, write-ahead log", open: func(t *testing.T) database {
			t.Helper()
			return sqliteLog(t).with("_pragma", "busy_timeout(5000)")
		}, idle: 2},
		{name: "PostgreSQL", open: postgres, idle: 8},
		{name: "PostgreSQL, one connection", open: postgres, conns: 1, idle: 1},
		{name: "PostgreSQL, serializable", open: postgresWith("default_transaction_isolation", "serializable"), idle: 2},
		{name: "PostgreSQL, lock timeout", open: postgresWith("lock_timeout", "1"), idle: 2},
		{name: "PostgreSQL, plans for any parameters", open: postgresWith("plan_cache_mode", "force_generic_plan"), idle: 2},
		// As behind a pooler that hands out single transactions: a session for every statement.
		{name: "PostgreSQL, pooler", open: postgresWith("default_query_exec_mode", "exec"), idle: -1},
		{name: "PostgreSQL, simple protocol", open: postgresWith("default_query_exec_mode", "simple_protocol"), idle: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, tables := c.open(t), 0
			inboxtest.TestStore(t, func(t *testing.T) (a, b inbox.Store) {
				t.Helper()
				tables++
				prefix := fmt.Sprintf("test%d_", tables)
				open := func() inbox.Store {
					db := d.open(t)
					db.SetMaxOpenConns(c.conns)
					db.SetMaxIdleConns(c.idle)
					return newStore(t, db, d, prefix)
				}
				return open(), open()
			})
		})
	}
}

func newStore(t *testing.T, db *sql.DB, d database, prefix string) *sqlstore.Store {
	t.Helper()
	store, err := sqlstore.New(t.Context(), db, d.dialect, sqlstore.WithTablePrefix(prefix), sqlstore.WithLeaseDuration(3*time.Second))
	require.NoError(t, err)
	return store
}

func postgresWith(setting, value string) func(*testing.T) database {
	return func(t *testing.T) database {
		t.Helper()
		return postgres(t).with(setting, value)
	}
}
