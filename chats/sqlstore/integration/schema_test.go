package integration

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/outbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// onBoth runs a test on both databases.
func onBoth(t *testing.T, test func(*testing.T, database)) {
	t.Helper()
	t.Parallel()
	for _, on := range both {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			test(t, on.make(t))
		})
	}
}

// playNew makes a store when it is asked to.
func playNew(d database) error {
	db, err := d.pool()
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	if _, err := sqlstore.New(context.Background(), db, d.dialect); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

func TestNew_ManyProcessesMigrateOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		children, pools := make([]*child, 8), make([]*sql.DB, 8)
		for n := range children {
			children[n], pools[n] = start(t, "new", d), d.open(t)
			require.Equal(t, "ready", children[n].line(t))
		}
		var all sync.WaitGroup
		for n := range children {
			all.Go(func() {
				store, err := sqlstore.New(t.Context(), pools[n], d.dialect)
				if assert.NoError(t, err) {
					assert.NoError(t, store.Wake(t.Context(), business, chats.ChatID(n+1), time.Now()))
				}
			})
			children[n].write(t, "go")
		}
		all.Wait()
		for _, c := range children {
			require.Equal(t, "done", c.line(t))
		}
		summary, err := d.store(t).Summary(t.Context(), business, time.Now())
		require.NoError(t, err)
		assert.Equal(t, 8, summary.Chats)
	})
}

// Change data capture, such as Debezium, publishes all tables by default. PostgreSQL then refuses to update a
// table without a primary key.
func TestNew_InADatabaseThatPublishesAllTables(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	execSQL(t, d.open(t), `CREATE PUBLICATION everything FOR ALL TABLES`)
	store := d.store(t)
	lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
	require.NoError(t, err)
	require.NoError(t, store.Save(t.Context(), lease, &inbox.BusinessState{}, []inbox.ChatState{{Chat: 1}}))
	require.NoError(t, store.Put(t.Context(), business, outbox.Item{Key: "k", Chat: 5, FileName: "a.txt", File: []byte("content")}))
	require.NoError(t, store.Forget(t.Context(), business))
}

func TestNew_RefusesANewerSchema(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		d.store(t)
		db := d.open(t)
		execSQL(t, db, `UPDATE ymchats_schema SET version = 1000`)
		_, err := sqlstore.New(t.Context(), db, d.dialect)
		require.ErrorContains(t, err, "version 1000")
		require.ErrorContains(t, err, "upgrade the library")
		require.Error(t, sqlstore.Migrate(t.Context(), db, d.dialect))
		_, err = sqlstore.New(t.Context(), db, d.dialect, sqlstore.WithoutMigration())
		require.ErrorContains(t, err, "upgrade the library")
	})
}

func TestNew_FailedMigrationLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.open(t)
		execSQL(t, db, `CREATE TABLE ymchats_inbox_chats (other INTEGER)`)
		_, err := sqlstore.New(t.Context(), db, d.dialect)
		require.ErrorContains(t, err, "ymchats_inbox_chats")
		execSQL(t, db, `DROP TABLE ymchats_inbox_chats`)
		execSQL(t, db, `CREATE TABLE ymchats_schema (version INTEGER)`)
		_, err = sqlstore.New(t.Context(), db, d.dialect)
		require.ErrorContains(t, err, "another prefix")
		execSQL(t, db, `DROP TABLE ymchats_schema`)
		d.store(t)
	})
}

func TestNew_WithoutMigration(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.open(t)
		_, err := sqlstore.New(t.Context(), db, d.dialect, sqlstore.WithoutMigration())
		require.ErrorContains(t, err, "run Migrate")
		require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
		d.store(t, sqlstore.WithoutMigration())
		_, err = sqlstore.New(t.Context(), db, d.dialect, sqlstore.WithoutMigration(), sqlstore.WithTablePrefix("other_"))
		require.ErrorContains(t, err, "run Migrate", "of another consumer")
	})
}

// After an incomplete restore, or if another program has a table with the name of ours.
func TestNew_RefusesToWorkWithoutATable(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.open(t)
		for _, table := range []string{"leases", "inbox_businesses", "inbox_chats", "outbox", "outbox_files"} {
			prefix := "no_" + table + "_"
			d.store(t, sqlstore.WithTablePrefix(prefix))
			execSQL(t, db, `DROP TABLE `+prefix+table)
			for _, options := range [][]sqlstore.Option{nil, {sqlstore.WithoutMigration()}} {
				_, err := sqlstore.New(t.Context(), db, d.dialect, append(options, sqlstore.WithTablePrefix(prefix))...)
				require.ErrorContains(t, err, prefix+table+" is missing")
			}
		}
		execSQL(t, db, `CREATE TABLE app_schema (version INTEGER)`)
		execSQL(t, db, `INSERT INTO app_schema VALUES (0)`)
		for _, version := range []int{-1, 0, 1, 2} {
			execSQL(t, db, fmt.Sprint(`UPDATE app_schema SET version = `, version))
			_, err := sqlstore.New(t.Context(), db, d.dialect, sqlstore.WithTablePrefix("app_"))
			require.ErrorContains(t, err, "another prefix")
			var found int
			require.NoError(t, db.QueryRowContext(t.Context(), `SELECT version FROM app_schema`).Scan(&found))
			assert.Equal(t, version, found, "it is not ours")
		}
	})
}

