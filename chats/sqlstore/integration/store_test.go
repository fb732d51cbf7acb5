package integration

import (
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
		conns int
	}{
		{name: "SQLite", open: sqliteFile},
		{name: "SQLite, write-ahead log", open: func(t *testing.T) database {
			t.Helper()
			return sqliteLog(t).with("_pragma", "busy_timeout(5000)")
		}},
		{name: "PostgreSQL", open: postgres},
		{name: "PostgreSQL, one connection", open: postgres, conns: 1},
		{name: "PostgreSQL, serializable", open: postgresWith("default_transaction_isolation", "serializable")},
		{name: "PostgreSQL, for a pooler", open: postgresWith("default_query_exec_mode", "exec")},
		{name: "PostgreSQL, simple protocol", open: postgresWith("default_query_exec_mode", "simple_protocol")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, tables := c.open(t), 0
			inboxtest.TestStore(t, func(t *testing.T) (a, b inbox.Store) {
				t.Helper()
				tables++
				prefix := fmt.Sprintf("test%d_", tables)
				return contractStore(t, d, c.conns, prefix), contractStore(t, d, c.conns, prefix)
			})
		})
	}
}

func contractStore(t *testing.T, d database, conns int, prefix string) *sqlstore.Store {
	t.Helper()
	db := d.open(t)
	db.SetMaxOpenConns(conns)
	store, err := sqlstore.New(t.Context(), db, d.dialect, sqlstore.WithTablePrefix(prefix), sqlstore.WithLeaseDuration(2*time.Second))
	require.NoError(t, err)
	return store
}

func postgresWith(setting, value string) func(*testing.T) database {
	return func(t *testing.T) database {
		t.Helper()
		return postgres(t).with(setting, value)
	}
}
