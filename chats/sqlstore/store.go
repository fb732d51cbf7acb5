package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// Store is an [inbox.Store] and an [outbox.Store] in a database. It is safe for concurrent
// use, by any number of processes.
type Store struct {
	db     *database
	prefix string
	lease  time.Duration

	saveQuery      string   // on PostgreSQL
	saveStatements []string // on SQLite
}

var _ inbox.Store = (*Store)(nil)

// New returns a store. Unless [WithoutMigration] is given, it creates or migrates the tables
// (see [Migrate]). It refuses tables that a newer release has migrated, and a SQLite file
// that cannot be written. The Store does not close db. It uses at most 4 of its connections
// at a time, or fewer if the pool is smaller.
func New(ctx context.Context, db *sql.DB, dialect Dialect, options ...Option) (*Store, error) {
	c, err := newConfig(db, dialect, options)
	if err != nil {
		return nil, err
	}
	s := newStore(db, dialect, c)
	if !c.noMigrate {
		if err := s.migrate(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func newStore(db *sql.DB, dialect Dialect, c config) *Store {
	s := &Store{db: newDatabase(db, dialect), prefix: c.prefix, lease: c.lease}
	if dialect == PostgreSQL {
		s.saveQuery = s.postgresSave()
	} else {
		s.saveStatements = s.sqliteSave()
	}
	return s
}

// errorf adds what failed to an error, except to the sentinels of package inbox.
func (s *Store) errorf(err error, format string, args ...any) error {
	if errors.Is(err, inbox.ErrConflict) || errors.Is(err, inbox.ErrLeaseLost) || errors.Is(err, inbox.ErrLeaseHeld) {
		return err
	}
	return fmt.Errorf("sqlstore: %s on %v: %w", fmt.Sprintf(format, args...), s.db.dialect, err)
}

// Business implements [inbox.Store].
func (s *Store) Business(ctx context.Context, business chats.BusinessID) (inbox.BusinessState, error) {
	state, err := run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) (inbox.BusinessState, error) {
		state, err := scanBusiness(conn.QueryRowContext(ctx, s.sql(selectBusiness), int64(business)))
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		return state, err
	})
	if err != nil {
		return inbox.BusinessState{}, s.errorf(err, "reading business %d", business)
	}
	return state, nil
}

// Chats implements [inbox.Store].
func (s *Store) Chats(ctx context.Context, business chats.BusinessID, ids []chats.ChatID) ([]inbox.ChatState, error) {
	list := make([]struct {
		Chat chats.ChatID `json:"chat"`
	}, len(ids))
	for n, id := range ids {
		list[n].Chat = id
	}
	parameter, err := json.Marshal(list)
	if err != nil {
		return nil, s.errorf(err, "encoding ids of business %d", business)
	}
	records := s.db.dialect.records("?2", []column{{name: "chat", kind: "BIGINT"}})
	return query(ctx, s, scanChat, selectChats+`WHERE business = ?1 AND chat IN (SELECT i.chat FROM `+records+`)`,
		int64(business), string(parameter))
}

// Due implements [inbox.Store]. It reads no more than limit rows from each of two indexes,
// so a backlog does not make it slow.
func (s *Store) Due(ctx context.Context, business chats.BusinessID, at time.Time, limit int) ([]inbox.ChatState, error) {
	due := selectChats + `WHERE business = ?1 AND due_at IS NOT NULL AND due_at <= ?2`
	const inOrder = ` ORDER BY due_at, chat LIMIT ?3`
	return query(ctx, s, scanChat, `SELECT * FROM (
		SELECT * FROM (`+due+` AND wakes <> seen_wakes`+inOrder+`) AS woken UNION ALL
		SELECT * FROM (`+due+` AND wakes = seen_wakes`+inOrder+`) AS others) AS due
		ORDER BY CASE WHEN wakes = seen_wakes THEN 1 ELSE 0 END, due_at, chat LIMIT ?3`, int64(business), at.UnixMicro(), limit)
}

// Open implements [inbox.Store].
func (s *Store) Open(ctx context.Context, business chats.BusinessID) ([]chats.ChatID, error) {
	return query(ctx, s, func(from scanner) (id chats.ChatID, err error) {
		err = from.Scan(&id)
		return id, err
	}, `SELECT chat FROM {p}inbox_chats WHERE business = ?1 AND open`, int64(business))
}

// query returns all rows of a statement.
func query[T any](ctx context.Context, s *Store, scan func(scanner) (T, error), statement string, args ...any) ([]T, error) {
	rows, err := run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) ([]T, error) {
		return queryConn(ctx, conn, scan, s.sql(statement), args...)
	})
	if err != nil {
		return nil, s.errorf(err, "reading rows of business %d", args[0])
	}
	return rows, nil
}