// The role that works needs no right to create tables.
func TestNew_WithoutTheRightToCreateTables(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	d.store(t)
	db := d.open(t)
	var name string
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT current_database()`).Scan(&name))
	role := strings.Replace(name, "test", "role", 1)
	execSQL(t, db, `CREATE ROLE `+role)
	t.Cleanup(func() {
		_, err := db.Exec(`DROP OWNED BY ` + role + `; DROP ROLE ` + role)
		require.NoError(t, err)
	})
	execSQL(t, db, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	limited := d.with("role", role)
	_, err := sqlstore.New(t.Context(), limited.open(t), d.dialect)
	require.ErrorContains(t, err, "permission denied")

	execSQL(t, db, `GRANT SELECT ON ymchats_schema TO `+role)
	execSQL(t, db, `GRANT SELECT, INSERT, UPDATE, DELETE ON ymchats_leases, ymchats_inbox_businesses, ymchats_inbox_chats, ymchats_outbox, ymchats_outbox_files TO `+role)
	store := limited.store(t)
	lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "limited")
	require.NoError(t, err)
	_, err = store.Renew(t.Context(), lease)
	require.NoError(t, err)
	require.NoError(t, store.Save(t.Context(), lease, &inbox.BusinessState{}, []inbox.ChatState{{Chat: 1}}))
	require.NoError(t, store.Forget(t.Context(), business))
}

func TestNew_RefusesAReadOnlyFile(t *testing.T) {
	t.Parallel()
	d := sqliteFile(t)
	d.store(t)
	file := d
	file.dsn += "?mode=ro"
	for _, options := range [][]sqlstore.Option{nil, {sqlstore.WithoutMigration()}} {
		_, err := sqlstore.New(t.Context(), file.open(t), d.dialect, options...)
		require.ErrorContains(t, err, "the file must be writable")
	}
	empty := database{sqlstore.SQLite, "file:" + filepath.Join(t.TempDir(), "missing.db") + "?mode=ro"}
	_, err := sqlstore.New(t.Context(), empty.open(t), d.dialect)
	require.Error(t, err)
}

func TestNew_InMemoryDatabase(t *testing.T) {
	t.Parallel()
	db := database{sqlstore.SQLite, ":memory:"}.open(t)
	db.SetMaxOpenConns(1)
	store, err := sqlstore.New(t.Context(), db, sqlstore.SQLite)
	require.NoError(t, err)
	require.NoError(t, store.Wake(t.Context(), business, 1, time.Now()))

	// A Save that is interrupted, sooner or later, leaves the connection, which is the database,
	// without a transaction.
	lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
	require.NoError(t, err)
	rows := make([]inbox.ChatState, 1000)
	for n := range rows {
		rows[n].Chat = chats.ChatID(n + 2)
	}
	for n := range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(500*n)*time.Microsecond)
		_ = store.Save(ctx, lease, nil, rows)
		cancel()
	}
	require.NoError(t, store.Forget(t.Context(), business))
}

// The statements of the last release before the tables had a prefix.
var oldTable = []string{
	`CREATE TABLE ymchats_inbox_marks (business BIGINT NOT NULL, chat BIGINT NOT NULL, message BIGINT NOT NULL,
		updated_at BIGINT NOT NULL, PRIMARY KEY (business, chat))`,
	`INSERT INTO ymchats_inbox_marks VALUES (0, 0, 1, 1789000000000000),
		(7, 0, 0, 1789000000123456),
		(7, 1, 1789000001000001, 1789000002000003),
		(7, 2, 1, 1789000003000000),
		(7, 3, 0, 1789000004000000),
		(7, 4, 1789000005000001, -62135596800000000),
		(8, 0, 0, 1789000006000000)`,
}

func TestMigrate_ImportsTheOldTable(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.open(t)
		for _, statement := range oldTable {
			execSQL(t, db, statement)
		}
		store := d.store(t)
		for id, want := range map[chats.BusinessID]int64{7: 1789000000123456, 8: 1789000006000000} {
			state, err := store.Business(t.Context(), id)
			require.NoError(t, err)
			assert.Equal(t, inbox.BusinessState{Version: 1, StartTime: time.UnixMicro(want).UTC()}, state)
		}
		rows, err := store.Chats(t.Context(), 7, []chats.ChatID{0, 1, 2, 3, 4})
		require.NoError(t, err)
		assert.ElementsMatch(t, []inbox.ChatState{
			{Chat: 1, Version: 1, Read: true, Checkpoint: 1789000001000001, UpdatedAt: time.UnixMicro(1789000002000003).UTC()},
			{Chat: 2, Version: 1, Read: true, UpdatedAt: time.UnixMicro(1789000003000000).UTC()}, // its first message was new
			{Chat: 3, Version: 1, UpdatedAt: time.UnixMicro(1789000004000000).UTC()},
			{Chat: 4, Version: 1, Read: true, Checkpoint: 1789000005000001},
		}, rows)

		lease, err := store.Acquire(t.Context(), 7, inbox.Purpose, "new")
		require.NoError(t, err)
		rows[0].Attempts = 3
		require.NoError(t, store.Save(t.Context(), lease, nil, rows))
		d.store(t) // again: imports nothing
		saved, err := store.Chats(t.Context(), 7, []chats.ChatID{rows[0].Chat})
		require.NoError(t, err)
		assert.Equal(t, rows[:1], saved)

		var version, marks int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*), min(message) FROM ymchats_inbox_marks
			WHERE business > 0 OR message = 2`).Scan(&marks, &version))
		assert.Equal(t, 7, marks, "the old table stays, and an old release refuses its version")
		other := d.store(t, sqlstore.WithTablePrefix("other_"))
		state, err := other.Business(t.Context(), 7)
		require.NoError(t, err)
		assert.Zero(t, state, "another consumer starts anew")
	})
}

