package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats/inbox"
)

// Save implements [inbox.Store]. After any error other than [inbox.ErrConflict] and
// [inbox.ErrLeaseLost] the rows may or may not have been saved. A second attempt is safe: it
// returns ErrConflict if the first attempt has saved the rows.
//
// On PostgreSQL, Save is one statement, for any number of rows. It therefore stays atomic and
// blocks no other process even if the calling process is killed or frozen.
func (s *Store) Save(ctx context.Context, lease inbox.Lease, business *inbox.BusinessState, rows []inbox.ChatState) error {
	_, err := s.save(ctx, lease, business, rows, false)
	return err
}

// ReleaseBusiness implements [inbox.StepStore], in one statement on PostgreSQL.
func (s *Store) ReleaseBusiness(ctx context.Context, lease inbox.Lease, business *inbox.BusinessState) (next time.Time, err error) {
	return s.save(ctx, lease, business, nil, true)
}

// save saves rows. With last, it also releases the lease and returns the time at which a row is
// due next.
func (s *Store) save(
	ctx context.Context, lease inbox.Lease, business *inbox.BusinessState, rows []inbox.ChatState, last bool,
) (next time.Time, err error) {
	d, err := newSaved(business, rows)
	if err != nil {
		return next, s.errorf(err, "encoding rows of business %d", lease.Business)
	}
	d.last = last
	due, err := run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) (due storedTime, err error) {
		if s.db.dialect == PostgreSQL {
			return s.saveStatement(ctx, conn, lease, d)
		}
		err = s.db.inTx(ctx, conn, func() error { due, err = s.saveTx(ctx, conn, lease, d); return err })
		return due, err
	})
	if err != nil {
		return next, s.errorf(err, "saving %d rows of business %d", d.rows, lease.Business)
	}
	if business != nil {
		business.Version++
	}
	for n := range rows {
		rows[n].Version++
	}
	return time.Time(due), nil
}

// saved is what a Save writes: two parameters, each empty if there are no such rows.
type saved struct {
	chats, business string
	rows            int
	last            bool // release the lease
}

// newSaved sorts the rows, which avoids most deadlocks.
func newSaved(business *inbox.BusinessState, rows []inbox.ChatState) (d saved, err error) {
	ordered := slices.SortedFunc(slices.Values(rows), func(a, b inbox.ChatState) int { return cmp.Compare(a.Chat, b.Chat) })
	if d.rows = len(rows); d.rows > 0 {
		d.chats, err = parameter(ordered, chatValues)
	}
	if err == nil && business != nil {
		d.rows++
		d.business, err = parameter([]inbox.BusinessState{*business}, businessValues)
	}
	return d, err
}

// saveStatement saves on PostgreSQL.
func (s *Store) saveStatement(ctx context.Context, conn *sql.Conn, lease inbox.Lease, d saved) (due storedTime, err error) {
	args := append(leaseArgs(lease), d.rows)
	add := func(document string) (parameter string) {
		if document == "" {
			return ""
		}
		args = append(args, document)
		return "?" + strconv.Itoa(len(args))
	}
	key := saved{chats: add(d.chats), business: add(d.business), last: d.last}
	query, ok := s.saves.Load(key)
	if !ok { // cached, because building it is slow
		query = s.sql(s.postgresSave(key))
		s.saves.Store(key, query)
	}
	var held bool
	err = conn.QueryRowContext(ctx, query.(string), args...).Scan(&held, &due) //nolint:forcetypeassert // saves has only texts
	switch {
	case isForcedError(err):
		return due, inbox.ErrConflict
	case err == nil && !held:
		return due, inbox.ErrLeaseLost
	default:
		return due, err
	}
}

