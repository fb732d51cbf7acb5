package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// isLease is an SQL condition that row l is the given lease and that the lease is valid. Its
// parameters are leaseArgs.
const isLease = `l.business = CAST(?1 AS BIGINT) AND l.purpose = ?2 AND l.holder = ?3 AND l.token = ?4 AND l.expires_at > {now}`

func leaseArgs(lease inbox.Lease) []any {
	return []any{int64(lease.Business), lease.Purpose, lease.Holder, lease.Token}
}

// isHeld is an SQL condition that the lease in row l may not be taken by another holder. A
// renewal in the future shows that the database's clock was set back; such a lease does not
// count as held, because it would outlive its holder.
const isHeld = `l.expires_at > {now} AND l.renewed_at <= {now} + (l.expires_at - l.renewed_at)`

// Acquire implements [inbox.Store]. After any error other than [inbox.ErrLeaseHeld] the lease
// may have been acquired; it is then free again after its duration.
func (s *Store) Acquire(ctx context.Context, business chats.BusinessID, purpose, holder string) (inbox.Lease, error) {
	lease, _, err := s.acquire(ctx, business, purpose, holder, false)
	return lease, err
}

// AcquireBusiness implements [inbox.StepStore], in one statement on PostgreSQL.
func (s *Store) AcquireBusiness(
	ctx context.Context, business chats.BusinessID, purpose, holder string,
) (inbox.Lease, inbox.BusinessState, error) {
	return s.acquire(ctx, business, purpose, holder, true)
}

