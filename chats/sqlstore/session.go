package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// session is a connection that holds advisory locks. It never goes back to the
// pool: it has settings of its own, and with its end the locks are certainly gone.
type session struct {
	conn *sql.Conn
	pid  int64
}

func openSession(ctx context.Context, db *sql.DB) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn}
	if err := s.prepare(ctx); err != nil {
		s.discard()
		return nil, err
	}
	return s, nil
}

// prepare has the database end the session of a process that is frozen or cannot
// reach it, which would else keep its locks as long as TCP keeps the connection.
// The setting exists since PostgreSQL 14.
func (s *session) prepare(ctx context.Context) error {
	if err := s.conn.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&s.pid); err != nil {
		return err
	}
	_, err := s.conn.ExecContext(ctx, fmt.Sprintf(`SELECT set_config(name,
		CASE name WHEN 'idle_session_timeout' THEN '%d' ELSE 'ymchats inbox lease' END, false)
		FROM pg_settings WHERE name IN ('idle_session_timeout', 'application_name')`, sessionTime.Milliseconds()))
	return err
}

// beat asks whether this is the session that took the locks, which a pooler
// between may have exchanged, and whether the server takes writes: the locks of a
// stand-by server are not those of its primary. It gives the server's time.
func (s *session) beat(ctx context.Context) (now int64, err error) {
	var pid int64
	var standby bool
	err = s.conn.QueryRowContext(ctx, `SELECT pg_backend_pid(), pg_is_in_recovery(), `+PostgreSQL.now()).Scan(&pid, &standby, &now)
	switch {
	case err != nil:
		return 0, err
	case pid != s.pid:
		return 0, errors.New("the connection changed its session: a pooler between must pool whole sessions, or connect directly")
	case standby:
		return 0, errors.New("the server is a read-only replica; connect to the primary")
	default:
		return now, nil
	}
}

// tryLock gives those of the keys that were free. Each is tried once.
func (s *session) tryLock(ctx context.Context, keys []int64) (locked []int64, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	rows, err := s.conn.QueryContext(ctx,
		`SELECT key FROM unnest($1::text::bigint[]) AS key WHERE pg_try_advisory_lock(key)`, array(keys))
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err tells what matters
	for rows.Next() {
		var key int64
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		locked = append(locked, key)
	}
	return locked, rows.Err()
}

func (s *session) unlock(ctx context.Context, keys []int64) error {
	if len(keys) == 0 {
		return nil
	}
	var unlocked int
	err := s.conn.QueryRowContext(ctx,
		`SELECT count(*) FROM unnest($1::text::bigint[]) AS key WHERE pg_advisory_unlock(key)`, array(keys)).Scan(&unlocked)
	if err == nil && unlocked != len(keys) {
		err = fmt.Errorf("%d of %d locks had been held", unlocked, len(keys))
	}
	return err
}

// array is a parameter that every driver can send.
func array(keys []int64) string {
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = strconv.FormatInt(key, 10)
	}
	return "{" + strings.Join(texts, ",") + "}"
}

func (s *session) discard() {
	if s != nil {
		discard(s.conn)
	}
}

// discard closes a connection instead of giving it back to the pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}
