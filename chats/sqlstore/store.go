package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// Store is an [inbox.Store] and an [outbox.Store] in a database. It is safe for concurrent
// use, by any number of processes.
type Store struct {
	db     *database
	prefix string
	names  *strings.Replacer
	lease  time.Duration
	saves  *sync.Map // PostgreSQL statements, by their parameters
	texts  *sync.Map // of statements, for the database
}

var (
	_ inbox.Store     = (*Store)(nil)
	_ inbox.StepStore = (*Store)(nil)
)

// New returns a store that keeps its tables in db. Unless [WithoutMigration] is given, it creates
// or migrates the tables (see [Migrate]). New fails if a newer release has migrated the tables, if
// a table that an earlier run created is missing, or if a SQLite file is not writable. The Store
// does not close db.
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
	return &Store{
		db: newDatabase(db, dialect), prefix: c.prefix, lease: c.lease,
		names: strings.NewReplacer("{p}", c.prefix, "{now}", dialect.now()), saves: &sync.Map{}, texts: &sync.Map{},
	}
}

// errorf adds a description of what failed to an error.
func (s *Store) errorf(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("sqlstore: %s on %v: %w", fmt.Sprintf(format, args...), s.db.dialect, err)
}

// Business implements [inbox.Store].
func (s *Store) Business(ctx context.Context, business chats.BusinessID) (inbox.BusinessState, error) {
	return queryOne(ctx, s, scanBusiness, nil, selectBusiness, int64(business))
}

// Chats implements [inbox.Store].
func (s *Store) Chats(ctx context.Context, business chats.BusinessID, ids []chats.ChatID) ([]inbox.ChatState, error) {
	list, err := parameter(ids, func(id chats.ChatID) ([]any, error) { return []any{id}, nil })
	if err != nil {
		return nil, s.errorf(err, "encoding IDs of business %d", business)
	}
	return query(ctx, s, scanChat, selectChats+`WHERE business = ?1 AND `+
		s.db.dialect.among("chat", "?2", columnsOf("chat BIGINT")), int64(business), list)
}

// Due implements [inbox.Store]. Chats with pending pushes have a separate index. The other chats
// are read in the order in which they are due; chats with pending pushes are skipped, so a backlog
// of pushes slows Due down, but no other backlog does.
func (s *Store) Due(ctx context.Context, business chats.BusinessID, at time.Time, limit int) ([]inbox.ChatState, error) {
	// PostgreSQL does not know the values of subqueries when it plans. If it knew those of the
	// parameters, it would plan the statement anew each time.
	const instant, most = `(SELECT CAST(?2 AS BIGINT))`, `(SELECT CAST(?3 AS BIGINT))`
	due := selectChats + `WHERE business = ?1 AND due_at IS NOT NULL AND due_at <= ` + instant
	const inOrder = ` ORDER BY due_at, chat LIMIT ` + most
	return query(ctx, s, scanChat, `SELECT * FROM (
		SELECT * FROM (`+due+` AND wakes <> seen_wakes`+inOrder+`) AS woken UNION ALL
		SELECT * FROM (`+due+` AND wakes = seen_wakes`+inOrder+`) AS others) AS due
		ORDER BY CASE WHEN wakes = seen_wakes THEN 1 ELSE 0 END, due_at, chat LIMIT `+most, int64(business), at.UnixMicro(), limit)
}

// Open implements [inbox.Store].
func (s *Store) Open(ctx context.Context, business chats.BusinessID) ([]chats.ChatID, error) {
	return query(ctx, s, scanValue[chats.ChatID], `SELECT chat FROM {p}inbox_chats WHERE business = ?1 AND open`, int64(business))
}

// query returns all rows of a statement, whose first parameter is the business.
func query[T any](ctx context.Context, s *Store, scan func(scanner) (T, error), statement string, args ...any) ([]T, error) {
	rows, err := run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) ([]T, error) {
		return queryOn(ctx, conn, scan, s.sql(statement), args...)
	})
	return rows, s.errorf(err, "reading rows of business %d", args[0])
}

// queryOne returns the first row of a statement, or the error none.
func queryOne[T any](ctx context.Context, s *Store, scan func(scanner) (T, error), none error, statement string, args ...any) (row T, err error) {
	rows, err := query(ctx, s, scan, statement, args...)
	switch {
	case err != nil:
		return row, err
	case len(rows) == 0:
		return row, none
	default:
		return rows[0], nil
	}
}

