package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// migrations[n] migrates the tables from version n to version n+1, on both databases. {p} is the
// prefix. Released migrations are never edited.
var migrations = [][]string{{
	`CREATE TABLE {p}schema (version BIGINT NOT NULL PRIMARY KEY)`,
	`INSERT INTO {p}schema (version) VALUES (0)`,
	`CREATE TABLE {p}leases (
		business    BIGINT NOT NULL,
		purpose     TEXT   NOT NULL,
		holder      TEXT   NOT NULL,
		token       BIGINT NOT NULL,
		acquired_at BIGINT NOT NULL,
		renewed_at  BIGINT NOT NULL,
		expires_at  BIGINT NOT NULL,
		PRIMARY KEY (business, purpose)
	)`,
	`CREATE TABLE {p}inbox_businesses (
		business      BIGINT NOT NULL PRIMARY KEY,
		version       BIGINT NOT NULL,
		start_time    BIGINT,
		last_error    TEXT   NOT NULL,
		last_error_at BIGINT,
		state         TEXT   NOT NULL
	)`,
	`CREATE TABLE {p}inbox_chats (
		business      BIGINT  NOT NULL,
		chat          BIGINT  NOT NULL,
		version       BIGINT  NOT NULL,
		wakes         BIGINT  NOT NULL,
		seen_wakes    BIGINT  NOT NULL,
		open          BOOLEAN NOT NULL,
		checkpoint    BIGINT  NOT NULL,
		updated_at    BIGINT,
		due_at        BIGINT,
		head          BIGINT  NOT NULL,
		attempts      BIGINT  NOT NULL,
		failing_since BIGINT,
		failure       TEXT    NOT NULL,
		state         TEXT    NOT NULL,
		PRIMARY KEY (business, chat)
	)`,
	`CREATE INDEX {p}inbox_chats_due ON {p}inbox_chats (business, due_at, chat) WHERE due_at IS NOT NULL`,
	`CREATE INDEX {p}inbox_chats_woken ON {p}inbox_chats (business, due_at, chat) WHERE due_at IS NOT NULL AND wakes <> seen_wakes`,
	`CREATE INDEX {p}inbox_chats_failing ON {p}inbox_chats (business, failing_since) WHERE failing_since IS NOT NULL`,
	`CREATE INDEX {p}inbox_chats_open ON {p}inbox_chats (business, chat) WHERE open`,
}, outboxTables}

// oldTable is the table of releases that had no table prefix. Its row for business 0 holds the
// version of its schema, which those releases check when they start.
const oldTable = "ymchats_inbox_marks"

// oldImport copies the old table, in which the time -62135596800000000 is the zero time and
// message 1 stands for a chat whose first message was new. It changes only the version of the
// old table, so that the old releases refuse to start.
var oldImport = []string{
	`INSERT INTO {p}inbox_businesses (business, version, start_time, last_error, state)
		SELECT business, 1, NULLIF(updated_at, -62135596800000000), '', '{}'
		FROM ymchats_inbox_marks WHERE business > 0 AND chat = 0`,
	`INSERT INTO {p}inbox_chats (business, chat, version, wakes, seen_wakes, open, checkpoint, updated_at, head, attempts, failure, state)
		SELECT business, chat, 1, 0, 0, FALSE, CASE WHEN message > 1 THEN message ELSE 0 END,
			NULLIF(updated_at, -62135596800000000), 0, 0, '', CASE WHEN message > 0 THEN '{"read":true}' ELSE '{}' END
		FROM ymchats_inbox_marks WHERE business > 0 AND chat > 0`,
	`UPDATE ymchats_inbox_marks SET message = 2 WHERE business = 0 AND chat = 0`,
}

// migrationLock takes the advisory lock under which tables are created and migrated on
// PostgreSQL, where concurrent CREATE TABLE IF NOT EXISTS statements may fail. The lock lasts as
// long as the transaction, so it works through a pooler.
const migrationLock = `SELECT pg_advisory_xact_lock(133476434407796)`

// Migrate creates the tables, or brings them up to date, in one transaction and under a lock. So any
// number of processes may call it at the same time, and if it fails or its process is killed,
// nothing changes. The role needs the privilege to create tables.
func Migrate(ctx context.Context, db *sql.DB, dialect Dialect, options ...Option) error {
	c, err := newConfig(db, dialect, options)
	if err != nil {
		return err
	}
	return newStore(db, dialect, c).migrate(ctx)
}

