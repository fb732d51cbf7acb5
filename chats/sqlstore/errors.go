package sqlstore

import (
	"database/sql/driver"
	"errors"
	"strings"
)

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
