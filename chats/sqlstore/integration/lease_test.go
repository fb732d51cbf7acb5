package integration

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// worker starts a process that has the lease and works.
func worker(t *testing.T, d database) *child {
	t.Helper()
	c := start(t, "increment", d)
	require.Equal(t, "ready", c.line(t))
	require.Equal(t, "acquired", c.line(t))
	c.awaitLines(t, 10)
	return c
}

// takeOver waits for the lease that another process has.
func takeOver(t *testing.T, store *sqlstore.Store) (lease inbox.Lease, took time.Duration) {
	t.Helper()
	began := time.Now()
	require.Eventually(t, func() bool {
		var err error
		lease, err = store.Acquire(t.Context(), business, inbox.Purpose, "standby")
		if err != nil {
			require.ErrorIs(t, err, inbox.ErrLeaseHeld)
		}
		return err == nil
	}, patience, 100*time.Millisecond)
	return lease, time.Since(began)
}

// values returns the Attempts of the workers' chats.
func values(t *testing.T, store *sqlstore.Store) map[chats.ChatID]int {
	t.Helper()
	rows, err := store.Chats(t.Context(), business, []chats.ChatID{1, 2, 3, 4})
	require.NoError(t, err)
	all := make(map[chats.ChatID]int)
	for n := range rows {
		all[rows[n].Chat] = rows[n].Attempts
	}
	return all
}

// saved returns the values that processes have printed, by chat. None may be there
// twice.
func saved(t *testing.T, children ...*child) map[chats.ChatID]map[int]bool {
	t.Helper()
	all := make(map[chats.ChatID]map[int]bool)
	for _, c := range children {
		for _, line := range c.lines() {
			var chat chats.ChatID
			var value int
			if _, err := fmt.Sscanf(line, "saved %d %d", &chat, &value); err != nil {
				continue
			}
			if all[chat] == nil {
				all[chat] = make(map[int]bool)
			}
			assert.False(t, all[chat][value], "chat %d: %d was saved twice", chat, value)
			all[chat][value] = true
		}
	}
	return all
}

func highest(values map[int]bool) (most int) {
	for value := range values {
		most = max(most, value)
	}
	return most
}

// A Save that a kill interrupts has happened or not; all that returned nil have.
func TestLease_OfAKilledProcess(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		standby := d.store(t)
		var children []*child
		for range 2 {
			c := worker(t, d)
			children = append(children, c)
			c.awaitLines(t, 20+rand.IntN(200))
			_, err := standby.Acquire(t.Context(), business, inbox.Purpose, "standby")
			require.ErrorIs(t, err, inbox.ErrLeaseHeld, "the worker is alive")
			c.kill()
			lease, took := takeOver(t, standby)
			assertTook(t, took, 7*time.Second)
			found := values(t, standby)
			for chat, printed := range saved(t, children...) {
				assert.GreaterOrEqual(t, found[chat], highest(printed), "a Save is lost")
				assert.LessOrEqual(t, found[chat], highest(printed)+1)
			}
			require.NoError(t, standby.Release(t.Context(), lease))
		}
	})
}

// A frozen process saves nothing after its lease has expired: not by the statement that
// the database has already, which here waits for a table, and not when it wakes up.
func TestLease_OfAFrozenProcess(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db, standby := d.open(t), d.store(t)
	c := worker(t, d)
	lock, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer lock.Rollback() //nolint:errcheck // if the test ends early
	_, err = lock.ExecContext(t.Context(), `LOCK TABLE ymchats_inbox_chats IN SHARE ROW EXCLUSIVE MODE`)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return waiting(t, db) == workers-1 }, patience, 10*time.Millisecond)
	c.stop(t)
	lease, took := takeOver(t, standby)
	require.Equal(t, workers-1, waiting(t, db), "one connection is kept for the lease")
	assertTook(t, took, 7*time.Second)

	frozen := values(t, standby)
	require.NoError(t, lock.Rollback())
	require.Eventually(t, func() bool { return waiting(t, db) == 0 }, patience, 10*time.Millisecond)
	c.signal(t, syscall.SIGCONT)
	stop := keep(t, standby, lease)
	require.Eventually(t, func() bool { return slices.Contains(c.lines(), "lost") }, patience, 10*time.Millisecond)
	assert.Equal(t, frozen, values(t, standby))
	stop()
}

