package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

const (
	// patience is how long a call goes on trying while another process has the
	// database locked. It does not rely on a driver's busy timeout, which is often
	// zero unless the caller sets it.
	patience = 10 * time.Second
	maxPause = 100 * time.Millisecond
)

// retry repeats do while it fails because another one was at it, in which case the
// database has changed nothing.
func retry(ctx context.Context, do func() error) error {
	began := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, maxPause) {
		err := do()
		if err == nil || !contended(err) {
			return err
		}
		if time.Since(began) > patience {
			return fmt.Errorf("others have kept the database locked for %v; see who holds it open, then try again: %w", patience, err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return fmt.Errorf("%w while waiting for a lock: %w", ctx.Err(), err)
		}
	}
}

// contended tells whether the database refused because of another connection. The
// drivers share no type for it: PostgreSQL's have the standard's codes, SQLite's
// the texts of its error messages.
func contended(err error) bool {
	switch sqlState(err) {
	case "40001", "40P01": // serialization failure, where that is the default; deadlock
		return true
	case "":
		text := err.Error()
		return strings.Contains(text, " is locked") || strings.Contains(text, "SQLITE_BUSY")
	default:
		return false
	}
}

// sqlState is the code of an error that PostgreSQL itself reported, and empty for
// every other.
func sqlState(err error) string {
	var reported interface{ SQLState() string }
	if errors.As(err, &reported) {
		return reported.SQLState()
	}
	return ""
}
