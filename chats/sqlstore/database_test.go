package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// runStatement runs one statement by run.
func runStatement(ctx context.Context, d *database, limit time.Duration) error {
	_, err := run(ctx, d, limit, func(ctx context.Context, conn *sql.Conn) (sql.Result, error) {
		return conn.ExecContext(ctx, "statement")
	})
	return err
}

// runLease runs one statement by runNext.
func runLease(ctx context.Context, d *database, limit time.Duration) error {
	_, err := runNext(ctx, d, limit, func(ctx context.Context, conn *sql.Conn) (sql.Result, error) {
		return conn.ExecContext(ctx, "lease")
	})
	return err
}

// busy is a statement that takes some time, if the driver's context lasts.
func busy(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fill leaves n idle connections in a pool.
func fill(t *testing.T, pool *sql.DB, n int) {
	t.Helper()
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
}

func TestRun_BoundsConcurrency(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		dialect Dialect
		maxOpen int
		want    int
	}{
		{"PostgreSQL", PostgreSQL, 0, 4},
		{"PostgreSQL, large pool", PostgreSQL, 100, 4},
		{"PostgreSQL, small pool", PostgreSQL, 3, 3},
		{"PostgreSQL, one connection", PostgreSQL, 1, 1},
		{"SQLite", SQLite, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := &fakeServer{exec: func(ctx context.Context, _ int, _ string) error { return busy(ctx, time.Second) }}
				pool := server.open(t)
				pool.SetMaxOpenConns(c.maxOpen)
				d := newDatabase(pool, c.dialect)
				began := time.Now()
				var all sync.WaitGroup
				for range 12 * max(1, c.want-1) {
					all.Go(func() { assert.NoError(t, runStatement(t.Context(), d, 2*time.Second)) })
				}
				if c.want > 1 { // one connection is kept for leases
					all.Go(func() {
						for range 12 {
							assert.NoError(t, runLease(t.Context(), d, 2*time.Second))
						}
					})
				}
				all.Wait()
				assert.Equal(t, 12*time.Second, time.Since(began), "waiting costs no statement its time")
				assert.LessOrEqual(t, pool.Stats().OpenConnections, c.want)
			})
		})
	}
}

// While the database is slow, a lease is renewed before the saves that wait. It does not stop them.
func TestRun_LeasesDoNotWaitInLine(t *testing.T) {
	t.Parallel()
	for dialect, n := range map[Dialect]int{PostgreSQL: 4, SQLite: 1} {
		t.Run(dialect.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server := &fakeServer{exec: func(ctx context.Context, _ int, _ string) error { return busy(ctx, time.Second) }}
				s := newStore(server.open(t), dialect, config{})
				d := s.db
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
				defer cancel()
				var all sync.WaitGroup
				var saves, renewals atomic.Int64
				for range 20 * n {
					all.Go(func() {
						if runStatement(ctx, d, statementTimeout) == nil {
							saves.Add(1)
						}
					})
				}
				synctest.Wait()
				for ctx.Err() == nil {
					began := time.Now()
					if _, err := s.Renew(ctx, inbox.Lease{Business: 1, Purpose: "inbox", Holder: "a", Duration: 5 * time.Second}); ctx.Err() == nil {
						require.ErrorIs(t, err, inbox.ErrLeaseLost, "the fake has no rows")
						assert.LessOrEqual(t, time.Since(began), 2*time.Second)
						renewals.Add(1)
					}
				}
				all.Wait()
				assert.GreaterOrEqual(t, renewals.Load(), int64(5))
				assert.EqualValues(t, 10*n, saves.Load()+renewals.Load())
			})
		})
	}
}

// The program itself uses the pool's only connection.
func TestRun_LimitBeginsWithTheConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{exec: func(ctx context.Context, _ int, _ string) error { return busy(ctx, time.Second) }}
		pool := server.open(t)
		pool.SetMaxOpenConns(1)
		d := newDatabase(pool, PostgreSQL)
		mine, err := pool.Conn(t.Context())
		require.NoError(t, err)
		time.AfterFunc(9*time.Second, func() { _ = mine.Close() })
		began := time.Now()
		require.NoError(t, runStatement(t.Context(), d, 1500*time.Millisecond))
		assert.Equal(t, 10*time.Second, time.Since(began))

		mine, err = pool.Conn(t.Context())
		require.NoError(t, err)
		began = time.Now()
		err = runStatement(t.Context(), d, time.Second)
		require.EqualError(t, err, "no connection to the database within 10s (1 in use)")
		require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller's context has not ended")
		assert.Equal(t, connectTimeout, time.Since(began))
		require.NoError(t, mine.Close())
	})
}