// postgresSave returns a statement that locks the rows, then the lease, then writes. In this
// order, a Save that waits for a row does not block the renewal of the lease. A Save that has
// locked the lease blocks the next acquisition until it ends, so the next holder reads what was
// saved.
//
// If the statement has not saved every row, it rolls itself back by casting a text that is not
// a number; the server's log shows the text. MATERIALIZED keeps the planner from casting it if
// there are no rows to save. parameters has the names of the parameters with the documents.
func (s *Store) postgresSave(parameters saved) string {
	var locks, writes, locked, written string
	add := func(kind, table, key, match, which, parameter string, columns []column) {
		locks += kind + `_rows AS (SELECT 1 FROM ` + table + ` AS t WHERE t.business = CAST(?1 AS BIGINT)` + which + ` FOR UPDATE), `
		locked += `, (SELECT count(*) FROM ` + kind + `_rows) AS ` + kind
		writes += `, ` + kind + ` AS (` + s.upsert(table, key, match, parameter, columns) + ` RETURNING 1)`
		written += ` + (SELECT count(*) FROM ` + kind + `)`
	}
	if chats := parameters.chats; chats != "" {
		add("chats", "{p}inbox_chats", "business, chat", " AND e.chat = i.chat",
			" AND "+s.db.dialect.among("t.chat", chats, chatColumns)+" ORDER BY t.chat", chats, chatColumns)
	}
	if parameters.business != "" {
		add("business", "{p}inbox_businesses", "business", "", "", parameters.business, businessColumns)
	}
	lock, due := "SHARE", "NULL"
	if parameters.last {
		lock, due = "UPDATE", nextDue // the statement does not change due times
		writes += `, released AS (` + release + ` AND EXISTS (SELECT 1 FROM lease))`
	}
	return `WITH ` + locks + `lease AS (SELECT 1 FROM {p}leases AS l` + locked + ` WHERE ` + isLease + ` FOR ` + lock + ` OF l)` + writes + `,
		saved AS MATERIALIZED (SELECT 0` + written + ` AS n)
		SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM lease) THEN FALSE WHEN n = CAST(?5 AS BIGINT) THEN TRUE
			ELSE CAST('ymchats: rolled back, rows have changed, unchanged were ' || n AS INTEGER) = 0 END, ` + due + ` FROM saved`
}

// saveTx saves on SQLite, whose transactions have exclusive access to the file.
func (s *Store) saveTx(ctx context.Context, conn *sql.Conn, lease inbox.Lease, d saved) (due storedTime, err error) {
	var held bool
	query := s.sql(`SELECT EXISTS (SELECT 1 FROM {p}leases AS l WHERE ` + isLease + `)`)
	if err := conn.QueryRowContext(ctx, query, leaseArgs(lease)...).Scan(&held); err != nil {
		return due, err
	}
	if !held {
		return due, inbox.ErrLeaseLost
	}
	written := 0
	for _, part := range []struct{ document, statement string }{
		{d.chats, s.upsert("{p}inbox_chats", "business, chat", " AND e.chat = i.chat", "?2", chatColumns)},
		{d.business, s.upsert("{p}inbox_businesses", "business", "", "?2", businessColumns)},
	} {
		if part.document == "" {
			continue
		}
		n, err := affected(conn.ExecContext(ctx, s.sql(part.statement), int64(lease.Business), part.document))
		if err != nil {
			return due, err
		}
		written += int(n)
	}
	if written != d.rows {
		return due, inbox.ErrConflict
	}
	if d.last {
		err = conn.QueryRowContext(ctx, s.sql(release+` RETURNING `+nextDue), leaseArgs(lease)...).Scan(&due)
	}
	return due, err
}

// upserts has the columns that do not take the saved value if the row t exists. A wake that came
// after the row was loaded keeps its due time, see [inbox.Store].Save.
var upserts = map[string]string{
	"wakes": "t.wakes",
	"due_at": `CASE WHEN t.wakes = excluded.wakes OR t.due_at IS NULL OR excluded.due_at < t.due_at
		OR excluded.attempts > 0 AND excluded.due_at IS NOT NULL THEN excluded.due_at ELSE t.due_at END`,
}

// upsert returns a statement that writes the rows of a parameter whose version is the stored
// one. Version 0 also matches a missing row.
func (s *Store) upsert(table, key, match, parameter string, columns []column) string {
	from := s.db.dialect.records(parameter, columns)
	if s.db.dialect == PostgreSQL {
		from += ", lease"
	}
	others := columns[1:] // all columns except version
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
