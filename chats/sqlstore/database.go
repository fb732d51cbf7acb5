package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/wait"
)

const (
	maxConcurrency   = 4                // connections in use by one Store
	connectTimeout   = 10 * time.Second // for a connection of the pool
	statementTimeout = 10 * time.Second // from then on
	rollbackTimeout  = 2 * time.Second
	driverGrace      = 500 * time.Millisecond // for a driver to notice that its context has ended
	lockWaitTimeout  = 10 * time.Second       // while others have the database locked
	maxLockBackoff   = 25 * time.Millisecond
)

// database runs statements on a pool, a few at a time.
type database struct {
	pool    *sql.DB
	dialect Dialect
	line    chan struct{} // for all statements but those of leases, so that these do not wait behind many
	slots   chan struct{}
}

// newDatabase chooses the concurrency. One statement at a time is enough for SQLite,
// which has one writer: of several that find the file locked some would starve.
func newDatabase(pool *sql.DB, dialect Dialect) *database {
	n := maxConcurrency
	if most := pool.Stats().MaxOpenConnections; most > 0 {
		n = min(n, most)
	}
	if dialect == SQLite {
		n = 1
	}
	return &database{pool, dialect, make(chan struct{}, n), make(chan struct{}, n)}
}

// run calls do like runNext, but in line: it waits behind all others that called it before.
func run[T any](ctx context.Context, d *database, limit time.Duration, do func(context.Context, *sql.Conn) (T, error)) (T, error) {
	select {
	case d.line <- struct{}{}:
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	defer func() { <-d.line }()
	return runNext(ctx, d, limit, do)
}

// runNext calls do with a connection. The timeout, if it is not 0, starts once the connection
// is available. When it expires, runNext returns even if the driver does not. The result of do
// is then dropped, so do must share nothing with the caller.
//
// do is called again while it fails with a lock conflict or on a connection that is
// stale.
func runNext[T any](ctx context.Context, d *database, limit time.Duration, do func(context.Context, *sql.Conn) (T, error)) (T, error) {
	var none T
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	defer func() { <-d.slots }()
	began := time.Now()
	// Each stale connection leaves the pool, so the last attempt has a new one.
	stale := d.pool.Stats().Idle
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
			return none, fmt.Errorf("the database has been locked by others for %v: %w", lockWaitTimeout, err)
		default:
			if wait.Sleep(ctx, backoff/2+rand.N(backoff)); ctx.Err() != nil {
				return none, fmt.Errorf("%w while waiting for a lock: %w", ctx.Err(), err)
			}
			backoff = min(2*backoff, maxLockBackoff)
		}
	}
}

// runOnce calls do. Its wait for a connection of the pool ends after connectTimeout, because
// the caller's program may be holding all of them.
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
		defer conn.Close() //nolint:errcheck // it goes back to the pool, or was discarded

		if !timer.Stop() || limited.Err() != nil { // it came too late
			cancel()
			return result, limited.Err()
		}
		connected.Store(true)
		if limit > 0 {
			timer.Reset(limit)
		}
		result, err = do(limited, conn)
		if err != nil && isStaleConnection(err) {
			discard(conn)
		}
		return result, err
	})
	switch {
	case err == nil || limited.Err() == nil || ctx.Err() != nil:
		return result, err
	case connected.Load():
		return result, timeoutError(fmt.Sprintf("no response from the database within %v", limit), err)
	default:
		text := fmt.Sprintf("no connection to the database within %v (%d in use)", connectTimeout, d.pool.Stats().InUse)
		return result, timeoutError(text, err)
	}
}

// timeoutError is not a context error, because those are reserved for the caller's context.
func timeoutError(text string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", text, err)
}

// await calls do in a separate goroutine and returns its result. If do does not return soon
// after the end of ctx, await returns without it.
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

// inTx calls do within a transaction. A driver may report the end of ctx although the
// transaction has begun.
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

// rollback leaves no transaction on a connection of the pool, whether or not ctx has
// ended. SQLite may have rolled back by itself; the connection may be all of its database.
func rollback(ctx context.Context, conn *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	if _, err := conn.ExecContext(ctx, `ROLLBACK`); err != nil && !strings.Contains(err.Error(), "no transaction is active") {
		discard(conn)
	}
}

// discard makes the pool close a connection instead of using it again.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}