func TestRun_EndsAtItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{exec: func(ctx context.Context, _ int, _ string) error { return busy(ctx, time.Minute) }}
		d := newDatabase(server.open(t), PostgreSQL)
		began := time.Now()
		err := runStatement(t.Context(), d, time.Second)
		require.EqualError(t, err, "no response from the database within 1s")
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(began))

		require.NoError(t, runStatement(t.Context(), d, 0), "0 is no limit")

		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, runStatement(ctx, d, time.Second), context.DeadlineExceeded, "the caller's")
	})
}

// A driver that knows no contexts, on a connection that is cut off without a word.
func TestRun_LeavesAStatementBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{exec: func(_ context.Context, conn int, _ string) error {
			if conn == 1 {
				time.Sleep(15 * time.Minute)
				return errors.New("timed out")
			}
			return nil
		}}
		pool := server.open(t)
		d := newDatabase(pool, SQLite) // has one slot
		began := time.Now()
		require.EqualError(t, runStatement(t.Context(), d, time.Second), "no response from the database within 1s")
		assert.Equal(t, time.Second+driverGrace, time.Since(began))
		require.NoError(t, runStatement(t.Context(), d, time.Second), "the next one has another connection")

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, runStatement(ctx, d, time.Second), context.Canceled)
		time.Sleep(time.Hour)
		assert.Zero(t, pool.Stats().InUse)
	})
}

func TestConnect_ClosesAConnectionThatComesLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := &fakeServer{connect: func(context.Context, int) error {
			time.Sleep(time.Minute)
			return nil
		}}
		pool := server.open(t)
		began := time.Now()
		require.ErrorContains(t, runStatement(t.Context(), newDatabase(pool, PostgreSQL), time.Second), "no connection to the database within 10s")
		assert.Equal(t, connectTimeout+driverGrace, time.Since(began))
		time.Sleep(time.Hour)
		assert.Zero(t, pool.Stats().InUse)
	})
}

// The pool has connections that were closed by the server, or are read-only since a
// failover. One call replaces them all.
func TestRun_ReplacesStaleConnections(t *testing.T) {
	t.Parallel()
	for _, stale := range []error{
		driver.ErrBadConn, sqlError("25006"), sqlError("57P01"), sqlError("57P05"),
		errors.New("attempt to write a readonly database (1032)"), errors.New("SQL logic error: no such table: t (1)"),
	} {
		t.Run(stale.Error(), func(t *testing.T) {
			t.Parallel()
			server := &fakeServer{exec: func(_ context.Context, conn int, _ string) error {
				if conn <= 5 {
					return stale
				}
				return nil
			}}
			pool := server.open(t)
			fill(t, pool, 5)
			require.NoError(t, runStatement(t.Context(), newDatabase(pool, PostgreSQL), time.Second))
			opened, closed := server.counts()
			assert.Equal(t, 6, opened)
			assert.Equal(t, 5, closed)
		})
	}
}

func TestRun_GivesUpOnADatabaseThatIsReadOnly(t *testing.T) {
	t.Parallel()
	server := &fakeServer{exec: func(context.Context, int, string) error { return sqlError("25006") }}
	pool := server.open(t)
	fill(t, pool, 5)
	require.ErrorIs(t, runStatement(t.Context(), newDatabase(pool, PostgreSQL), time.Second), sqlError("25006"))
	opened, closed := server.counts()
	assert.Equal(t, 6, opened, "a new one was tried, once")
	assert.Equal(t, 6, closed)
}

