package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// isLease is an SQL condition that is true if row l is the given lease and it is valid. Its
// parameters are leaseArgs.
const isLease = `l.business = CAST(?1 AS BIGINT) AND l.purpose = ?2 AND l.holder = ?3 AND l.token = ?4 AND l.expires_at > {now}`

func leaseArgs(lease inbox.Lease) []any {
	return []any{int64(lease.Business), lease.Purpose, lease.Holder, lease.Token}
}

// isHeld is an SQL condition that is true if the lease in row l may not be taken by another
// holder. A renewal that lies in the future shows that the database's clock was set back:
// such a lease would outlive its holder.
const isHeld = `l.expires_at > {now} AND l.renewed_at <= {now} + (l.expires_at - l.renewed_at)`

// Acquire implements [inbox.Store]. An attempt that fails, other than with
// [inbox.ErrLeaseHeld], may have taken the lease: it is free again after its duration.
func (s *Store) Acquire(ctx context.Context, business chats.BusinessID, purpose, holder string) (inbox.Lease, error) {
	lease := inbox.Lease{Business: business, Purpose: purpose, Holder: holder, Duration: s.lease}
	if err := checkLease(lease); err != nil {
		return inbox.Lease{}, err
	}
	token, err := runNext(ctx, s.db, s.leaseTimeout(lease), func(ctx context.Context, conn *sql.Conn) (int64, error) {
		for {
			token, err := s.take(ctx, conn, lease)
			if !errors.Is(err, sql.ErrNoRows) {
				return token, err
			}
		}
	})
	if err != nil {
		return inbox.Lease{}, s.errorf(err, "acquiring the lease of business %d", business)
	}
	lease.Token = token
	return lease, nil
}

func checkLease(lease inbox.Lease) error {
	switch {
	case lease.Business <= 0:
		return badArgument("business", "must be greater than 0")
	case lease.Purpose == "":
		return badArgument("purpose", "must not be empty")
	case lease.Holder == "":
		return badArgument("holder", "must not be empty")
	default:
		return nil
	}
}

const selectHeld = `SELECT l.holder, l.acquired_at, l.expires_at - {now} AS remaining FROM {p}leases AS l
	WHERE l.business = ?1 AND l.purpose = ?2 AND ` + isHeld

func scanHeld(from scanner) (*inbox.LeaseHeldError, error) {
	var held inbox.LeaseHeldError
	var left int64
	err := from.Scan(&held.Holder, (*storedTime)(&held.Since), &left)
	held.ExpiresIn = time.Duration(left) * time.Microsecond
	return &held, err
}

// holder returns the holder of a lease, and since when; an empty name if it is free.
func (s *Store) holder(ctx context.Context, business chats.BusinessID, purpose string) (holder string, since time.Time, err error) {
	held, err := queryOne(ctx, s, scanHeld, nil, selectHeld, int64(business), purpose)
	if held == nil {
		return "", time.Time{}, err
	}
	return held.Holder, held.Since, err
}

// takeLease inserts no row while the lease is held. A token is at least the time, so that
// it increases even if the row was deleted by Forget.
const takeLease = `INSERT INTO {p}leases AS l (business, purpose, holder, token, acquired_at, renewed_at, expires_at)
	SELECT CAST(?1 AS BIGINT), CAST(?2 AS TEXT), CAST(?3 AS TEXT), {now}, {now}, {now}, {now} + CAST(?4 AS BIGINT)
	WHERE NOT EXISTS (SELECT 1 FROM held)
	ON CONFLICT (business, purpose) DO UPDATE SET holder = excluded.holder,
		token = CASE WHEN excluded.token > l.token THEN excluded.token ELSE l.token + 1 END,
		acquired_at = {now}, renewed_at = {now}, expires_at = {now} + CAST(?4 AS BIGINT)
	WHERE NOT (` + isHeld + `) RETURNING token`

// take returns a LeaseHeldError, or sql.ErrNoRows if another holder came first. A standby's
// attempts do not write to the database. On PostgreSQL it is one statement.
func (s *Store) take(ctx context.Context, conn *sql.Conn, lease inbox.Lease) (token int64, err error) {
	args := []any{int64(lease.Business), lease.Purpose, lease.Holder, lease.Duration.Microseconds()}
	if s.db.dialect == SQLite {
		held, err := queryOn(ctx, conn, scanHeld, s.sql(selectHeld), args[:2]...)
		switch {
		case err != nil:
			return 0, err
		case len(held) > 0:
			return 0, held[0]
		}
		err = conn.QueryRowContext(ctx, s.sql(`WITH held AS (`+selectHeld+`) `+takeLease), args...).Scan(&token)
		return token, err
	}
	var held inbox.LeaseHeldError
	var left int64
	err = conn.QueryRowContext(ctx, s.sql(`WITH held AS (`+selectHeld+`), taken AS (`+takeLease+`)
		SELECT token, '', 0, 0 FROM taken UNION ALL SELECT 0, holder, acquired_at, remaining FROM held`), args...).
		Scan(&token, &held.Holder, (*storedTime)(&held.Since), &left)
	if err != nil || held.Holder == "" {
		return token, err
	}
	held.ExpiresIn = time.Duration(left) * time.Microsecond
	return 0, &held
}

// Renew implements [inbox.Store] in one statement.
func (s *Store) Renew(ctx context.Context, lease inbox.Lease) (next time.Time, err error) {
	due, err := runNext(ctx, s.db, s.leaseTimeout(lease), func(ctx context.Context, conn *sql.Conn) (due storedTime, err error) {
		err = conn.QueryRowContext(ctx, s.sql(`UPDATE {p}leases AS l SET renewed_at = {now}, expires_at = {now} + CAST(?5 AS BIGINT)
			WHERE `+isLease+`
			RETURNING (SELECT min(due_at) FROM {p}inbox_chats WHERE business = ?1 AND due_at IS NOT NULL)`),
			append(leaseArgs(lease), lease.Duration.Microseconds())...).Scan(&due)
		if errors.Is(err, sql.ErrNoRows) {
			err = inbox.ErrLeaseLost
		}
		return due, err
	})
	return time.Time(due), s.errorf(err, "renewing the lease of business %d", lease.Business)
}

// Release implements [inbox.Store]. If it fails, the lease ends by itself after its
// duration.
func (s *Store) Release(ctx context.Context, lease inbox.Lease) error {
	_, err := s.exec(ctx, s.leaseTimeout(lease), `UPDATE {p}leases AS l SET expires_at = 0 WHERE `+isLease, leaseArgs(lease)...)
	return s.errorf(err, "releasing the lease of business %d", lease.Business)
}

// leaseTimeout leaves time for a second attempt before the lease expires.
func (s *Store) leaseTimeout(lease inbox.Lease) time.Duration {
	return min(statementTimeout, max(lease.Duration/2, minLeaseDuration/2))
}
