package sqlstore

import (
	"database/sql/driver"
	"errors"
	"strings"
)

// isLockConflict reports whether the database refused a statement because of another
// connection, and changed nothing. Drivers share no type for it: those of PostgreSQL
// have the standard's codes, those of SQLite the texts of its messages.
func isLockConflict(err error) bool {
	switch sqlState(err) {
	case "40001", "40P01": // serialization failure, if that is the default; deadlock
		return true
	case "":
		text := err.Error()
		return strings.Contains(text, " is locked") || strings.Contains(text, "SQLITE_BUSY")
	default:
		return false
	}
}

// isStaleConnection reports whether another connection may succeed at once: this one
// was closed before the statement had an effect (57P01, 57P05), or its session is read-only
// (25006), which a pooled session remains after the database has become writable. Likewise
// SQLite's after its file was replaced, or was missing for a while.
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

// isForcedError reports whether a statement has undone itself, see postgresSave.
func isForcedError(err error) bool { return sqlState(err) == "22P02" }

// isTakenMessage reports whether the save of an item would have assigned a message to a
// second one.
func isTakenMessage(err error) bool {
	state := sqlState(err)
	return state == "23505" || state == "" && strings.Contains(err.Error(), "UNIQUE constraint failed")
}

// sqlState returns the code of an error that PostgreSQL reported, else "".
func sqlState(err error) string {
	var reported interface{ SQLState() string }
	if errors.As(err, &reported) {
		return reported.SQLState()
	}
	return ""
}
