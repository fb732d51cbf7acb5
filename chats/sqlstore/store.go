package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// Store keeps the marks of an inbox in a database. It is safe for concurrent use,
// by any number of processes.
type Store struct {
	db      *sql.DB
	dialect Dialect
	gate    *inbox.MemoryStore // leases among the goroutines of this Store
	leaser  *leaser            // leases among processes; nil on SQLite
	writing chan struct{}      // of one element; nil on PostgreSQL
}

var (
	_ inbox.Store  = (*Store)(nil)
	_ inbox.Leaser = (*Store)(nil)
)

// New prepares the database: it makes the table or migrates it, one process at a
// time however many start at once, and refuses a table that a newer release of the
// library has migrated. The Store does not close db.
func New(ctx context.Context, db *sql.DB, dialect Dialect) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlstore: New: the database is nil; open it with sql.Open")
	}
	if _, known := schema[dialect]; !known {
		return nil, fmt.Errorf("sqlstore: New: %v is not a known dialect; use SQLite or PostgreSQL", dialect)
	}
	s := &Store{db: db, dialect: dialect, gate: inbox.NewMemoryStore()}
	if err := retry(ctx, func() error { return s.migrate(ctx) }); err != nil {
		return nil, fmt.Errorf("sqlstore: preparing the table ymchats_inbox_marks on %v: %w", dialect, err)
	}
	if dialect == SQLite {
		s.writing = make(chan struct{}, 1)
	}
	if dialect == PostgreSQL {
		namespace, err := schemaName(ctx, db)
		if err != nil {
			return nil, fmt.Errorf("sqlstore: finding the schema of the table ymchats_inbox_marks: %w", err)
		}
		s.leaser = &leaser{db: db, gate: s.gate, namespace: namespace, lost: make(map[int64]*lease)}
	}
	return s, nil
}

// Marks gives every mark of a business, read by one statement. Times are in UTC.
func (s *Store) Marks(ctx context.Context, business chats.BusinessID) (map[chats.ChatID]inbox.Mark, error) {
	if err := checkBusiness(business); err != nil {
		return nil, err
	}
	var marks map[chats.ChatID]inbox.Mark
	err := retry(ctx, func() (err error) {
		marks, err = s.marks(ctx, business)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sqlstore: reading the marks of business %d: %w", business, err)
	}
	return marks, nil
}

func (s *Store) marks(ctx context.Context, business chats.BusinessID) (map[chats.ChatID]inbox.Mark, error) {
	rows, err := s.db.QueryContext(ctx, s.dialect.bind(
		`SELECT chat, message, updated_at FROM ymchats_inbox_marks WHERE business = ?`), int64(business))
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err tells what matters
	marks := make(map[chats.ChatID]inbox.Mark)
	for rows.Next() {
		var chat, message, updated int64
		if err := rows.Scan(&chat, &message, &updated); err != nil {
			return nil, err
		}
		mark := inbox.Mark{Message: chats.MessageID(message), UpdatedAt: time.UnixMicro(updated).UTC()}
		if mark != (inbox.Mark{}) {
			marks[chats.ChatID(chat)] = mark
		}
	}
	return marks, rows.Err()
}

// Commit moves the mark of a chat by one statement that compares and sets, so it
// has happened as a whole or not at all. Where it returns another error than
// [inbox.ErrConflict], the mark may have moved or not: load the marks before going
// on. Where this Store holds a lease of the business, the same statement sees to it
// that the lease is not over; then it is [ErrLeaseLost], and nothing has moved. A lease
// that was lost is to be given back, or had again, before the next Commit.
func (s *Store) Commit(ctx context.Context, business chats.BusinessID, chat chats.ChatID, from, to inbox.Mark) error {
	if err := checkBusiness(business); err != nil {
		return err
	}
	until, err := s.until(business)
	if err != nil {
		return fmt.Errorf("sqlstore: committing chat %d of business %d: %w", chat, business, err)
	}
	var moved int64
	err = s.inTurn(ctx, func() error {
		return retry(ctx, func() (err error) {
			moved, err = s.compareAndSet(ctx, business, chat, from, to, until)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("sqlstore: committing chat %d of business %d (load the marks to see whether it moved): %w", chat, business, err)
	}
	if moved > 0 {
		return nil
	}
	if _, err := s.until(business); err != nil {
		return fmt.Errorf("sqlstore: committing chat %d of business %d: %w", chat, business, err)
	}
	return inbox.ErrConflict
}

// inTurn lets one goroutine write at a time where the database takes only one, first
// come, first served: among those who find it locked and try again some would starve.
func (s *Store) inTurn(ctx context.Context, write func() error) error {
	if s.writing == nil {
		return write()
	}
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
		return write()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) until(business chats.BusinessID) (int64, error) {
	if s.leaser == nil {
		return noEnd, nil
	}
	return s.leaser.until(business)
}

func (s *Store) compareAndSet(ctx context.Context, business chats.BusinessID, chat chats.ChatID, from, to inbox.Mark, until int64) (int64, error) {
	statement := `UPDATE ymchats_inbox_marks SET message = ?, updated_at = ?
		WHERE business = ? AND chat = ? AND ? > ` + s.dialect.now() + ` AND message = ? AND updated_at = ?`
	if from.Message == 0 && micros(from.UpdatedAt) == micros(time.Time{}) {
		// No mark is the absence of the row, or a row that was set to the zero mark.
		statement = `INSERT INTO ymchats_inbox_marks (message, updated_at, business, chat)
			SELECT CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT) WHERE ? > ` + s.dialect.now() + `
			ON CONFLICT (business, chat) DO UPDATE SET message = excluded.message, updated_at = excluded.updated_at
			WHERE ymchats_inbox_marks.message = ? AND ymchats_inbox_marks.updated_at = ?`
	}
	result, err := s.db.ExecContext(ctx, s.dialect.bind(statement),
		int64(to.Message), micros(to.UpdatedAt), int64(business), int64(chat), until, int64(from.Message), micros(from.UpdatedAt))
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// Lease waits until no other process holds the business, and holds it until
// release. Package sqlstore says what that guarantees; on SQLite it is a matter of
// this Store's goroutines only. held ends with ctx too, but the lease itself lasts
// until release. Once the lease is lost, the cause of held is [ErrLeaseLost].
//
// Lease goes on waiting while the database cannot be reached. It fails where
// waiting is of no use: the database refuses the credential or the statements, the
// pool allows one connection only or was closed.
func (s *Store) Lease(ctx context.Context, business chats.BusinessID) (held context.Context, release func(), err error) {
	if err := checkBusiness(business); err != nil {
		return nil, nil, err
	}
	if s.leaser != nil {
		held, release, err = s.leaser.lease(ctx, business)
	} else {
		held, release, err = s.gate.Lease(ctx, business)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("sqlstore: leasing business %d: %w", business, err)
	}
	return held, release, nil
}

// checkBusiness keeps business 0 for the row with the version.
func checkBusiness(business chats.BusinessID) error {
	if business <= 0 {
		return fmt.Errorf("sqlstore: business %d: ids begin at 1", business)
	}
	return nil
}

// micros is a time as the table keeps it: microseconds since 1970, which both
// databases compare alike. The zero time needs no sentinel, it is the instant
// -62135596800000000.
func micros(t time.Time) int64 { return t.UnixMicro() }