func TestForget_DeletesTheBusinessOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		store := d.store(t)
		leases := make(map[chats.BusinessID]inbox.Lease)
		for _, id := range []chats.BusinessID{business, business + 1} {
			lease, err := store.Acquire(t.Context(), id, inbox.Purpose, "worker")
			require.NoError(t, err)
			require.NoError(t, store.Save(t.Context(), lease, &inbox.BusinessState{LastError: "x"}, []inbox.ChatState{{Chat: 1}}))
			require.NoError(t, store.Put(t.Context(), id,
				outbox.Item{Key: "text", Chat: 1, Text: "a"}, outbox.Item{Key: "file", Chat: 1, FileName: "a.txt", File: []byte("a")}))
			leases[id] = lease
		}
		require.NoError(t, store.Forget(t.Context(), business))

		state, err := store.Business(t.Context(), business)
		require.NoError(t, err)
		assert.Zero(t, state)
		summary, err := store.Summary(t.Context(), business, time.Now())
		require.NoError(t, err)
		assert.Zero(t, summary)
		for table, want := range map[string]int{"ymchats_outbox": 2, "ymchats_outbox_files": 1} {
			var rows int
			require.NoError(t, d.open(t).QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&rows))
			assert.Equal(t, want, rows, "only those of the other business")
		}
		again, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
		require.NoError(t, err)
		assert.Greater(t, again.Token, leases[business].Token, "an old lease stays lost")
		err = store.Save(t.Context(), leases[business], nil, []inbox.ChatState{{Chat: 1}})
		require.ErrorIs(t, err, inbox.ErrLeaseLost)
		require.NoError(t, store.Save(t.Context(), leases[business+1], nil, []inbox.ChatState{{Chat: 1, Version: 1}}))
	})
}

// An inbox that still runs locks its rows, then its lease. The server does not resolve a deadlock
// with it here.
func TestForget_BesideAnInbox(t *testing.T) {
	t.Parallel()
	d := postgres(t).with("deadlock_timeout", "1h")
	store, other := d.store(t), d.store(t)
	for range 50 {
		lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
		require.NoError(t, err)
		var saving sync.WaitGroup
		begun := make(chan struct{}, 1)
		saving.Go(func() {
			rows := make([]inbox.ChatState, 100)
			for i := range rows {
				rows[i].Chat = chats.ChatID(i + 1)
			}
			err := error(nil)
			for err == nil {
				err = store.Save(t.Context(), lease, nil, rows)
				select {
				case begun <- struct{}{}:
				default:
				}
			}
			assert.ErrorIs(t, err, inbox.ErrLeaseLost, "not the time limit of a statement")
		})
		<-begun
		require.NoError(t, other.Forget(t.Context(), business))
		saving.Wait()
	}
}

// A file whose item is gone would keep every later Put of its key from succeeding.
func TestForget_BesideAPut(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	store, db := d.store(t), d.open(t)
	file := func(key string) outbox.Item {
		return outbox.Item{Key: key, Chat: 1, FileName: "a.txt", File: []byte("a")}
	}
	for _, table := range []string{"ymchats_outbox", "ymchats_outbox_files"} {
		require.NoError(t, store.Put(t.Context(), business, file("first")))
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.ExecContext(t.Context(), "SELECT 1 FROM "+table+" FOR UPDATE")
		require.NoError(t, err)
		forgotten := make(chan error, 1)
		go func() { forgotten <- store.Forget(t.Context(), business) }()
		require.Eventually(t, func() bool {
			var waiting bool
			err := db.QueryRowContext(t.Context(), `SELECT EXISTS (SELECT 1 FROM pg_stat_activity
				WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waiting)
			return err == nil && waiting
		}, patience, time.Millisecond)
		require.NoError(t, store.Put(t.Context(), business, file("second")))
		require.NoError(t, tx.Rollback())
		require.NoError(t, <-forgotten)
		require.NoError(t, store.Put(t.Context(), business, file("second")), table)
		head, err := store.Head(t.Context(), business, 1)
		require.NoError(t, err)
		assert.Equal(t, "a", string(head.Item.File))
		require.NoError(t, store.Forget(t.Context(), business))
	}
}
