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
// On PostgreSQL it is one statement, so it remains atomic and is not blocked if the process
// is killed or frozen meanwhile, and it works through a pooler in transaction mode.
func (s *Store) Save(ctx context.Context, lease inbox.Lease, business *inbox.BusinessState, rows []inbox.ChatState) error {
	args, err := saveArgs(lease, business, rows)
	if err != nil {
		return s.errorf(err, "encoding rows of business %d", lease.Business)
	}
	want := len(rows)
	if business != nil {
		want++
	}
	save := s.saveTx
	if s.db.dialect == PostgreSQL {
		save = s.saveStatement
	}
	_, err = run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) (int, error) {
		return 0, save(ctx, conn, args, want)
	})
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
	chatRows, businessRows := make([]chatRow, len(rows)), make([]businessRow, 0, 1)
	var err error
	for n := range rows {
		if chatRows[n], err = newChatRow(rows[n]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(chatRows, func(a, b chatRow) int { return cmp.Compare(a.Chat, b.Chat) })
	if business != nil {
		row, err := newBusinessRow(*business)
		if err != nil {
			return nil, err
		}
		businessRows = append(businessRows, row)
	}
	chatsJSON, err := json.Marshal(chatRows)
	if err != nil {
		return nil, err
	}
	businessJSON, err := json.Marshal(businessRows)
	return append(leaseArgs(lease), string(chatsJSON), string(businessJSON)), err
}

// saveStatement saves on PostgreSQL.
func (s *Store) saveStatement(ctx context.Context, conn *sql.Conn, args []any, want int) error {
	var held bool
	err := conn.QueryRowContext(ctx, s.saveQuery, append(slices.Clone(args), want)...).Scan(&held)
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
	return s.sql(`WITH chat_rows AS (SELECT 1 FROM {p}inbox_chats AS t WHERE t.business = CAST(?1 AS BIGINT)
			AND t.chat IN (SELECT i.chat FROM ` + s.db.dialect.records("?5", chatColumns[:1]) + `) ORDER BY t.chat FOR UPDATE),
		business_row AS (SELECT 1 FROM {p}inbox_businesses AS t WHERE t.business = ?1 AND CAST(?6 AS TEXT) <> '[]' FOR UPDATE),
		lease AS (SELECT 1 FROM {p}leases AS l, (SELECT count(*) FROM chat_rows) AS c, (SELECT count(*) FROM business_row) AS b
			WHERE ` + isLease + ` FOR SHARE OF l),
		chats AS (` + s.upsert("{p}inbox_chats", "business, chat", "?5", chatColumns) + ` RETURNING 1),
		business AS (` + s.upsert("{p}inbox_businesses", "business", "?6", businessColumns) + ` RETURNING 1),
		saved AS (SELECT (SELECT count(*) FROM chats) + (SELECT count(*) FROM business) AS n)
		SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM lease) THEN FALSE WHEN n = CAST(?7 AS BIGINT) THEN TRUE
			ELSE CAST('ymchats: rolled back, rows have changed, unchanged were ' || n AS INTEGER) = 0 END FROM saved`)
}

// saveTx saves on SQLite, whose transactions have the file to themselves.
func (s *Store) saveTx(ctx context.Context, conn *sql.Conn, args []any, want int) error {
	return s.db.inTx(ctx, conn, func() error {
		var held bool
		query := s.sql(`SELECT EXISTS (SELECT 1 FROM {p}leases AS l WHERE ` + isLease + `)`)
		if err := conn.QueryRowContext(ctx, query, args[:4]...).Scan(&held); err != nil {
			return err
		}
		if !held {
			return inbox.ErrLeaseLost
		}
		var saved int64
		for n, statement := range s.saveStatements {
			result, err := conn.ExecContext(ctx, statement, args[0], args[4+n])
			if err != nil {
				return err
			}
			rows, err := result.RowsAffected()
			if err != nil {
				return err
			}
			saved += rows
		}
		if saved != int64(want) {
			return inbox.ErrConflict
		}
		return nil
	})
}

func (s *Store) sqliteSave() []string {
	return []string{
		s.sql(s.upsert("{p}inbox_chats", "business, chat", "?2", chatColumns)),
		s.sql(s.upsert("{p}inbox_businesses", "business", "?2", businessColumns)),
	}
}

// upsert is a statement that writes those rows of a parameter whose version is the
// stored one. Version 0 also stands for no row.
func (s *Store) upsert(table, key, parameter string, columns []column) string {
	n := len(columns)
	names, values, sets := make([]string, 0, n), make([]string, 0, n), make([]string, 0, n)
	for _, c := range columns {
		names, values = append(names, c.name), append(values, "i."+c.name)
		sets = append(sets, c.name+" = "+cmp.Or(c.set, "excluded."+c.name))
	}
	match := "e.business = ?1"
	if slices.Contains(names, "chat") {
		match += " AND e.chat = i.chat"
	}
	from := s.db.dialect.records(parameter, append([]column{{name: "version", kind: "BIGINT"}}, columns...))
	if s.db.dialect == PostgreSQL {
		from += ", lease"
	}
	return fmt.Sprintf(`INSERT INTO %[1]s AS t (business, version, %[2]s)
		SELECT CAST(?1 AS BIGINT), i.version + 1, %[3]s FROM %[4]s
		WHERE i.version = COALESCE((SELECT e.version FROM %[1]s AS e WHERE %[5]s), 0)
		ON CONFLICT (%[6]s) DO UPDATE SET version = excluded.version, %[7]s WHERE t.version = excluded.version - 1`,
		table, strings.Join(names, ", "), strings.Join(values, ", "), from, match, key, strings.Join(sets, ", "))
}
