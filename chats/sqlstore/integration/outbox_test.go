package integration

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
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
		{name: "PostgreSQL, plans for any parameters", open: postgresWith("plan_cache_mode", "force_generic_plan"), idle: 2},
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

func TestPutTx_FollowsTheCallersTransaction(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.open(t)
		store := newStore(t, db, d, "test_")
		execSQL(t, db, `CREATE TABLE own (key TEXT PRIMARY KEY)`)
		put := func(commit bool, items ...outbox.Item) error {
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = tx.ExecContext(t.Context(), `INSERT INTO own (key) VALUES ('`+items[0].Key+`')`)
			require.NoError(t, err)
			err = store.PutTx(t.Context(), tx, business, items...)
			if commit && err == nil {
				require.NoError(t, tx.Commit())
			} else {
				require.NoError(t, tx.Rollback())
			}
			return err
		}
		text := func(key, text string) outbox.Item { return outbox.Item{Key: key, Chat: 5, Text: text} }
		file := outbox.Item{Key: "file", Chat: 5, FileName: "a.txt", File: []byte("content")}
		require.NoError(t, put(false, text("dropped", "x"), file))
		for _, key := range []string{"dropped", "file"} {
			_, err := store.Item(t.Context(), business, key)
			require.ErrorIs(t, err, outbox.ErrUnknownKey)
		}
		require.NoError(t, put(true, file, text("kept", "x")))
		require.ErrorIs(t, put(true, text("other", "x"), text("kept", "y")), outbox.ErrKeyReused)
		require.ErrorIs(t, put(true, text("other", "")), chats.ErrInvalidArgument)
		_, err := store.Item(t.Context(), business, "other")
		require.ErrorIs(t, err, outbox.ErrUnknownKey)
		head, err := store.Head(t.Context(), business, 5)
		require.NoError(t, err)
		require.Equal(t, "content", string(head.Item.File))
		require.ErrorIs(t, store.PutTx(t.Context(), nil, business, file), chats.ErrInvalidArgument)
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		require.ErrorIs(t, store.PutTx(t.Context(), tx, 0, file), chats.ErrInvalidArgument)
		require.NoError(t, store.PutTx(t.Context(), tx, business))
		require.NoError(t, tx.Rollback())
	})
}

// By default, a SQLite transaction begins without the write lock, and fails instead of waiting for it if
// it has read before.
func TestPutTx_WaitsForAnotherWriter(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]database{"journal": sqliteFile(t), "log": sqliteLog(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := d.with("_pragma", "busy_timeout(10000)")
			store, db := d.store(t), d.open(t)
			writer, err := d.with("_txlock", "immediate").open(t).BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = writer.ExecContext(t.Context(), `CREATE TABLE own (key TEXT)`)
			require.NoError(t, err)
			committed := make(chan error, 1)
			time.AfterFunc(300*time.Millisecond, func() { committed <- writer.Commit() })
			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, store.PutTx(t.Context(), tx, business, outbox.Item{Key: "1", Chat: 5, Text: "x"}))
			require.NoError(t, tx.Commit())
			require.NoError(t, <-committed)
		})
	}
}

// Somebody has a transaction open on an item. The saves of the others and the renewals do not
// wait for it.
func TestSaveItem_OfAnItemThatIsLocked(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db, store := d.open(t), d.store(t)
	require.NoError(t, store.Put(t.Context(), business, outbox.Item{Key: "locked", Chat: 5, Text: "x"}, outbox.Item{Key: "free", Chat: 6, Text: "x"}))
	lease, err := store.Acquire(t.Context(), business, outbox.Purpose, "worker")
	require.NoError(t, err)
	locked, err := store.Item(t.Context(), business, "locked")
	require.NoError(t, err)
	free, err := store.Item(t.Context(), business, "free")
	require.NoError(t, err)
	lock, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer lock.Rollback() //nolint:errcheck // if the test ends early
	_, err = lock.ExecContext(t.Context(), `SELECT 1 FROM ymchats_outbox WHERE key = 'locked' FOR UPDATE`)
	require.NoError(t, err)
	result := make(chan error)
	go func() { result <- store.SaveItem(t.Context(), lease, &locked) }()
	require.Eventually(t, func() bool { return waiting(t, db) == 1 }, patience, 10*time.Millisecond)
	_, err = store.Renew(t.Context(), lease)
	require.NoError(t, err)
	require.NoError(t, store.SaveItem(t.Context(), lease, &free))

	require.NoError(t, store.Release(t.Context(), lease))
	_, err = store.Acquire(t.Context(), business, outbox.Purpose, "standby")
	require.NoError(t, err)
	require.NoError(t, lock.Rollback())
	require.ErrorIs(t, <-result, inbox.ErrLeaseLost, "the next holder has read the item")
}

// The tables of a release before the outbox are migrated; the inbox's rows stay.
func TestNew_AddsTheOutbox(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		db := d.open(t)
		store := d.store(t)
		require.NoError(t, store.Wake(t.Context(), business, 5, time.Now()))
		execSQL(t, db, `DROP TABLE ymchats_outbox`)
		execSQL(t, db, `DROP TABLE ymchats_outbox_files`)
		execSQL(t, db, `UPDATE ymchats_schema SET version = 1`)
		migrated := d.store(t)
		require.NoError(t, migrated.Put(t.Context(), business, outbox.Item{Key: "k", Chat: 5, Text: "x"}))
		summary, err := migrated.Summary(t.Context(), business, time.Now())
		require.NoError(t, err)
		require.Equal(t, 1, summary.Chats)
	})
}

// Put waits for a transaction that puts an item with the same key, however long it is open. The
// inbox's Saves do not wait for it.
func TestPut_LeavesConnectionsToOthers(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db, store := d.open(t), d.store(t)
	lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
	require.NoError(t, err)
	item := outbox.Item{Key: "key", Chat: 1, Text: "text"}
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback() //nolint:errcheck // if the test ends early
	require.NoError(t, store.PutTx(t.Context(), tx, business, item))
	var putting sync.WaitGroup
	for range 8 {
		putting.Go(func() { assert.NoError(t, store.Put(t.Context(), business, item)) })
	}
	require.Eventually(t, func() bool {
		var blocked int
		err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&blocked)
		return err == nil && blocked > 1
	}, patience, 10*time.Millisecond)
	for chat := range chats.ChatID(4) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		assert.NoError(t, store.Save(ctx, lease, nil, []inbox.ChatState{{Chat: chat + 1}}))
		cancel()
	}
	require.NoError(t, tx.Rollback())
	putting.Wait()
}
