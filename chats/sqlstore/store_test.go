package sqlstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

var errLocked = errors.New("database is locked")

// failing answers the statements that contain text with err, as often as n says.
func failing(n int, text string, err error) func(context.Context, *fakeConn, string) error {
	return func(_ context.Context, _ *fakeConn, statement string) error {
		if n > 0 && strings.Contains(statement, text) {
			n--
			return err
		}
		return nil
	}
}

func TestLockedDatabaseIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		store := s.store(t)
		for _, err := range []error{errLocked, errors.New("sqlite3: SQLITE_BUSY"), reported("40001"), reported("40P01")} {
			s.set(func() { s.before = failing(20, "", err) })
			_, err := store.Marks(t.Context(), 7)
			require.NoError(t, err)
			s.set(func() { s.before = failing(20, "", errLocked) })
			require.NoError(t, store.Commit(t.Context(), 7, 1, inbox.Mark{}, inbox.Mark{Message: 1}))
		}
		s.set(func() { s.before = failing(20, "BEGIN", errLocked) })
		_, err := New(t.Context(), store.db, PostgreSQL)
		require.NoError(t, err)
	})
}

func TestOnSQLiteOneGoroutineWritesAtATime(t *testing.T) {
	t.Parallel()
	for dialect, want := range map[Dialect]int{SQLite: 1, PostgreSQL: 5} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer()
			store := s.storeAs(t, dialect)
			writing, most := 0, 0
			s.set(func() {
				s.before = func(context.Context, *fakeConn, string) error {
					s.set(func() { writing++; most = max(most, writing) })
					<-time.After(time.Second)
					s.set(func() { writing-- })
					return nil
				}
			})
			var commits sync.WaitGroup
			for chat := range chats.ChatID(5) {
				commits.Go(func() {
					assert.NoError(t, store.Commit(t.Context(), 7, chat+1, inbox.Mark{}, inbox.Mark{Message: 1}))
				})
			}
			commits.Wait()
			assert.Equal(t, want, most, "%v", dialect)
		})
	}
}

func TestLockedDatabaseIsNotWaitedForWithoutEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		store := s.store(t)
		s.set(func() { s.before = failing(1e9, "", errLocked) })
		began := time.Now()
		err := store.Commit(t.Context(), 7, 1, inbox.Mark{}, inbox.Mark{Message: 1})
		require.ErrorIs(t, err, errLocked)
		require.ErrorContains(t, err, "sqlstore: committing chat 1 of business 7")
		assert.InDelta(t, patience.Seconds(), time.Since(began).Seconds(), 1)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = store.Marks(ctx, 7)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestOtherFailuresAreTheCallers(t *testing.T) {
	t.Parallel()
	s := newServer()
	store := s.store(t)
	broken := errors.New("broken pipe")
	s.set(func() { s.before = failing(2, "", broken) })
	require.ErrorIs(t, store.Commit(t.Context(), 7, 1, inbox.Mark{}, inbox.Mark{Message: 1}), broken)
	_, err := store.Marks(t.Context(), 7)
	require.ErrorIs(t, err, broken)
	_, err = store.Marks(t.Context(), 7)
	require.NoError(t, err, "each was tried once")
	require.ErrorContains(t, store.Commit(t.Context(), 0, 0, inbox.Mark{}, inbox.Mark{Message: 2}), "ids begin at 1",
		"the row of business 0 is the version's")
	_, err = store.Marks(t.Context(), -1)
	require.ErrorContains(t, err, "ids begin at 1")
}

// Whatever fails while the table is made, the connection goes back to the pool
// without a transaction, or does not go back.
func TestNewThatFailsLeavesNoTransaction(t *testing.T) {
	t.Parallel()
	s := newServer()
	store := s.store(t)
	broken := errors.New("disk full")
	for _, statement := range []string{"BEGIN", "pg_advisory_xact_lock", "to_regclass", "SELECT message", "COMMIT"} {
		rolledBack := false
		fail := failing(1, statement, broken)
		s.set(func() {
			s.before = func(ctx context.Context, c *fakeConn, statement string) error {
				rolledBack = rolledBack || statement == "ROLLBACK"
				return fail(ctx, c, statement)
			}
		})
		_, err := New(t.Context(), store.db, PostgreSQL)
		require.ErrorIs(t, err, broken, statement)
		require.ErrorContains(t, err, "sqlstore: preparing the table ymchats_inbox_marks on PostgreSQL", statement)
		assert.True(t, rolledBack, statement)
	}

	idle := store.db.Stats().OpenConnections
	s.set(func() {
		s.before = func(_ context.Context, _ *fakeConn, statement string) error {
			if statement == "COMMIT" || statement == "ROLLBACK" {
				return broken
			}
			return nil
		}
	})
	_, err := New(t.Context(), store.db, PostgreSQL)
	require.ErrorIs(t, err, broken)
	assert.Equal(t, idle-1, store.db.Stats().OpenConnections, "not rolled back for certain: discarded")
}

func TestNewRefusesWhatItCannotUse(t *testing.T) {
	t.Parallel()
	_, err := New(t.Context(), nil, SQLite)
	require.ErrorContains(t, err, "sql.Open")
	_, err = New(t.Context(), newServer().store(t).db, 0)
	require.ErrorContains(t, err, "Dialect(0)")
}

func TestDialectBind(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "a = ? AND b = ?", SQLite.bind("a = ? AND b = ?"))
	assert.Equal(t, "a = $1 AND b = $2", PostgreSQL.bind("a = ? AND b = ?"))
	assert.Equal(t, "SQLite, PostgreSQL", SQLite.String()+", "+PostgreSQL.String())
}