// querier is a connection, or the caller's transaction.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func queryOn[T any](ctx context.Context, q querier, scan func(scanner) (T, error), statement string, args ...any) (all []T, err error) {
	rows, err := q.QueryContext(ctx, statement, args...)
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

func (s *Store) exec(ctx context.Context, limit time.Duration, statement string, args ...any) (int64, error) {
	return run(ctx, s.db, limit, func(ctx context.Context, conn *sql.Conn) (int64, error) {
		return affected(conn.ExecContext(ctx, s.sql(statement), args...))
	})
}

func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (s *Store) inTx(ctx context.Context, limit time.Duration, do func(context.Context, *sql.Conn) error) error {
	_, err := run(ctx, s.db, limit, func(ctx context.Context, conn *sql.Conn) (struct{}, error) {
		return struct{}{}, s.db.inTx(ctx, conn, func() error { return do(ctx, conn) })
	})
	return err
}

// Wake implements [inbox.Store] in one statement. If the given time is ahead of the database's
// clock, the time of that clock is used instead.
func (s *Store) Wake(ctx context.Context, business chats.BusinessID, chat chats.ChatID, at time.Time) error {
	_, err := s.exec(ctx, statementTimeout, `INSERT INTO {p}inbox_chats AS t
		(business, chat, version, wakes, seen_wakes, open, checkpoint, due_at, head, attempts, failure, state)
		VALUES (?1, ?2, 0, 1, 0, FALSE, 0, CASE WHEN ?3 > {now} THEN {now} ELSE ?3 END, 0, 0, '', '{}')
		ON CONFLICT (business, chat) DO UPDATE SET wakes = t.wakes + 1,
			due_at = CASE WHEN t.due_at IS NULL OR t.attempts = 0 AND excluded.due_at < t.due_at
				THEN excluded.due_at ELSE t.due_at END`, int64(business), int64(chat), micros(at))
	return s.errorf(err, "waking chat %d of business %d", chat, business)
}

// Summary implements [inbox.Store].
func (s *Store) Summary(ctx context.Context, business chats.BusinessID, at time.Time) (inbox.Summary, error) {
	sum, err := queryOne(ctx, s, func(from scanner) (sum inbox.Summary, err error) {
		err = from.Scan(&sum.Chats, &sum.Due, (*storedTime)(&sum.OldestDue))
		return sum, err
	}, nil, `SELECT (SELECT count(*) FROM {p}inbox_chats WHERE business = ?1),
		count(*), min(due_at) FROM {p}inbox_chats WHERE business = ?1 AND due_at IS NOT NULL AND due_at <= ?2`, int64(business), at.UnixMicro())
	if err != nil {
		return inbox.Summary{}, err
	}
	sum.Failing, err = query(ctx, s, scanChat, selectChats+`WHERE business = ?1 AND failing_since IS NOT NULL
		ORDER BY failing_since, chat LIMIT 100`, int64(business))
	if err != nil {
		return inbox.Summary{}, err
	}
	sum.Holder, sum.HeldSince, err = s.holder(ctx, business, inbox.Purpose)
	return sum, err
}

// Forget deletes everything stored for a business: the leases, the state of the inbox, and the
// outbox, including items that have not been posted yet. A process that serves the business loses
// its lease and starts over, so stop that process first.
func (s *Store) Forget(ctx context.Context, business chats.BusinessID) error {
	if business <= 0 {
		return badArgument("business", "must be greater than 0")
	}
	// The leases go first, so that no Save adds a row afterwards, and once before the transaction:
	// a Save locks its rows before the lease, so that the two might block each other.
	statements := []string{
		`DELETE FROM {p}leases WHERE business = ?1`,
		`DELETE FROM {p}inbox_chats WHERE business = ?1`,
		`DELETE FROM {p}inbox_businesses WHERE business = ?1`,
		`DELETE FROM {p}outbox WHERE business = ?1`,
		`DELETE FROM {p}outbox_files AS f WHERE business = ?1 AND NOT EXISTS (
			SELECT 1 FROM {p}outbox AS o WHERE o.business = ?1 AND o.key = f.key)`, // one put meanwhile is kept
	}
	_, err := s.exec(ctx, 0, statements[0], int64(business))
	if err == nil {
		err = s.inTx(ctx, 0, func(ctx context.Context, conn *sql.Conn) error {
			return s.execAll(ctx, conn, statements, int64(business))
		})
	}
	return s.errorf(err, "forgetting business %d", business)
}
