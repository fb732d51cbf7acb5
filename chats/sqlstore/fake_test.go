package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// server is as much of PostgreSQL, and a bit of SQLite, as the store speaks to: sessions and advisory
// locks, without a network, so that its troubles can be made at will and in the
// time of testing/synctest. It has the table, in its current version.
type server struct {
	mu       sync.Mutex
	sessions map[int64]*fakeConn
	opened   int64
	locks    map[int64]int64 // by key, the session
	refuses  error           // every new connection
	replica  bool
	unmoved  bool // statements find no row to change
	// before runs before every statement; its error is the answer.
	before func(ctx context.Context, c *fakeConn, statement string) error
	// after runs when a statement has had its effect.
	after func(statement string)
}

// reported is an error as the drivers of PostgreSQL give it.
type reported string

func (r reported) Error() string    { return "ERROR: (SQLSTATE " + string(r) + ")" }
func (r reported) SQLState() string { return string(r) }

func newServer() *server {
	return &server{sessions: make(map[int64]*fakeConn), locks: make(map[int64]int64)}
}

// store is another process with the same database.
func (s *server) store(t *testing.T) *Store {
	t.Helper()
	return s.storeAs(t, PostgreSQL)
}

func (s *server) storeAs(t *testing.T, dialect Dialect) *Store {
	t.Helper()
	db := sql.OpenDB(s)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	store, err := New(t.Context(), db, dialect)
	require.NoError(t, err)
	return store
}

func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// kill ends every session, as an administrator would.
func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sessions {
		s.end(c)
	}
}

func (s *server) end(c *fakeConn) {
	delete(s.sessions, c.pid)
	for key, pid := range s.locks {
		if pid == c.pid {
			delete(s.locks, key)
		}
	}
}

func (s *server) locked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.locks)
}

func (s *server) holds(c *fakeConn, key int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.locks[key] == c.pid
}

func (s *server) Driver() driver.Driver { return nil }

func (s *server) Connect(context.Context) (driver.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses != nil {
		return nil, s.refuses
	}
	s.opened++
	c := &fakeConn{server: s, pid: s.opened}
	s.sessions[c.pid] = c
	return c, nil
}

type fakeConn struct {
	server *server
	pid    int64
}

func (c *fakeConn) Prepare(string) (driver.Stmt, error) { panic("unused") }
func (c *fakeConn) Begin() (driver.Tx, error)           { panic("unused") }

func (c *fakeConn) Close() error {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.server.end(c)
	return nil
}

func (c *fakeConn) ExecContext(ctx context.Context, statement string, args []driver.NamedValue) (driver.Result, error) {
	_, err := c.QueryContext(ctx, statement, args)
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if c.server.unmoved {
		return driver.RowsAffected(0), err
	}
	return driver.RowsAffected(1), err
}

func (c *fakeConn) QueryContext(ctx context.Context, statement string, args []driver.NamedValue) (driver.Rows, error) {
	s := c.server
	s.mu.Lock()
	before, after := s.before, s.after
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx, c, statement); err != nil {
			return nil, err
		}
	}
	rows, err := c.answer(statement, args)
	if after != nil {
		after(statement)
	}
	return &rows, err
}

func (c *fakeConn) answer(statement string, args []driver.NamedValue) (fakeRows, error) {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[c.pid] == nil {
		return nil, driver.ErrBadConn
	}
	switch {
	case strings.Contains(statement, "to_regclass('ymchats_inbox_marks') IS NOT NULL"), strings.Contains(statement, "sqlite_master"):
		return fakeRows{{true}}, nil
	case strings.Contains(statement, "SELECT message"):
		return fakeRows{{int64(len(migrations))}}, nil
	case strings.Contains(statement, "nspname"):
		return fakeRows{{"public"}}, nil
	case strings.Contains(statement, "pg_is_in_recovery"):
		return fakeRows{{c.pid, s.replica, time.Now().UnixMicro()}}, nil
	case strings.Contains(statement, "pg_backend_pid"):
		return fakeRows{{c.pid}}, nil
	case strings.Contains(statement, "pg_try_advisory_lock"):
		return c.tryLock(args[0].Value.(string)), nil
	case strings.Contains(statement, "pg_advisory_unlock"):
		return c.unlock(args[0].Value.(string)), nil
	}
	return nil, nil
}

func (c *fakeConn) tryLock(keys string) (locked fakeRows) {
	for _, key := range parse(keys) {
		if holder, taken := c.server.locks[key]; !taken || holder == c.pid {
			c.server.locks[key] = c.pid
			locked = append(locked, []driver.Value{key})
		}
	}
	return locked
}

func (c *fakeConn) unlock(keys string) fakeRows {
	var n int64
	for _, key := range parse(keys) {
		if c.server.locks[key] == c.pid {
			delete(c.server.locks, key)
			n++
		}
	}
	return fakeRows{{n}}
}

func parse(array string) (keys []int64) {
	for text := range strings.SplitSeq(strings.Trim(array, "{}"), ",") {
		key, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	return keys
}

type fakeRows [][]driver.Value

func (r *fakeRows) Close() error { return nil }

func (r *fakeRows) Columns() []string {
	if len(*r) == 0 {
		return nil
	}
	return make([]string, len((*r)[0]))
}

func (r *fakeRows) Next(row []driver.Value) error {
	if len(*r) == 0 {
		return io.EOF
	}
	copy(row, (*r)[0])
	*r = (*r)[1:]
	return nil
}