// An open transaction of an operator blocks the Saves of its rows, but no lease.
func TestLease_LastsWhileSavesAreBlocked(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db, store := d.open(t), d.store(t)
	rows := make([]inbox.ChatState, 8)
	for n := range rows {
		rows[n].Chat = chats.ChatID(n + 1)
	}
	lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
	require.NoError(t, err)
	require.NoError(t, store.Save(t.Context(), lease, nil, rows))
	lock, err := d.open(t).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer lock.Rollback() //nolint:errcheck // if the test ends early
	_, err = lock.ExecContext(t.Context(), `UPDATE ymchats_inbox_chats SET due_at = 0`)
	require.NoError(t, err)
	var saving sync.WaitGroup
	for n := range rows {
		saving.Go(func() { assert.NoError(t, store.Save(t.Context(), lease, nil, rows[n:n+1])) })
	}
	require.Eventually(t, func() bool { return waiting(t, db) > 0 }, patience, 10*time.Millisecond)
	for range 7 { // longer than the lease lasts
		_, err = store.Renew(t.Context(), lease)
		require.NoError(t, err)
		<-time.After(time.Second)
	}
	require.NoError(t, lock.Rollback())
	saving.Wait()
}

// waiting returns how many Saves the database has begun.
func waiting(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND state = 'active' AND (query LIKE 'WITH %_rows AS %' OR query LIKE 'WITH item AS %')`).Scan(&n))
	return n
}

// The statement of an earlier holder may still be running when its lease has expired. What it
// saves is read with the lease.
func TestLease_AfterAnUnfinishedSave(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db, store := d.open(t), d.store(t)
	old, err := store.Acquire(t.Context(), business, inbox.Purpose, "old")
	require.NoError(t, err)
	require.NoError(t, store.Save(t.Context(), old, &inbox.BusinessState{LastError: "first"}, nil))
	save, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer save.Rollback() //nolint:errcheck // if the test ends early
	_, err = save.ExecContext(t.Context(), `UPDATE ymchats_inbox_businesses SET version = 2, last_error = 'second'`)
	require.NoError(t, err)
	execSQL(t, db, `UPDATE ymchats_leases SET expires_at = 0`)
	type acquired struct {
		lease inbox.Lease
		state inbox.BusinessState
		err   error
	}
	done := make(chan acquired)
	go func() {
		var a acquired
		a.lease, a.state, a.err = store.AcquireBusiness(t.Context(), business, inbox.Purpose, "new")
		done <- a
	}()
	require.Eventually(t, func() bool {
		var n int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'WITH held %'`).Scan(&n))
		return n == 1
	}, patience, 10*time.Millisecond)
	require.NoError(t, save.Commit())
	a := <-done
	require.NoError(t, a.err)
	assert.EqualValues(t, 2, a.state.Version)
	assert.Equal(t, "second", a.state.LastError)
	require.NoError(t, store.Save(t.Context(), a.lease, &a.state, nil))
}

// Within a transaction it would keep the file locked: see the package's documentation.
func TestLease_OfAFrozenProcessOnOneFile(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) database{"rollback journal": sqliteFile, "write-ahead log": sqliteLog} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			standby := d.store(t)
			c := worker(t, d)
			c.write(t, "pause")
			require.Eventually(t, func() bool { return slices.Contains(c.lines(), "paused") }, patience, 10*time.Millisecond)
			c.stop(t)
			lease, took := takeOver(t, standby)
			assertTook(t, took, 7*time.Second)
			frozen := values(t, standby)
			c.write(t, "resume")
			c.signal(t, syscall.SIGCONT)
			stop := keep(t, standby, lease)
			require.Eventually(t, func() bool { return slices.Contains(c.lines(), "lost") }, patience, 10*time.Millisecond)
			assert.Equal(t, frozen, values(t, standby))
			stop()
		})
	}
}