func queryConn[T any](ctx context.Context, conn *sql.Conn, scan func(scanner) (T, error), statement string, args ...any) (all []T, err error) {
	rows, err := conn.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err has what matters
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// Wake implements [inbox.Store] in one statement.
func (s *Store) Wake(ctx context.Context, business chats.BusinessID, chat chats.ChatID, at time.Time) error {
	_, err := run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) (sql.Result, error) {
		return conn.ExecContext(ctx, s.sql(`INSERT INTO {p}inbox_chats AS t
			(business, chat, version, wakes, seen_wakes, open, checkpoint, due_at, head, attempts, failure, state)
			VALUES (?1, ?2, 0, 1, 0, FALSE, 0, ?3, 0, 0, '', '{}')
			ON CONFLICT (business, chat) DO UPDATE SET wakes = t.wakes + 1,
				due_at = CASE WHEN t.due_at IS NULL OR t.attempts = 0 AND excluded.due_at < t.due_at
					THEN excluded.due_at ELSE t.due_at END`), int64(business), int64(chat), micros(at))
	})
	if err != nil {
		return s.errorf(err, "waking chat %d of business %d", chat, business)
	}
	return nil
}

// Summary implements [inbox.Store].
func (s *Store) Summary(ctx context.Context, business chats.BusinessID, at time.Time) (inbox.Summary, error) {
	sum, err := run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) (inbox.Summary, error) {
		return s.summary(ctx, conn, int64(business), at.UnixMicro())
	})
	if err != nil {
		return inbox.Summary{}, s.errorf(err, "reading the summary of business %d", business)
	}
	return sum, nil
}

func (s *Store) summary(ctx context.Context, conn *sql.Conn, business, at int64) (sum inbox.Summary, err error) {
	var oldest *int64
	err = conn.QueryRowContext(ctx, s.sql(`SELECT (SELECT count(*) FROM {p}inbox_chats WHERE business = ?1),
		count(*), min(due_at) FROM {p}inbox_chats WHERE business = ?1 AND due_at IS NOT NULL AND due_at <= ?2`), business, at).Scan(&sum.Chats, &sum.Due, &oldest)
	if err != nil {
		return sum, err
	}
	sum.OldestDue = timeOf(oldest)
	sum.Failing, err = queryConn(ctx, conn, scanChat, s.sql(selectChats+`WHERE business = ?1 AND failing_since IS NOT NULL
		ORDER BY failing_since, chat LIMIT 100`), business)
	if err != nil {
		return sum, err
	}
	held, err := s.holder(ctx, conn, business, inbox.Purpose)
	if held != nil {
		sum.Holder, sum.HeldSince = held.Holder, held.Since
	}
	return sum, err
}

// Forget deletes everything that is stored for a business: the inbox's state, the outbox
// with the items that have not been posted yet, and the leases. A process that serves the
// business loses its lease and starts over, so stop it first.
func (s *Store) Forget(ctx context.Context, business chats.BusinessID) error {
	if business <= 0 {
		return badArgument("business", "must be greater than 0")
	}
	// Without the lease no Save adds a row afterwards.
	statements := []string{
		`DELETE FROM {p}leases WHERE business = ?1`,
		`DELETE FROM {p}inbox_chats WHERE business = ?1`,
		`DELETE FROM {p}inbox_businesses WHERE business = ?1`,
		`DELETE FROM {p}outbox_files WHERE business = ?1`,
		`DELETE FROM {p}outbox WHERE business = ?1`,
	}
	_, err := run(ctx, s.db, 0, func(ctx context.Context, conn *sql.Conn) (int, error) {
		return 0, s.db.inTx(ctx, conn, func() error { return s.execAll(ctx, conn, statements, int64(business)) })
	})
	if err != nil {
		return s.errorf(err, "forgetting business %d", business)
	}
	return nil
}
