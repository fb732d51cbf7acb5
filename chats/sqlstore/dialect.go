package sqlstore

import (
	"strconv"
	"strings"
)

// Dialect is the database behind a [database/sql.DB].
type Dialect int

// The databases a [Store] speaks to. Any driver of theirs will do; the tests use
// modernc.org/sqlite and github.com/jackc/pgx/v5/stdlib.
const (
	SQLite     Dialect = iota + 1 // 3.24 or later
	PostgreSQL                    // 14 or later; see the package's documentation for older ones
)

// String is the database's name.
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

// now is the database's own time in microseconds since 1970. A Commit compares it
// with the end of the lease that it was made under; SQLite has no such leases.
func (d Dialect) now() string {
	if d == PostgreSQL {
		return `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`
	}
	return `0`
}

// bind writes the parameters of a statement, each a question mark, the way the
// database wants them. No statement here has a question mark in a literal.
func (d Dialect) bind(statement string) string {
	if d != PostgreSQL {
		return statement
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(statement, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		statement = after
	}
}