// migrate migrates the tables if needed. It reads the version first, which requires few
// privileges.
func (s *Store) migrate(ctx context.Context) error {
	version, err := run(ctx, s.db, statementTimeout, s.version)
	if err == nil && version < len(migrations) {
		err = s.inTx(ctx, 0, s.migrateTx)
	}
	return s.errorf(err, "migrating the tables")
}

func (s *Store) migrateTx(ctx context.Context, conn *sql.Conn) error {
	if s.db.dialect == PostgreSQL {
		if _, err := conn.ExecContext(ctx, migrationLock); err != nil {
			return err
		}
	}
	version, err := s.version(ctx, conn)
	if err != nil {
		return err
	}
	for n := version; n < len(migrations); n++ {
		if err := s.execAll(ctx, conn, migrations[n]); err != nil {
			return err
		}
	}
	if version == 0 {
		if err := s.importOld(ctx, conn); err != nil {
			return fmt.Errorf("importing %s: %w", oldTable, err)
		}
	}
	_, err = conn.ExecContext(ctx, s.sql(`UPDATE {p}schema SET version = ?1`), len(migrations))
	return err
}

// importOld imports the old table into tables with the default prefix only.
func (s *Store) importOld(ctx context.Context, conn *sql.Conn) error {
	if s.prefix != defaultPrefix {
		return nil
	}
	exists, err := s.tableExists(ctx, conn, oldTable)
	if err != nil || !exists {
		return err
	}
	return s.execAll(ctx, conn, oldImport)
}

func (s *Store) execAll(ctx context.Context, conn *sql.Conn, statements []string, args ...any) error {
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, s.sql(statement), args...); err != nil {
			return err
		}
	}
	return nil
}

// version returns the version of the tables, or 0 if there are none. It is an error if a table of
// that version is missing, because a restore was incomplete or another program has a table of the
// same name.
func (s *Store) version(ctx context.Context, conn *sql.Conn) (version int, err error) {
	exists, err := s.tableExists(ctx, conn, s.prefix+"schema")
	if err != nil || !exists {
		return 0, err
	}
	err = conn.QueryRowContext(ctx, s.sql(`SELECT version FROM {p}schema`)).Scan(&version)
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && version < 1:
		return 0, fmt.Errorf("another program created the table %sschema: choose another prefix", s.prefix)
	case err == nil && version > len(migrations):
		err = fmt.Errorf("the tables have version %d and this release supports versions up to %d: upgrade the library", version, len(migrations))
	}
	if err != nil {
		return version, err
	}
	for _, statement := range slices.Concat(migrations[:version]...) {
		name, isTable := strings.CutPrefix(statement, "CREATE TABLE {p}")
		name, _, _ = strings.Cut(s.prefix+name, " ")
		if !isTable {
			continue
		}
		if exists, err = s.tableExists(ctx, conn, name); err != nil {
			return 0, err
		}
		if !exists {
			return 0, fmt.Errorf("the table %s is missing: restore it, or choose another prefix if another program created %sschema", name, s.prefix)
		}
	}
	return version, nil
}

func (s *Store) tableExists(ctx context.Context, conn *sql.Conn, table string) (exists bool, err error) {
	err = conn.QueryRowContext(ctx, s.db.dialect.bind(s.db.dialect.tableExists()), table).Scan(&exists)
	return exists, err
}

// check makes sure that the tables exist and that a SQLite file is writable, because SQLite
// reports a read-only file only at the first write. PostgreSQL may be read-only temporarily, as
// during a failover.
func (s *Store) check(ctx context.Context) error {
	_, err := run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) (int, error) {
		version, err := s.version(ctx, conn)
		if err == nil && version < len(migrations) {
			err = fmt.Errorf("the tables have version %d and this release needs version %d: run Migrate", version, len(migrations))
		}
		if err != nil || s.db.dialect != SQLite {
			return 0, err
		}
		if _, err := conn.ExecContext(ctx, s.sql(`UPDATE {p}schema SET version = version`)); err != nil {
			return 0, fmt.Errorf("the file must be writable: %w", err)
		}
		return 0, nil
	})
	return s.errorf(err, "checking the tables")
}

// sql returns a statement for the database, with {p} replaced by the table prefix and {now} by
// the database's clock. It caches the text, because replacing takes longer than looking it up;
// the number of statements is limited.
func (s *Store) sql(statement string) string {
	if text, ok := s.texts.Load(statement); ok {
		return text.(string) //nolint:forcetypeassert // it has only texts
	}
	text := s.db.dialect.bind(s.names.Replace(statement))
	s.texts.Store(statement, text)
	return text
}