func (s *Store) acquire(
	ctx context.Context, business chats.BusinessID, purpose, holder string, withRow bool,
) (inbox.Lease, inbox.BusinessState, error) {
	lease := inbox.Lease{Business: business, Purpose: purpose, Holder: holder, Duration: s.lease}
	if holder == "" { // which would mean that the lease is free
		return inbox.Lease{}, inbox.BusinessState{}, badArgument("holder", "must not be empty")
	}
	got, err := runNext(ctx, s.db, s.leaseTimeout(lease), func(ctx context.Context, conn *sql.Conn) (taken, error) {
		for {
			got, err := s.take(ctx, conn, lease, withRow)
			if !errors.Is(err, sql.ErrNoRows) {
				return got, err
			}
		}
	})
	if err != nil {
		return inbox.Lease{}, got.state, s.errorf(err, "acquiring the lease of business %d", business)
	}
	lease.Token = got.token
	if withRow && s.db.dialect == SQLite { // apart, because a retry after a lock conflict would find the lease taken
		if got.state, err = s.Business(ctx, business); err != nil {
			_ = s.Release(context.WithoutCancel(ctx), lease)
		}
	}
	return lease, got.state, err
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

// holder returns the holder of a lease and when it acquired the lease. The holder is empty if
// the lease is free.
func (s *Store) holder(ctx context.Context, business chats.BusinessID, purpose string) (holder string, since time.Time, err error) {
	held, err := queryOne(ctx, s, scanHeld, nil, selectHeld, int64(business), purpose)
	if held == nil {
		return "", time.Time{}, err
	}
	return held.Holder, held.Since, err
}

// takeLease inserts or updates no row while the lease is held. A token is at least the current
// time, so that it increases even if Forget has deleted the row.
const takeLease = `INSERT INTO {p}leases AS l (business, purpose, holder, token, acquired_at, renewed_at, expires_at)
	SELECT CAST(?1 AS BIGINT), CAST(?2 AS TEXT), CAST(?3 AS TEXT), {now}, {now}, {now}, {now} + CAST(?4 AS BIGINT)
	WHERE NOT EXISTS (SELECT 1 FROM held)%s
	ON CONFLICT (business, purpose) DO UPDATE SET holder = excluded.holder,
		token = CASE WHEN excluded.token > l.token THEN excluded.token ELSE l.token + 1 END,
		acquired_at = {now}, renewed_at = {now}, expires_at = {now} + CAST(?4 AS BIGINT)
	WHERE NOT (` + isHeld + `) RETURNING token`

// taken is a lease's token and, if requested, the business's row.
type taken struct {
	token int64
	state inbox.BusinessState
}

// The statements that take a lease. Those for PostgreSQL also return its holder. The last one
// locks the business's row before it takes the lease, in the order of a Save, so it reads what
// earlier holders have left. A standby, which takes nothing, locks nothing.
var (
	takeSQLite = `WITH held AS (` + selectHeld + `) ` + fmt.Sprintf(takeLease, "")
	takeHeld   = `WITH held AS (` + selectHeld + `), taken AS (` + fmt.Sprintf(takeLease, "") + `)
		SELECT token, '', 0, 0 FROM taken UNION ALL SELECT 0, holder, acquired_at, remaining FROM held`
	takeWithBusiness = `WITH held AS (` + selectHeld + `),
		b AS (SELECT ` + list(businessColumns, "") + ` FROM {p}inbox_businesses
			WHERE business = ?1 AND NOT EXISTS (SELECT 1 FROM held) FOR SHARE),
		taken AS (` + fmt.Sprintf(takeLease, ` AND (SELECT count(*) FROM b) < 2`) + `)
		SELECT token, '', 0, 0, COALESCE(version, 0), start_time, COALESCE(last_error, ''), last_error_at, COALESCE(state, '{}'), ` + nextDue + `
			FROM taken LEFT JOIN b ON TRUE
		UNION ALL SELECT 0, holder, acquired_at, remaining, 0, NULL, '', NULL, '{}', NULL FROM held`
)

// take takes a lease, in one statement on PostgreSQL. It returns a LeaseHeldError if the lease
// is held, or sql.ErrNoRows if another holder came first. The attempts of a standby do not write
// to the database.
func (s *Store) take(ctx context.Context, conn *sql.Conn, lease inbox.Lease, withRow bool) (got taken, err error) {
	args := []any{int64(lease.Business), lease.Purpose, lease.Holder, lease.Duration.Microseconds()}
	if s.db.dialect == SQLite {
		held, err := queryOn(ctx, conn, scanHeld, s.sql(selectHeld), args[:2]...)
		switch {
		case err != nil:
			return got, err
		case len(held) > 0:
			return got, held[0]
		}
		err = conn.QueryRowContext(ctx, s.sql(takeSQLite), args...).Scan(&got.token)
		return got, err
	}
	var held inbox.LeaseHeldError
	var left int64
	query := takeHeld
	scan := func(from scanner) (inbox.BusinessState, error) { return got.state, from.Scan() }
	if withRow {
		query, scan = takeWithBusiness, scanBusiness
	}
	row := conn.QueryRowContext(ctx, s.sql(query), args...)
	got.state, err = scan(after{row, []any{&got.token, &held.Holder, (*storedTime)(&held.Since), &left}})
	if err != nil || held.Holder == "" {
		return got, err
	}
	held.ExpiresIn = time.Duration(left) * time.Microsecond
	return got, &held
}

// after scans additional columns before those of the caller.
type after struct {
	scanner

	before []any
}

// Scan implements [scanner].
func (a after) Scan(dest ...any) error { return a.scanner.Scan(append(a.before, dest...)...) }

// Renew implements [inbox.Store] in one statement.
func (s *Store) Renew(ctx context.Context, lease inbox.Lease) (next time.Time, err error) {
	due, err := runNext(ctx, s.db, s.leaseTimeout(lease), func(ctx context.Context, conn *sql.Conn) (due storedTime, err error) {
		err = conn.QueryRowContext(ctx, s.sql(`UPDATE {p}leases AS l SET renewed_at = {now}, expires_at = {now} + CAST(?5 AS BIGINT)
			WHERE `+isLease+`
			RETURNING `+nextDue),
			append(leaseArgs(lease), lease.Duration.Microseconds())...).Scan(&due)
		if errors.Is(err, sql.ErrNoRows) {
			err = inbox.ErrLeaseLost
		}
		return due, err
	})
	return time.Time(due), s.errorf(err, "renewing the lease of business %d", lease.Business)
}

const release = `UPDATE {p}leases AS l SET expires_at = 0 WHERE ` + isLease

// Release implements [inbox.Store]. If Release fails, the lease expires after its duration.
func (s *Store) Release(ctx context.Context, lease inbox.Lease) error {
	_, err := s.exec(ctx, s.leaseTimeout(lease), release, leaseArgs(lease)...)
	return s.errorf(err, "releasing the lease of business %d", lease.Business)
}

// leaseTimeout leaves time for a second attempt before the lease expires.
func (s *Store) leaseTimeout(lease inbox.Lease) time.Duration {
	return min(statementTimeout, max(lease.Duration/2, minLeaseDuration/2))
}
