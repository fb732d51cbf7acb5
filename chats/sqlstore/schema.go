package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// migrations[n] brings the table from version n to version n+1, on both
// databases. The row of business 0 and chat 0 carries the version in message; it
// and its columns stay what they are, so that every release can read them.
var migrations = []string{
	`CREATE TABLE ymchats_inbox_marks (
		business   BIGINT NOT NULL,
		chat       BIGINT NOT NULL,
		message    BIGINT NOT NULL,
		updated_at BIGINT NOT NULL,
		PRIMARY KEY (business, chat)
	)`,
}

// migrationLock is the advisory lock under which PostgreSQL's table is made and
// migrated: CREATE TABLE IF NOT EXISTS alone fails when two do it at one moment.
const migrationLock int64 = 0x796d63686174 // "ymchat"

// schema is how the dialects differ where the table is made.
var schema = map[Dialect]struct{ begin, lock, exists string }{
	// The plain BEGIN of SQLite takes no lock until the first write, and the whole
	// would have to be done again where another process has written meanwhile.
	SQLite: {
		begin:  `BEGIN IMMEDIATE`,
		exists: `SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'ymchats_inbox_marks')`,
	},
	// Read committed, whatever the database's default is, so that what another
	// process made while this one waited for the lock is seen.
	PostgreSQL: {
		begin:  `BEGIN ISOLATION LEVEL READ COMMITTED`,
		lock:   fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d)`, migrationLock),
		exists: `SELECT to_regclass('ymchats_inbox_marks') IS NOT NULL`,
	},
}

// migrate makes the table, or brings it up to date, in one transaction.
func (s *Store) migrate(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it goes back to the pool, or was discarded
	_, err = conn.ExecContext(ctx, schema[s.dialect].begin)
	if err != nil && contended(err) {
		return err
	}
	if err == nil {
		err = s.migrateWithin(ctx, conn)
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, `COMMIT`)
	}
	if err != nil {
		rollback(ctx, conn)
	}
	return err
}

// rollback leaves no transaction behind on a connection that others will use,
// also where the context has ended.
func rollback(ctx context.Context, conn *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTime)
	defer cancel()
	if _, err := conn.ExecContext(ctx, `ROLLBACK`); err != nil {
		discard(conn)
	}
}

func (s *Store) migrateWithin(ctx context.Context, conn *sql.Conn) error {
	if lock := schema[s.dialect].lock; lock != "" {
		if _, err := conn.ExecContext(ctx, lock); err != nil {
			return err
		}
	}
	version, err := s.version(ctx, conn)
	if err != nil {
		return err
	}
	if version > len(migrations) {
		return fmt.Errorf("its schema is of version %d, and this release knows versions up to %d: upgrade the library", version, len(migrations))
	}
	if version == len(migrations) {
		return nil
	}
	for _, step := range migrations[version:] {
		if _, err := conn.ExecContext(ctx, step); err != nil {
			return err
		}
	}
	_, err = conn.ExecContext(ctx, s.dialect.bind(
		`INSERT INTO ymchats_inbox_marks (business, chat, message, updated_at) VALUES (0, 0, ?, ?)
		ON CONFLICT (business, chat) DO UPDATE SET message = excluded.message, updated_at = excluded.updated_at`,
	), len(migrations), micros(time.Now()))
	return err
}

// version is 0 where there is no table yet.
func (s *Store) version(ctx context.Context, conn *sql.Conn) (int, error) {
	var exists bool
	if err := conn.QueryRowContext(ctx, schema[s.dialect].exists).Scan(&exists); err != nil || !exists {
		return 0, err
	}
	var version int
	err := conn.QueryRowContext(ctx, `SELECT message FROM ymchats_inbox_marks WHERE business = 0 AND chat = 0`).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, errors.New("it has no row with its version, so this library did not make it: rename it or use another database")
	}
	return version, err
}
