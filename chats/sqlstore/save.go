package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ymchats/ymchats-go/chats/inbox"
)

// Save implements [inbox.Store]. After any error other than [inbox.ErrConflict] and
// [inbox.ErrLeaseLost] the rows may or may not have been saved; a second attempt is safe:
// it returns ErrConflict if they have been.
//
// On PostgreSQL, Save is one statement: if the process is killed or frozen meanwhile, it stays
// atomic and holds up no other process, and it works through a pooler in transaction mode.
func (s *Store) Save(ctx context.Context, lease inbox.Lease, business *inbox.BusinessState, rows []inbox.ChatState) error {
	args, err := saveArgs(lease, business, rows)
	if err != nil {
		return s.errorf(err, "encoding rows of business %d", lease.Business)
	}
	want := len(rows)
	if business != nil {
		want++
	}
	if s.db.dialect == PostgreSQL {
		_, err = run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) (struct{}, error) {
			return struct{}{}, s.saveStatement(ctx, conn, args, want)
		})
	} else {
		err = s.inTx(ctx, statementTimeout, func(ctx context.Context, conn *sql.Conn) error { return s.saveTx(ctx, conn, args, want) })
	}
	if err != nil {
		return s.errorf(err, "saving %d rows of business %d", want, lease.Business)
	}
	if business != nil {
		business.Version++
	}
	for n := range rows {
		rows[n].Version++
	}
	return nil
}

// saveArgs returns the parameters ?1 to ?6 of the statements. The rows are in order,
// which spares most deadlocks.
func saveArgs(lease inbox.Lease, business *inbox.BusinessState, rows []inbox.ChatState) ([]any, error) {
	chatRows, businessRows := make([][]any, len(rows)), make([][]any, 0, 1)
	ordered := slices.SortedFunc(slices.Values(rows), func(a, b inbox.ChatState) int { return cmp.Compare(a.Chat, b.Chat) })
	var err error
	for n := range ordered {
		if chatRows[n], err = chatValues(&ordered[n]); err != nil {
			return nil, err
		}
	}
	if business != nil {
		row, err := businessValues(*business)
		if err != nil {
			return nil, err
		}
		businessRows = append(businessRows, row)
	}
	args := leaseArgs(lease)
	for _, rows := range [][][]any{chatRows, businessRows} {
		document, err := json.Marshal(rows)
		if err != nil {
			return nil, err
		}
		args = append(args, string(document))
	}
	return args, nil
}

// saveStatement saves on PostgreSQL.
func (s *Store) saveStatement(ctx context.Context, conn *sql.Conn, args []any, want int) error {
	var held bool
	err := conn.QueryRowContext(ctx, s.sql(s.postgresSave()), append(slices.Clone(args), want)...).Scan(&held)
	switch {
	case isForcedError(err):
		return inbox.ErrConflict
	case err == nil && !held:
		return inbox.ErrLeaseLost
	default:
		return err
	}
}

// postgresSave is a statement that locks the rows, then the lease, then writes. So a Save
// that waits for a row does not block the renewal of the lease. One that has locked the
// lease blocks the next acquisition until it ends, so the next holder reads what was saved.
//
// If it has not saved every row, it rolls itself back by casting a text that is not a
// number. The server's log shows that text.
func (s *Store) postgresSave() string {
	return `WITH chat_rows AS (SELECT 1 FROM {p}inbox_chats AS t WHERE t.business = CAST(?1 AS BIGINT)
			AND t.chat IN (SELECT i.chat FROM ` + s.db.dialect.records("?5", chatColumns) + `) ORDER BY t.chat FOR UPDATE),
		business_row AS (SELECT 1 FROM {p}inbox_businesses AS t WHERE t.business = ?1 AND CAST(?6 AS TEXT) <> '[]' FOR UPDATE),
		lease AS (SELECT 1 FROM {p}leases AS l, (SELECT count(*) FROM chat_rows) AS c, (SELECT count(*) FROM business_row) AS b
			WHERE ` + isLease + ` FOR SHARE OF l),
		chats AS (` + s.upsert("{p}inbox_chats", "business, chat", " AND e.chat = i.chat", "?5", chatColumns) + ` RETURNING 1),
		business AS (` + s.upsert("{p}inbox_businesses", "business", "", "?6", businessColumns) + ` RETURNING 1),
		saved AS (SELECT (SELECT count(*) FROM chats) + (SELECT count(*) FROM business) AS n)
		SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM lease) THEN FALSE WHEN n = CAST(?7 AS BIGINT) THEN TRUE
			ELSE CAST('ymchats: rolled back, rows have changed, unchanged were ' || n AS INTEGER) = 0 END FROM saved`
}

// saveTx saves on SQLite, whose transactions have the file to themselves.
func (s *Store) saveTx(ctx context.Context, conn *sql.Conn, args []any, want int) error {
	var held bool
	query := s.sql(`SELECT EXISTS (SELECT 1 FROM {p}leases AS l WHERE ` + isLease + `)`)
	if err := conn.QueryRowContext(ctx, query, args[:4]...).Scan(&held); err != nil {
		return err
	}
	if !held {
		return inbox.ErrLeaseLost
	}
	chatRows, err := affected(conn.ExecContext(ctx,
		s.sql(s.upsert("{p}inbox_chats", "business, chat", " AND e.chat = i.chat", "?2", chatColumns)), args[0], args[4]))
	if err != nil {
		return err
	}
	businessRows, err := affected(conn.ExecContext(ctx,
		s.sql(s.upsert("{p}inbox_businesses", "business", "", "?2", businessColumns)), args[0], args[5]))
	if err == nil && chatRows+businessRows != int64(want) {
		return inbox.ErrConflict
	}
	return err
}

// upserts are what columns become in a row that exists, if not what is saved: t is the row.
// A wake that came after the row was loaded keeps its due time, see [inbox.Store].Save.
var upserts = map[string]string{
	"wakes": "t.wakes",
	"due_at": `CASE WHEN t.wakes = excluded.wakes OR t.due_at IS NULL THEN excluded.due_at
		WHEN excluded.due_at < t.due_at THEN excluded.due_at ELSE t.due_at END`,
}

// upsert is a statement that writes those rows of a parameter whose version is the
// stored one. Version 0 stands for no row too.
func (s *Store) upsert(table, key, match, parameter string, columns []column) string {
	from := s.db.dialect.records(parameter, columns)
	if s.db.dialect == PostgreSQL {
		from += ", lease"
	}
	others := columns[1:] // but for the version
	sets := make([]string, len(others))
	for n, c := range others {
		sets[n] = c.name + " = " + cmp.Or(upserts[c.name], "excluded."+c.name)
	}
	return fmt.Sprintf(`INSERT INTO %[1]s AS t (business, version, %[2]s)
		SELECT CAST(?1 AS BIGINT), i.version + 1, %[3]s FROM %[4]s
		WHERE i.version = COALESCE((SELECT e.version FROM %[1]s AS e WHERE e.business = ?1%[5]s), 0)
		ON CONFLICT (%[6]s) DO UPDATE SET version = excluded.version, %[7]s WHERE t.version = excluded.version - 1`,
		table, list(others, ""), list(others, "i."), from, match, key, strings.Join(sets, ", "))
}
