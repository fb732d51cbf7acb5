package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

const (
	maxConcurrency   = 4                // connections used by one Store
	connectTimeout   = 10 * time.Second // for getting a connection from the pool
	statementTimeout = 10 * time.Second // for a statement on that connection
	rollbackTimeout  = 2 * time.Second
	driverGrace      = 500 * time.Millisecond // for a driver to notice that its context is done
	lockWaitTimeout  = 10 * time.Second       // while other connections have the database locked
	maxLockBackoff   = 25 * time.Millisecond
)

// database runs statements on a pool, with limited concurrency.
type database struct {
	pool    *sql.DB
	dialect Dialect
	endless chan struct{} // held by statements without a timeout
	line    chan struct{} // held by all statements except those of Acquire and Renew
	slots   chan struct{}
}

// newDatabase chooses the concurrency. SQLite gets one statement at a time, because it has one
// writer: if several found the file locked, some would starve. Otherwise, one slot is kept for
// Acquire and Renew, because the other statements may be waiting for rows that are locked, and
// another one for statements with a timeout.
func newDatabase(pool *sql.DB, dialect Dialect) *database {
	n := maxConcurrency
	if most := pool.Stats().MaxOpenConnections; most > 0 {
		n = min(n, most)
	}
	if dialect == SQLite {
		n = 1
	}
	return &database{pool, dialect, make(chan struct{}, max(1, n-2)), make(chan struct{}, max(1, n-1)), make(chan struct{}, n)}
}

// enter waits for a place in a queue. The caller leaves it by receiving from the queue.
func enter(ctx context.Context, queue chan struct{}) error {
	select {
	case queue <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run is runNext, but waits its turn behind earlier calls to run.
func run[T any](ctx context.Context, d *database, limit time.Duration, do func(context.Context, *sql.Conn) (T, error)) (none T, err error) {
	if limit == 0 {
		if err := enter(ctx, d.endless); err != nil {
			return none, err
		}
		defer func() { <-d.endless }()
	}
	if err := enter(ctx, d.line); err != nil {
		return none, err
	}
	defer func() { <-d.line }()
	return runNext(ctx, d, limit, do)
}

// runNext calls do with a connection. The limit, if it is not 0, is a timeout that starts once
// the connection is available. When it expires, runNext returns even if the driver does not. The
// result of do is then dropped, so do must not share variables with the caller.
//
// runNext calls do again while it fails because of a lock conflict or a stale connection.
func runNext[T any](ctx context.Context, d *database, limit time.Duration, do func(context.Context, *sql.Conn) (T, error)) (T, error) {
	var none T
	if err := enter(ctx, d.slots); err != nil {
		return none, err
	}
	defer func() { <-d.slots }()
	began := time.Now()
	// Each stale connection leaves the pool, so the last attempt has a new one. A pool behind the
	// driver, such as pgxpool, does not say how many it has.
	stale := max(d.pool.Stats().Idle, maxConcurrency)
	for backoff := time.Millisecond; ; {
		result, err := runOnce(ctx, d, limit, do)
		switch {
		case err == nil:
			return result, nil
		case isStaleConnection(err) && stale > 0:
			stale--
		case !isLockConflict(err):
			return none, err
		case time.Since(began) > lockWaitTimeout:
			return none, fmt.Errorf("the database has been locked by other connections for %v: %w", lockWaitTimeout, err)
		default:
			if wait.Sleep(ctx, backoff/2+rand.N(backoff)); ctx.Err() != nil {
				return none, fmt.Errorf("%w while waiting for a lock: %w", ctx.Err(), err)
			}
			backoff = min(2*backoff, maxLockBackoff)
		}
	}
}

// runOnce calls do once. It waits at most connectTimeout for a connection, because the rest of
// the program may be holding all connections of the pool.
func runOnce[T any](ctx context.Context, d *database, limit time.Duration, do func(context.Context, *sql.Conn) (T, error)) (T, error) {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(connectTimeout, cancel)
	defer timer.Stop()
	var connected atomic.Bool
	result, err := await(limited, func() (result T, err error) {
		conn, err := d.pool.Conn(limited)
		if err != nil {
			return result, err
		}
		defer conn.Close() //nolint:errcheck // it returns to the pool, or was discarded

		if !timer.Stop() || limited.Err() != nil { // the connection came too late
			cancel()
			return result, limited.Err()
		}
		connected.Store(true)
		if limit > 0 {
			timer.Reset(limit)
		}
		result, err = do(limited, conn)
		if err != nil && isStaleConnection(err) {
			if sqlState(err) == "25006" { // a pool behind the driver closes a connection only within a transaction
				_, _ = conn.ExecContext(limited, `BEGIN`)
			}
			discard(conn)
		}
		return result, err
	})
	switch { // the errors wrap no context error, which would mean that the caller's context has ended
	case err == nil || limited.Err() == nil || ctx.Err() != nil:
		return result, err
	case connected.Load():
		return result, fmt.Errorf("no response from the database within %v", limit)
	default:
		return result, fmt.Errorf("no connection to the database within %v (%d in use)", connectTimeout, d.pool.Stats().InUse)
	}
}

// await calls do in a separate goroutine and returns its result. If do does not return within
// driverGrace after the end of ctx, await returns the error of ctx.
func await[T any](ctx context.Context, do func() (T, error)) (result T, err error) {
	done := make(chan struct{})
	var doResult T
	var doErr error
	go func() {
		doResult, doErr = do()
		close(done)
	}()
	select {
	case <-done:
		return doResult, doErr
	case <-ctx.Done():
	}
	timer := time.NewTimer(driverGrace)
	defer timer.Stop()
	select {
	case <-done:
		return doResult, doErr
	case <-timer.C:
		return result, ctx.Err()
	}
}

// inTx calls do within a transaction. It also rolls back if BEGIN fails, because a driver may
// report the end of ctx although the transaction has begun.
func (d *database) inTx(ctx context.Context, conn *sql.Conn, do func() error) error {
	_, err := conn.ExecContext(ctx, d.dialect.begin())
	if err == nil {
		err = do()
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, `COMMIT`)
	}
	if err != nil {
		rollback(ctx, conn)
	}
	return err
}

// rollback ends the transaction of a connection, even if ctx is done. It keeps the connection
// if SQLite has already rolled back, because an in-memory database ends with its connection.
func rollback(ctx context.Context, conn *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if _, err := conn.ExecContext(ctx, `ROLLBACK`); err != nil && !strings.Contains(err.Error(), "no transaction is active") {
		discard(conn)
	}
}

// discard makes the pool close a connection instead of reusing it.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}
