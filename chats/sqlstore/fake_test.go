package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeServer is a database without tables whose behaviour a test decides.
type fakeServer struct {
	// connect and exec are called for every connection and statement. conn is its
	// number, beginning at 1.
	connect func(ctx context.Context, conn int) error
	exec    func(ctx context.Context, conn int, statement string) error

	mu     sync.Mutex
	opened int
	closed int
}

// sqlError is an error as the drivers of PostgreSQL report it.
type sqlError string

func (e sqlError) Error() string    { return "ERROR: (SQLSTATE " + string(e) + ")" }
func (e sqlError) SQLState() string { return string(e) }

func (s *fakeServer) open(t *testing.T) *sql.DB {
	t.Helper()
	db := sql.OpenDB(s)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func (s *fakeServer) counts() (opened, closed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened, s.closed
}

func (s *fakeServer) Driver() driver.Driver { return nil }

func (s *fakeServer) Connect(ctx context.Context) (driver.Conn, error) {
	s.mu.Lock()
	s.opened++
	conn := &fakeConn{server: s, number: s.opened}
	s.mu.Unlock()
	if s.connect != nil {
		if err := s.connect(ctx, conn.number); err != nil {
			return nil, err
		}
	}
	return conn, nil
}

type fakeConn struct {
	server *fakeServer
	number int
}

func (c *fakeConn) Prepare(string) (driver.Stmt, error) { return nil, errors.New("unused") }
func (c *fakeConn) Begin() (driver.Tx, error)           { return nil, errors.New("unused") }

func (c *fakeConn) Close() error {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.server.closed++
	return nil
}

func (c *fakeConn) ExecContext(ctx context.Context, statement string, _ []driver.NamedValue) (driver.Result, error) {
	return driver.ResultNoRows, c.server.exec(ctx, c.number, statement)
}

// QueryContext returns no rows.
func (c *fakeConn) QueryContext(ctx context.Context, statement string, _ []driver.NamedValue) (driver.Rows, error) {
	return noRows{}, c.server.exec(ctx, c.number, statement)
}

type noRows struct{}

func (noRows) Columns() []string         { return []string{"a", "b"} }
func (noRows) Close() error              { return nil }
func (noRows) Next([]driver.Value) error { return io.EOF }
