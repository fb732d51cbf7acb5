package integration

import (
	"fmt"
	"testing"

	"github.com/ymchats/ymchats-go/chats/outbox"
	"github.com/ymchats/ymchats-go/chats/outbox/outboxtest"
)

func TestOutbox_KeepsTheContract(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		open  func(*testing.T) database
		conns int // at most
		idle  int // at most
	}{
		{name: "SQLite", open: sqliteFile, idle: 1},
		{name: "SQLite, write-ahead log", open: sqliteLog, idle: 2},
		{name: "PostgreSQL", open: postgres, idle: 8},
		{name: "PostgreSQL, one connection", open: postgres, conns: 1, idle: 1},
		{name: "PostgreSQL, serializable", open: postgresWith("default_transaction_isolation", "serializable"), idle: 2},
		{name: "PostgreSQL, pooler", open: postgresWith("default_query_exec_mode", "exec"), idle: -1},
		{name: "PostgreSQL, simple protocol", open: postgresWith("default_query_exec_mode", "simple_protocol"), idle: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, tables := c.open(t), 0
			outboxtest.TestStore(t, func(t *testing.T) (a, b outbox.Store) {
				t.Helper()
				tables++
				prefix := fmt.Sprintf("test%d_", tables)
				open := func() outbox.Store {
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
