package integration

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// worker is a process that has the lease and works.
func worker(t *testing.T, d database) *child {
	t.Helper()
	c := start(t, "lease", d)
	require.Equal(t, "held", c.line(t))
	c.says(t, 5)
	return c
}

// takeOver waits for the lease of a business that another process had, and says how
// long that took.
func takeOver(t *testing.T, store *sqlstore.Store) (held context.Context, took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	began := time.Now()
	held, release, err := store.Lease(ctx, business)
	require.NoError(t, err)
	t.Cleanup(release)
	return held, time.Since(began)
}

func TestStandbyWaitsAndFollowsAKill(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	standby := d.store(t)
	c := worker(t, d)
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	_, _, err := standby.Lease(ctx, business)
	require.ErrorIs(t, err, context.DeadlineExceeded, "the worker is well")

	c.kill()
	_, took := takeOver(t, standby)
	assert.Less(t, took, 5*time.Second)
	last := c.lines()[len(c.lines())-1]
	marks, err := standby.Marks(t.Context(), business)
	require.NoError(t, err)
	assert.Contains(t, []string{fmt.Sprint("committed ", marks[0].Message), fmt.Sprint("committed ", marks[0].Message-1)}, last)
}

// A frozen process keeps its connections. It is followed nevertheless, and commits
// nothing any more: not by the statement that is at the database already, which here
// waits for a lock of the table, and not when it wakes up.
func TestStandbyFollowsAFrozenProcess(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db, standby := d.open(t), d.store(t)
	c := worker(t, d)
	lock, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer lock.Rollback() //nolint:errcheck // if the test ends early
	_, err = lock.ExecContext(t.Context(), `LOCK TABLE ymchats_inbox_marks IN SHARE ROW EXCLUSIVE MODE`)
	require.NoError(t, err)
	commits := func() (n int) {
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND state = 'active' AND query LIKE 'UPDATE%'`).Scan(&n))
		return n
	}
	require.Eventually(t, func() bool { return commits() == 1 }, 10*time.Second, 10*time.Millisecond)
	c.signal(t, syscall.SIGSTOP)
	held, took := takeOver(t, standby)
	require.Equal(t, 1, commits(), "still on its way")
	assert.Greater(t, took, 3*time.Second, "not before the frozen one counts as lost")
	assert.Less(t, took, 15*time.Second)

	marks, err := standby.Marks(held, business)
	require.NoError(t, err)
	frozenAt := marks[0].Message
	require.NoError(t, lock.Rollback())
	require.Eventually(t, func() bool { return commits() == 0 }, 10*time.Second, 10*time.Millisecond)
	c.signal(t, syscall.SIGCONT)
	<-c.ended
	var committed chats.MessageID
	for _, line := range c.lines() {
		_, _ = fmt.Sscanf(line, "committed %d", &committed)
	}
	assert.LessOrEqual(t, committed, frozenAt, "it went on although it had lost its lease")
	last := c.lines()[len(c.lines())-1]
	assert.True(t, strings.HasPrefix(last, "lost: "+sqlstore.ErrLeaseLost.Error()), last)
	marks, err = standby.Marks(held, business)
	require.NoError(t, err)
	assert.Equal(t, frozenAt, marks[0].Message)
	require.NoError(t, held.Err(), "the waking one disturbs nobody")
}

func TestLeaseEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db, store := d.open(t), d.store(t)
	held, _ := takeOver(t, store)
	terminateLeases(t, db)
	select {
	case <-held.Done():
	case <-time.After(6 * time.Second):
		require.Fail(t, "held goes on without a connection")
	}
	require.ErrorIs(t, context.Cause(held), sqlstore.ErrLeaseLost)

	held, _ = takeOver(t, store)
	require.NoError(t, held.Err(), "on a new connection")
	assert.Equal(t, 1, terminateLeases(t, db), "which is the only one")
}

// terminateLeases does what an administrator, a failover or a restart does.
func terminateLeases(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(CASE
		WHEN application_name = 'ymchats inbox lease' AND datname = current_database() THEN pg_terminate_backend(pid)
		END) FROM pg_stat_activity`).Scan(&n))
	return n
}

// release leaves neither lock nor session, and the pool as it was.
func TestReleaseLeavesNothing(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db, other := d.open(t), d.store(t)
	store, err := sqlstore.New(t.Context(), db, d.dialect)
	require.NoError(t, err)
	for range 3 {
		for _, s := range []*sqlstore.Store{store, other} {
			held, release, err := s.Lease(t.Context(), business)
			require.NoError(t, err)
			require.Equal(t, 1, locks(t, db))
			release()
			require.Equal(t, 0, locks(t, db), "gone when release returns")
			release()
			require.ErrorIs(t, held.Err(), context.Canceled)
		}
	}
	require.Eventually(t, func() bool { return db.Stats().InUse == 0 }, 5*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return terminateLeases(t, db) == 0 }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, store.Commit(t.Context(), business, 1, inbox.Mark{}, inbox.Mark{Message: 1}))
}

func locks(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
		WHERE locktype = 'advisory' AND d.datname = current_database()`).Scan(&n))
	return n
}

// Two schemas of one database hold a table each, and a lease each.
func TestLeasesOfTwoSchemas(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db := d.open(t)
	run(t, db, `CREATE SCHEMA staging`)
	takeOver(t, d.store(t))
	staging := d.with("search_path", "staging").store(t)
	takeOver(t, staging)
	require.NoError(t, staging.Commit(t.Context(), business, 1, inbox.Mark{}, inbox.Mark{Message: 1}))
	run(t, db, `UPDATE staging.ymchats_inbox_marks SET message = 2 WHERE business = 7`)
	assert.Equal(t, 2, locks(t, db))
}