// keep renews a lease until stop is called.
func keep(t *testing.T, store *sqlstore.Store, lease inbox.Lease) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var renewing sync.WaitGroup
	renewing.Go(func() {
		for ctx.Err() == nil {
			if _, err := store.Renew(ctx, lease); ctx.Err() == nil {
				assert.NoError(t, err, "the waking process disturbs no one")
			}
			select {
			case <-time.After(500 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	return func() {
		cancel()
		renewing.Wait()
	}
}

// Two processes work in turn while an administrator ends all sessions again and again.
func TestSave_WhileConnectionsAreCut(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db, store := d.open(t), d.store(t)
	children := []*child{start(t, "increment", d), start(t, "increment", d)}
	for _, c := range children {
		require.Equal(t, "ready", c.line(t))
	}
	for range 20 {
		endSessions(t, db)
		before := total(values(t, store))
		require.Eventually(t, func() bool { return total(values(t, store)) >= before+20 }, patience, 5*time.Millisecond)
	}
	for _, c := range children {
		c.kill()
	}
	found := values(t, store)
	for chat, printed := range saved(t, children...) {
		assert.GreaterOrEqual(t, found[chat], highest(printed), "a Save is lost")
	}
}

func total(values map[chats.ChatID]int) (sum int) {
	for _, value := range values {
		sum += value
	}
	return sum
}

// endSessions does what an administrator, a failover or a restart does. The sessions of
// idle connections are among them: the next statement is not to notice it.
func endSessions(t *testing.T, db *sql.DB) {
	t.Helper()
	execSQL(t, db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
}

// The pool keeps connections of the time at which the database was read-only, and those
// stay so.
func TestSave_AfterTheDatabaseWasReadOnly(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	admin, pool := d.with("default_transaction_read_only", "off").open(t), d.open(t)
	store, err := sqlstore.New(t.Context(), pool, d.dialect)
	require.NoError(t, err)
	lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
	require.NoError(t, err)
	row := []inbox.ChatState{{Chat: 1}}
	require.NoError(t, store.Save(t.Context(), lease, nil, row))

	setReadOnly(t, admin, true)
	fillPool(t, pool, 8)
	require.ErrorContains(t, store.Save(t.Context(), lease, nil, row), "read-only")
	_, err = store.Renew(t.Context(), lease)
	require.ErrorContains(t, err, "read-only")
	require.NotErrorIs(t, err, inbox.ErrLeaseLost, "no one has it")
	fillPool(t, pool, 8)
	setReadOnly(t, admin, false)
	require.NoError(t, store.Save(t.Context(), lease, nil, row), "at once")
	_, err = store.Renew(t.Context(), lease)
	require.NoError(t, err)
}

// A pool of pgx, as the fleet's example has one, would go on using the read-only connections.
func TestSave_AfterTheDatabaseOfAPoolBehindTheDriverWasReadOnly(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	admin := d.with("default_transaction_read_only", "off").open(t)
	behind, err := pgxpool.New(t.Context(), d.with("pool_max_conns", "4").dsn)
	require.NoError(t, err)
	t.Cleanup(behind.Close)
	pool := stdlib.OpenDBFromPool(behind)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	store, err := sqlstore.New(t.Context(), pool, d.dialect)
	require.NoError(t, err)
	lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
	require.NoError(t, err)
	row := []inbox.ChatState{{Chat: 1}}

	setReadOnly(t, admin, true)
	behind.Reset()
	require.ErrorContains(t, store.Save(t.Context(), lease, nil, row), "read-only")
	conns := make([]*sql.Conn, 4)
	for n := range conns {
		conns[n], err = pool.Conn(t.Context())
		require.NoError(t, err)
	}
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	setReadOnly(t, admin, false)
	require.NoError(t, store.Save(t.Context(), lease, nil, row), "at once")
}

// The file of SQLite is away for a while, or replaced by a backup. The pool has a connection
// that has the old one open, or an empty one that SQLite has made.
func TestSave_AfterTheFileWasAway(t *testing.T) {
	t.Parallel()
	d := sqliteFile(t)
	store, path := d.store(t), strings.TrimPrefix(d.dsn, "file:")
	lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
	require.NoError(t, err)
	row := []inbox.ChatState{{Chat: 1}}
	require.NoError(t, store.Save(t.Context(), lease, nil, row))
	backup, err := os.ReadFile(path)
	require.NoError(t, err)

	require.NoError(t, os.Rename(path, path+".away"))
	require.Error(t, store.Save(t.Context(), lease, nil, row))
	require.NoError(t, os.Rename(path+".away", path))
	require.NoError(t, store.Save(t.Context(), lease, nil, row), "at once")

	require.NoError(t, os.WriteFile(path+".backup", backup, 0o600))
	require.NoError(t, os.Rename(path+".backup", path))
	require.ErrorIs(t, store.Save(t.Context(), lease, nil, row), inbox.ErrConflict, "the row is as it was")
	_, err = store.Renew(t.Context(), lease)
	require.NoError(t, err)
}

// fillPool leaves n new idle connections in a pool.
func fillPool(t *testing.T, pool *sql.DB, n int) {
	t.Helper()
	pool.SetMaxIdleConns(-1)
	pool.SetMaxIdleConns(n)
	conns := make([]*sql.Conn, n)
	for i := range conns {
		var err error
		conns[i], err = pool.Conn(t.Context())
		require.NoError(t, err)
	}
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	require.Equal(t, n, pool.Stats().Idle)
}

// The caller's program has the whole pool: what waits for a connection is not timed out
// by the time of a statement, and the store takes no more than its share afterwards.
func TestStore_SharesThePool(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	pool := d.open(t)
	store, err := sqlstore.New(t.Context(), pool, d.dialect)
	require.NoError(t, err)
	lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
	require.NoError(t, err)
	var all sync.WaitGroup
	for chat := range chats.ChatID(200) {
		all.Go(func() {
			assert.NoError(t, store.Save(t.Context(), lease, nil, []inbox.ChatState{{Chat: chat + 1}}))
		})
	}
	all.Wait()
	assert.LessOrEqual(t, pool.Stats().OpenConnections, 4)
}

// The clock of the database jumps: simulated by leases whose times lie elsewhere.
func TestLease_WhenTheClockJumps(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		store, db := d.store(t), d.open(t)
		acquire := func() (inbox.Lease, error) {
			return store.Acquire(t.Context(), business, inbox.Purpose, "worker")
		}
		lease, err := acquire()
		require.NoError(t, err)
		const hour = `3600000000`
		execSQL(t, db, `UPDATE ymchats_leases SET renewed_at = renewed_at - `+hour+`, expires_at = expires_at - `+hour)
		_, err = store.Renew(t.Context(), lease)
		require.ErrorIs(t, err, inbox.ErrLeaseLost, "forwards: it has expired")
		lease, err = acquire()
		require.NoError(t, err)

		execSQL(t, db, `UPDATE ymchats_leases SET renewed_at = renewed_at + `+hour+`, expires_at = expires_at + `+hour)
		_, err = store.Renew(t.Context(), lease)
		require.NoError(t, err, "backwards: a holder that lives goes on")
		_, err = acquire()
		require.ErrorIs(t, err, inbox.ErrLeaseHeld)
		execSQL(t, db, `UPDATE ymchats_leases SET renewed_at = renewed_at + `+hour+`, expires_at = expires_at + `+hour)
		_, err = acquire()
		require.NoError(t, err, "backwards: no one waits an hour for a holder that is gone")
	})
}

// Two stores of one database, as two processes that have different prefixes.
func TestWithTablePrefix_SeparatesConsumers(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		one, other := d.store(t), d.store(t, sqlstore.WithTablePrefix("crm_"))
		for _, store := range []*sqlstore.Store{one, other} {
			lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
			require.NoError(t, err)
			require.NoError(t, store.Save(t.Context(), lease, nil, []inbox.ChatState{{Chat: 1}}))
		}
		require.NoError(t, other.Forget(t.Context(), business))
		assert.Len(t, values(t, one), 1)
	})
}

// failingFile is a SQLite file on which the first statement with a text fails.
type failingFile struct {
	driver driver.Driver
	dsn    string
	text   string
	err    error
	failed atomic.Bool
}

type sqliteConn interface {
	driver.Conn
	driver.ExecerContext
	driver.QueryerContext
}

type failingConn struct {
	sqliteConn

	file *failingFile
}

func (f *failingFile) Driver() driver.Driver { return f.driver }

func (f *failingFile) Connect(context.Context) (driver.Conn, error) {
	conn, err := f.driver.Open(f.dsn)
	if err != nil {
		return nil, err
	}
	return failingConn{conn.(sqliteConn), f}, nil //nolint:forcetypeassert // the driver's
}

func (c failingConn) QueryContext(ctx context.Context, statement string, args []driver.NamedValue) (driver.Rows, error) {
	if strings.Contains(statement, c.file.text) && !c.file.failed.Swap(true) {
		return nil, c.file.err
	}
	return c.sqliteConn.QueryContext(ctx, statement, args)
}

var errLocked = errors.New("database is locked (5) (SQLITE_BUSY)")

// Whichever statement finds the file locked, the lease that was acquired is not in the way.
func TestAcquireBusiness_OfAFileThatIsLocked(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"INSERT INTO ymchats_leases", "ymchats_inbox_businesses"} {
		d := sqliteFile(t)
		file := &failingFile{driver: d.open(t).Driver(), dsn: d.dsn, text: text, err: errLocked}
		db := sql.OpenDB(file)
		store, err := sqlstore.New(t.Context(), db, d.dialect)
		require.NoError(t, err)
		_, _, err = store.AcquireBusiness(t.Context(), business, inbox.Purpose, "worker")
		require.NoError(t, err, text)
		assert.True(t, file.failed.Load(), text)
		require.NoError(t, db.Close())
	}
}

