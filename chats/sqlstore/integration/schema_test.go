package integration

import (
	"database/sql"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// Eight processes and eight goroutines of this one come upon an empty database.
func TestNewFromManyAtOnce(t *testing.T) {
	t.Parallel()
	for _, on := range both {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			d := on.make(t)
			children := make([]*child, 0, 8)
			for range 8 {
				children = append(children, start(t, "new", d))
			}
			for _, c := range children {
				require.Equal(t, "ready", c.line(t))
			}
			pools := make([]*sql.DB, 8)
			for n := range pools {
				pools[n] = d.open(t)
			}
			var all sync.WaitGroup
			for n := range 8 {
				all.Go(func() {
					store, err := sqlstore.New(t.Context(), pools[n], d.dialect)
					if assert.NoError(t, err) {
						assert.NoError(t, store.Commit(t.Context(), 1, chats.ChatID(n), inbox.Mark{}, inbox.Mark{Message: 1}))
					}
				})
				children[n].tell(t, "go")
			}
			all.Wait()
			for _, c := range children {
				require.Equal(t, "made", c.line(t))
			}
			marks, err := d.store(t).Marks(t.Context(), 1)
			require.NoError(t, err)
			assert.Len(t, marks, 8)
		})
	}
}

func TestNewRefusesATableThatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, on := range both {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			d := on.make(t)
			d.store(t)
			db := d.open(t)
			run(t, db, `UPDATE ymchats_inbox_marks SET message = 2 WHERE business = 0 AND chat = 0`)
			_, err := sqlstore.New(t.Context(), db, d.dialect)
			require.ErrorContains(t, err, "version 2")
			require.ErrorContains(t, err, "upgrade")

			run(t, db, `DELETE FROM ymchats_inbox_marks`)
			_, err = sqlstore.New(t.Context(), db, d.dialect)
			require.ErrorContains(t, err, "did not make it")

			run(t, db, `DROP TABLE ymchats_inbox_marks`)
			run(t, db, `CREATE TABLE ymchats_inbox_marks (something INTEGER)`)
			_, err = sqlstore.New(t.Context(), db, d.dialect)
			require.ErrorContains(t, err, "ymchats_inbox_marks")

			run(t, db, `DROP TABLE ymchats_inbox_marks`)
			_, err = sqlstore.New(t.Context(), db, d.dialect)
			require.NoError(t, err, "a failure leaves no lock behind")
		})
	}
}

func run(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement)
	require.NoError(t, err, statement)
}

// A table that an administrator had made by one run is all that a role without
// further rights needs.
func TestNewWithoutTheRightToMakeTables(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	d.store(t)
	db := d.open(t)
	var database string
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT current_database()`).Scan(&database))
	role := strings.Replace(database, "test", "role", 1)
	run(t, db, `CREATE ROLE `+role)
	t.Cleanup(func() {
		_, err := db.Exec(`DROP OWNED BY ` + role + `; DROP ROLE ` + role)
		require.NoError(t, err)
	})
	run(t, db, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	limited := d.with("role", role)
	_, err := sqlstore.New(t.Context(), limited.open(t), d.dialect)
	require.Error(t, err, "it may not even read")

	run(t, db, `GRANT SELECT, INSERT, UPDATE ON ymchats_inbox_marks TO `+role)
	store := limited.store(t)
	require.NoError(t, store.Commit(t.Context(), 1, 1, inbox.Mark{}, inbox.Mark{Message: 1}))
	require.NoError(t, store.Commit(t.Context(), 1, 1, inbox.Mark{Message: 1}, inbox.Mark{Message: 2}))
	_, release, err := store.Lease(t.Context(), 1)
	require.NoError(t, err)
	release()
}

// An in-memory database has to do with one connection, and so do all but the leases
// of PostgreSQL.
func TestPoolOfOneConnection(t *testing.T) {
	t.Parallel()
	for _, on := range []kind{{"SQLite", func(*testing.T) database { return database{sqlstore.SQLite, ":memory:"} }}, {"PostgreSQL", postgres}} {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			d := on.make(t)
			db := d.open(t)
			db.SetMaxOpenConns(1)
			store, err := sqlstore.New(t.Context(), db, d.dialect)
			require.NoError(t, err)
			require.NoError(t, store.Commit(t.Context(), 1, 1, inbox.Mark{}, inbox.Mark{Message: 1}))
			require.ErrorIs(t, store.Commit(t.Context(), 1, 1, inbox.Mark{}, inbox.Mark{Message: 1}), inbox.ErrConflict)
			marks, err := store.Marks(t.Context(), 1)
			require.NoError(t, err)
			assert.Len(t, marks, 1)

			_, release, err := store.Lease(t.Context(), 1)
			if d.dialect == sqlstore.PostgreSQL {
				require.ErrorContains(t, err, "SetMaxOpenConns")
				return
			}
			require.NoError(t, err)
			release()
		})
	}
}