func TestRun_TriesAgainAfterALockConflict(t *testing.T) {
	t.Parallel()
	for _, conflict := range []error{
		sqlError("40001"), sqlError("40P01"), sqlError("55P03"), errors.New("database is locked (5)"), errors.New("SQLITE_BUSY"),
	} {
		t.Run(conflict.Error(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began, calls := time.Now(), 0
				server := &fakeServer{exec: func(context.Context, int, string) error {
					calls++
					if time.Since(began) < 5*time.Second {
						return conflict
					}
					return nil
				}}
				d := newDatabase(server.open(t), SQLite)
				require.NoError(t, runStatement(t.Context(), d, time.Second))
				assert.Less(t, time.Since(began), 5*time.Second+2*maxLockBackoff)
				assert.Less(t, calls, 420, "not without a pause")

				began = time.Now().Add(time.Hour)
				start := time.Now()
				err := runStatement(t.Context(), d, time.Second)
				require.ErrorIs(t, err, conflict)
				require.ErrorContains(t, err, "locked by other connections for 10s")
				assert.InDelta(t, lockWaitTimeout.Seconds(), time.Since(start).Seconds(), 0.2)

				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err = runStatement(ctx, d, time.Second)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorIs(t, err, conflict)
			})
		})
	}
}

func TestRun_ReturnsOtherErrorsAtOnce(t *testing.T) {
	t.Parallel()
	for _, other := range []error{sqlError("42P01"), errors.New("syntax error")} {
		calls := 0
		server := &fakeServer{exec: func(context.Context, int, string) error {
			calls++
			return other
		}}
		require.ErrorIs(t, runStatement(t.Context(), newDatabase(server.open(t), PostgreSQL), time.Second), other)
		assert.Equal(t, 1, calls)
	}
}

// No connection goes back to the pool within a transaction.
func TestInTx_RollsBack(t *testing.T) {
	t.Parallel()
	broken, errNoTransaction := errors.New("broken"), errors.New("SQL logic error: cannot rollback - no transaction is active (1)")
	for _, c := range []struct {
		name   string
		fails  map[string]error
		want   []string
		closed int
	}{
		{"success", nil, []string{"BEGIN IMMEDIATE", "work", "COMMIT"}, 0},
		{"begin", map[string]error{"BEGIN IMMEDIATE": broken}, []string{"BEGIN IMMEDIATE", "ROLLBACK"}, 0},
		{"work", map[string]error{"work": broken}, []string{"BEGIN IMMEDIATE", "work", "ROLLBACK"}, 0},
		{"commit", map[string]error{"COMMIT": broken}, []string{"BEGIN IMMEDIATE", "work", "COMMIT", "ROLLBACK"}, 0},
		{"rollback", map[string]error{"work": broken, "ROLLBACK": broken}, []string{"BEGIN IMMEDIATE", "work", "ROLLBACK"}, 1},
		{"none left", map[string]error{"work": broken, "ROLLBACK": errNoTransaction}, []string{"BEGIN IMMEDIATE", "work", "ROLLBACK"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var statements []string
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			server := &fakeServer{exec: func(ctx context.Context, _ int, statement string) error {
				statements = append(statements, statement)
				if err := ctx.Err(); err != nil {
					return err
				}
				if statement == "work" {
					cancel() // a rollback happens although the context is done
				}
				return c.fails[statement]
			}}
			if c.fails["work"] == nil {
				cancel = func() {}
			}
			d := newDatabase(server.open(t), SQLite)
			_, err := run(ctx, d, 0, func(ctx context.Context, conn *sql.Conn) (int, error) {
				return 0, d.inTx(ctx, conn, func() error {
					_, err := conn.ExecContext(ctx, "work")
					return err
				})
			})
			if c.fails == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, broken)
			}
			assert.Equal(t, c.want, statements)
			_, closed := server.counts()
			assert.Equal(t, c.closed, closed)
		})
	}
}

// The items were there when they were to be inserted, and the retention has deleted them since.
func TestCompareDigests_ItemsThatWereDeletedMeanwhile(t *testing.T) {
	t.Parallel()
	server := &fakeServer{exec: func(context.Context, int, string) error { return nil }}
	store := newStore(server.open(t), PostgreSQL, config{})
	batch, err := newPutBatch(7, []outbox.Item{{Key: "key", Chat: 1, Text: "text"}})
	require.NoError(t, err)
	conn, err := store.db.pool.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close() //nolint:errcheck // a test
	assert.ErrorIs(t, store.compareDigests(t.Context(), conn, batch), errDeleted)
}