// A lease without its row is of no use to the holder, so it is released.
func TestAcquireBusiness_WhoseRowCannotBeRead(t *testing.T) {
	t.Parallel()
	d := sqliteFile(t)
	errDisk := errors.New("disk I/O error")
	db := sql.OpenDB(&failingFile{driver: d.open(t).Driver(), dsn: d.dsn, text: "ymchats_inbox_businesses", err: errDisk})
	t.Cleanup(func() { _ = db.Close() })
	store, err := sqlstore.New(t.Context(), db, d.dialect)
	require.NoError(t, err)
	_, _, err = store.AcquireBusiness(t.Context(), business, inbox.Purpose, "worker")
	require.ErrorIs(t, err, errDisk)
	_, err = store.Acquire(t.Context(), business, inbox.Purpose, "standby")
	require.NoError(t, err)
}

// A Save that writes ends before another process has the lease, so the next holder reads
// what it saved. Here a trigger makes it slow.
func TestAcquire_WaitsForASaveThatWrites(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db, store := d.open(t), d.store(t, sqlstore.WithLeaseDuration(time.Second))
	execSQL(t, db, `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3); RETURN NEW; END'`)
	execSQL(t, db, `CREATE TRIGGER slow BEFORE INSERT ON ymchats_inbox_chats FOR EACH ROW EXECUTE FUNCTION slow()`)
	lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
	require.NoError(t, err)
	result := make(chan error)
	go func() { result <- store.Save(t.Context(), lease, nil, []inbox.ChatState{{Chat: 1, Attempts: 5}}) }()
	require.Eventually(t, func() bool { return waiting(t, db) == 1 }, patience, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		_, err := store.Acquire(t.Context(), business, inbox.Purpose, "standby")
		require.Error(t, err)
		return !errors.Is(err, inbox.ErrLeaseHeld)
	}, patience, 100*time.Millisecond, "it expires")
	require.NoError(t, <-result)
	takeOver(t, store)
	assert.Equal(t, map[chats.ChatID]int{1: 5}, values(t, store))
}

