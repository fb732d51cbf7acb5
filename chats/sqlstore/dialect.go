package sqlstore

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Dialect is the database behind a [database/sql.DB].
type Dialect int

// The databases supported by a [Store]. The tests use modernc.org/sqlite and
// github.com/jackc/pgx/v5/stdlib; other drivers should work as well.
const (
	SQLite     Dialect = iota + 1 // 3.38 or later
	PostgreSQL                    // 14 or later
)

// String returns the database's name.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	default:
		return "Dialect(" + strconv.Itoa(int(d)) + ")"
	}
}

// now returns an expression for the database's clock in microseconds since 1970. SQLite's clock
// has a resolution of milliseconds.
func (d Dialect) now() string {
	if d == PostgreSQL {
		return `CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)`
	}
	return `CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)`
}

// begin returns a statement that begins a transaction that need not be retried: SQLite's takes
// the write lock immediately, PostgreSQL's sees what others committed while it waited.
func (d Dialect) begin() string {
	if d == PostgreSQL {
		return `BEGIN ISOLATION LEVEL READ COMMITTED`
	}
	return `BEGIN IMMEDIATE`
}

// tableExists returns a query for whether the table ?1 exists in the search path. Unlike
// to_regclass, it does not rely on the session's cache. In a transaction that waited for a lock,
// the cache lacks a table that another process created meanwhile.
func (d Dialect) tableExists() string {
	if d == PostgreSQL {
		return `SELECT EXISTS (SELECT 1 FROM pg_class WHERE relname = ?1 AND pg_table_is_visible(oid))`
	}
	return `SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)`
}

// records returns a subquery i of the rows in a parameter, a JSON array of arrays of values in
// the order of the columns. One statement can thus write any number of rows, regardless of how
// many parameters the database allows.
func (d Dialect) records(parameter string, columns []column) string {
	fields := make([]string, len(columns))
	for n, c := range columns {
		fields[n] = fmt.Sprintf("CAST(value ->> %d AS %s) AS %s", n, c.kind, c.name)
	}
	elements := `json_each(` + parameter + `)`
	if d == PostgreSQL {
		elements = `jsonb_array_elements(CAST(CAST(` + parameter + ` AS TEXT) AS JSONB))`
	}
	return `(SELECT ` + strings.Join(fields, ", ") + ` FROM ` + elements + `) AS i`
}

// among returns a condition that the named column is one of the chats in a parameter in the
// format of records. On PostgreSQL it keeps the planner, whose plan for any business is one for
// a business of average size, from reading all chats of the business.
func (d Dialect) among(name, parameter string, columns []column) string {
	chats := `(SELECT i.chat FROM ` + d.records(parameter, columns) + `)`
	if d == PostgreSQL {
		return name + ` = ANY (ARRAY` + chats + `)`
	}
	return name + ` IN ` + chats
}

// bind returns a statement with the parameters ?1, ?2 ... in the syntax of the database. No
// statement contains other question marks.
func (d Dialect) bind(statement string) string {
	if d == PostgreSQL {
		return strings.ReplaceAll(statement, "?", "$")
	}
	return statement
}

// isLockConflict reports whether the database refused a statement because of another
// connection, and changed nothing. Drivers have no common type for this: those for PostgreSQL
// use SQLSTATE codes, those for SQLite the texts of its messages.
func isLockConflict(err error) bool {
	switch sqlState(err) {
	case "40001", "40P01", "55P03": // serialization failure, if that isolation is the default; deadlock; lock_timeout
		return true
	case "":
		text := err.Error()
		return strings.Contains(text, " is locked") || strings.Contains(text, "SQLITE_BUSY")
	default:
		return false
	}
}

// isStaleConnection reports whether another connection may succeed immediately. This one was
// closed before the statement had an effect (57P01, 57P05), or its session is read-only (25006)
// and remains so after the database has become writable. A SQLite connection is stale after its
// file was replaced, or was missing for a while.
func isStaleConnection(err error) bool {
	switch sqlState(err) {
	case "57P01", "57P05", "25006":
		return true
	case "":
		text := err.Error()
		return errors.Is(err, driver.ErrBadConn) || strings.Contains(text, "readonly database") || strings.Contains(text, "no such table")
	default:
		return false
	}
}

// isForcedError reports whether a statement has rolled itself back, see postgresSave.
func isForcedError(err error) bool { return sqlState(err) == "22P02" }

// isTakenMessage reports whether the save of an item would have assigned a message that belongs
// to another item.
func isTakenMessage(err error) bool {
	state := sqlState(err)
	return state == "23505" || state == "" && strings.Contains(err.Error(), "UNIQUE constraint failed")
}

// sqlState returns the code of an error reported by PostgreSQL, or "".
func sqlState(err error) string {
	var reported interface{ SQLState() string }
	if errors.As(err, &reported) {
		return reported.SQLState()
	}
	return ""
}