// Somebody has a transaction open on a row. The Saves of the other rows, the renewals and
// a takeover do not wait for it.
func TestSave_OfARowThatIsLocked(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db, store := d.open(t), d.store(t)
	lease, err := store.Acquire(t.Context(), business, inbox.Purpose, "worker")
	require.NoError(t, err)
	rows := []inbox.ChatState{{Chat: 1}, {Chat: 2}}
	state := &inbox.BusinessState{}
	require.NoError(t, store.Save(t.Context(), lease, state, rows))
	lock, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer lock.Rollback() //nolint:errcheck // if the test ends early
	_, err = lock.ExecContext(t.Context(), `SELECT 1 FROM ymchats_inbox_chats WHERE chat = 1 FOR UPDATE`)
	require.NoError(t, err)
	_, err = lock.ExecContext(t.Context(), `SELECT 1 FROM ymchats_inbox_businesses FOR UPDATE`)
	require.NoError(t, err)
	result := make(chan error)
	go func() { result <- store.Save(t.Context(), lease, nil, rows[:1]) }()
	go func() { result <- store.Save(t.Context(), lease, state, nil) }()
	require.Eventually(t, func() bool { return waiting(t, db) == 2 }, patience, 10*time.Millisecond)
	_, err = store.Renew(t.Context(), lease)
	require.NoError(t, err)
	require.NoError(t, store.Save(t.Context(), lease, nil, rows[1:]))

	require.NoError(t, store.Release(t.Context(), lease))
	takeOver(t, store)
	require.NoError(t, lock.Rollback())
	require.ErrorIs(t, <-result, inbox.ErrLeaseLost, "the next holder has read the row")
	require.ErrorIs(t, <-result, inbox.ErrLeaseLost)
}

// A push comes to a machine whose clock is an hour ahead.
func TestWake_ByAClockThatIsAhead(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		store := d.store(t)
		for _, chat := range []chats.ChatID{1, 2, 2} { // the second one has a row
			require.NoError(t, store.Wake(t.Context(), business, chat, time.Now().Add(time.Hour)))
		}
		rows, err := store.Due(t.Context(), business, time.Now().Add(time.Minute), 10)
		require.NoError(t, err)
		assert.Len(t, rows, 2)
	})
}
