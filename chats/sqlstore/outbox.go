package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

var _ outbox.Store = (*Store)(nil)

// outboxError adds what failed to an error, except to the sentinels of package outbox.
func (s *Store) outboxError(err error, format string, args ...any) error {
	switch {
	case err == nil:
		return nil
	case isTakenMessage(err):
		return outbox.ErrMessageTaken
	}
	for _, sentinel := range []error{outbox.ErrConflict, outbox.ErrKeyReused, outbox.ErrUnknownKey} {
		if errors.Is(err, sentinel) {
			return sentinel
		}
	}
	return s.errorf(err, format, args...)
}

// isTakenMessage reports whether a statement would have assigned a message to a second
// item; no other statement violates a unique index.
func isTakenMessage(err error) bool {
	state := sqlState(err)
	return state == "23505" || state == "" && strings.Contains(err.Error(), "UNIQUE constraint failed")
}

// outboxDocument is the content of the column data: fields that no statement queries.
type outboxDocument struct {
	Failures   int               `json:"failures,omitempty"`
	Reports    int               `json:"reports,omitempty"`
	StatusCode int               `json:"status_code,omitempty"`
	Details    []chats.Detail    `json:"details,omitempty"`
	Token      int64             `json:"token,omitempty"`
	Baseline   []chats.MessageID `json:"baseline,omitempty"`
	Floor      chats.MessageID   `json:"floor,omitempty"`
	Accepted   bool              `json:"accepted,omitempty"`
	Message    chats.Message     `json:"message,omitzero"`
}

const itemColumns = `o.business, o.key, o.chat, o.position, o.version, o.text, o.file_name, o.file_size, o.not_after, o.state, o.due_at,
	o.error, o.attempts, o.first_attempt, o.last_attempt, o.message, o.queued_at, o.settled_at, o.reported, o.data`

// scanItem scans itemColumns, and then what more points to.
func scanItem(from scanner, more ...any) (outbox.Record, error) {
	var r outbox.Record
	var due, queued int64
	var notAfter, first, last, message, settled *int64
	var reason, data string
	err := from.Scan(append([]any{
		&r.Business, &r.Item.Key, &r.Item.Chat, &r.Position, &r.Version, &r.Item.Text, &r.Item.FileName, &r.FileSize, &notAfter,
		&r.State, &due, &reason, &r.Attempts, &first, &last, &message, &queued, &settled, &r.Reported, &data,
	}, more...)...)
	if err != nil {
		return r, err
	}
	var d outboxDocument
	if err := json.Unmarshal([]byte(data), &d); err != nil {
		return r, err
	}
	r.Item.NotAfter, r.FirstAttempt, r.LastAttempt = timeOf(notAfter), timeOf(first), timeOf(last)
	r.QueuedAt, r.SettledAt, r.DueAt = timeOf(&queued), timeOf(settled), dueTime(due)
	r.Failures, r.Reports, r.Token, r.Accepted, r.Message = d.Failures, d.Reports, d.Token, d.Accepted, d.Message
	r.Baseline, r.Floor = d.Baseline, d.Floor
	if message != nil {
		r.Message.ID = chats.MessageID(*message)
	}
	if reason != "" {
		r.Failure = &outbox.Failure{Reason: reason, StatusCode: d.StatusCode, Details: d.Details}
	}
	return r, nil
}

// In the column due_at, 0 means at once.
func dueTime(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return timeOf(&micros)
}

func dueMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Item implements [outbox.Store].
func (s *Store) Item(ctx context.Context, business chats.BusinessID, key string) (outbox.Record, error) {
	r, err := run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) (outbox.Record, error) {
		return scanItem(conn.QueryRowContext(ctx,
			s.sql(`SELECT `+itemColumns+` FROM {p}outbox AS o WHERE o.business = ?1 AND o.key = ?2`), int64(business), key))
	})
	return s.oneItem(r, err, business)
}

func (s *Store) oneItem(r outbox.Record, err error, business chats.BusinessID) (outbox.Record, error) {
	if errors.Is(err, sql.ErrNoRows) {
		err = outbox.ErrUnknownKey
	}
	if err != nil {
		return outbox.Record{}, s.outboxError(err, "reading an item of business %d", business)
	}
	return r, nil
}

// Head implements [outbox.Store] in one statement, the file included.
func (s *Store) Head(ctx context.Context, business chats.BusinessID, chat chats.ChatID) (outbox.Record, error) {
	r, err := run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) (outbox.Record, error) {
		var last *int64
		var file []byte
		r, err := scanItem(conn.QueryRowContext(ctx, s.sql(`SELECT `+itemColumns+`,
			(SELECT max(m.message) FROM {p}outbox AS m WHERE m.business = ?1 AND m.chat = ?2 AND m.message IS NOT NULL), f.content
			FROM {p}outbox AS o LEFT JOIN {p}outbox_files AS f ON f.business = o.business AND f.key = o.key
			WHERE o.business = ?1 AND o.chat = ?2 AND o.`+isOpenItem+` ORDER BY o.position, o.key LIMIT 1`),
			int64(business), int64(chat)), &last, &file)
		r.Item.File = file
		if last != nil {
			r.LastMessage = chats.MessageID(*last)
		}
		return r, err
	})
	return s.oneItem(r, err, business)
}

// selectBacklog finds the next chat by the index, so it takes as long as there are chats,
// however many items they have.
const selectBacklog = `WITH RECURSIVE c(chat) AS (
		SELECT min(chat) FROM {p}outbox WHERE business = ?1 AND ` + isOpenItem + `
		UNION ALL
		SELECT (SELECT min(chat) FROM {p}outbox WHERE business = ?1 AND ` + isOpenItem + ` AND chat > c.chat) FROM c WHERE c.chat IS NOT NULL)
	SELECT 'head', h.chat, h.position, h.due_at, h.file_name, CASE WHEN h.state = 'queued' THEN h.not_after END FROM c JOIN {p}outbox AS h ON h.business = ?1 AND h.key = (
		SELECT key FROM {p}outbox WHERE business = ?1 AND chat = c.chat AND ` + isOpenItem + ` ORDER BY position, key LIMIT 1)
	UNION ALL SELECT * FROM (SELECT 'report', chat, position, due_at, key, not_after FROM {p}outbox
		WHERE business = ?1 AND ` + isUnreported + ` AND due_at <= ?2 ORDER BY due_at, position LIMIT 100) AS due
	UNION ALL SELECT * FROM (SELECT 'later', chat, position, due_at, key, not_after FROM {p}outbox
		WHERE business = ?1 AND ` + isUnreported + ` AND due_at > ?2 ORDER BY due_at, position LIMIT 1) AS later`

// Backlog implements [outbox.Store] in one statement.
func (s *Store) Backlog(ctx context.Context, business chats.BusinessID, at time.Time) (outbox.Backlog, error) {
	type row struct {
		kind, name string
		outbox.Head
	}
	rows, err := run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) ([]row, error) {
		return queryRows(ctx, conn, func(from scanner) (r row, err error) {
			var due int64
			var notAfter *int64
			err = from.Scan(&r.kind, &r.Chat, &r.Position, &due, &r.name, &notAfter)
			r.DueAt, r.NotAfter, r.IsFile = dueTime(due), timeOf(notAfter), r.name != ""
			return r, err
		}, s.sql(selectBacklog), int64(business), at.UnixMicro())
	})
	if err != nil {
		return outbox.Backlog{}, s.outboxError(err, "reading the backlog of business %d", business)
	}
	var backlog outbox.Backlog
	for _, r := range rows {
		switch r.kind {
		case "head":
			backlog.Heads = append(backlog.Heads, r.Head)
		case "report":
			backlog.Unreported = append(backlog.Unreported, r.name)
		default:
			backlog.NextReport = r.DueAt
		}
	}
	return backlog, nil
}

func queryRows[T any](ctx context.Context, q querier, scan func(scanner) (T, error), statement string, args ...any) (all []T, err error) {
	rows, err := q.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err has what matters
	for rows.Next() {
		row, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// PostedAs implements [outbox.Store].
func (s *Store) PostedAs(
	ctx context.Context, business chats.BusinessID, chat chats.ChatID, above chats.MessageID,
) ([]chats.MessageID, error) {
	return query(ctx, s, func(from scanner) (id chats.MessageID, err error) {
		err = from.Scan(&id)
		return id, err
	}, `SELECT message FROM {p}outbox WHERE business = ?1 AND chat = ?2 AND message IS NOT NULL AND message > ?3`,
		int64(business), int64(chat), int64(above))
}

// DeleteSettled implements [outbox.Store].
func (s *Store) DeleteSettled(ctx context.Context, business chats.BusinessID, before time.Time, limit int) (int, error) {
	n, err := run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) (int64, error) {
		result, err := conn.ExecContext(ctx, s.sql(`DELETE FROM {p}outbox WHERE business = ?1 AND `+isDisposable+` AND key IN (
			SELECT key FROM {p}outbox WHERE business = ?1 AND `+isDisposable+` AND settled_at < ?2 ORDER BY settled_at LIMIT ?3)`),
			int64(business), before.UnixMicro(), limit)
		if err != nil {
			return 0, err
		}
		return result.RowsAffected()
	})
	return int(n), s.outboxError(err, "deleting items of business %d", business)
}

// Counts implements [outbox.Store].
func (s *Store) Counts(ctx context.Context, business chats.BusinessID) (outbox.Summary, error) {
	sum, err := run(ctx, s.db, statementTimeout, func(ctx context.Context, conn *sql.Conn) (outbox.Summary, error) {
		var sum outbox.Summary
		var oldest *int64
		var lastError *string
		err := conn.QueryRowContext(ctx, s.sql(`SELECT
			(SELECT count(*) FROM {p}outbox WHERE business = ?1 AND `+isTroubledItem+` AND state = 'uncertain'),
			(SELECT count(*) FROM {p}outbox WHERE business = ?1 AND `+isTroubledItem+` AND state = 'failed'),
			(SELECT count(*) FROM {p}outbox WHERE business = ?1 AND `+isUnreported+`),
			(SELECT error FROM {p}outbox WHERE business = ?1 AND `+isOpenItem+` AND error <> '' ORDER BY due_at DESC LIMIT 1),
			count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'sending'), min(queued_at)
			FROM {p}outbox WHERE business = ?1 AND `+isOpenItem), int64(business)).
			Scan(&sum.Uncertain, &sum.Failed, &sum.Unreported, &lastError, &sum.Queued, &sum.Sending, &oldest)
		if err != nil {
			return sum, err
		}
		sum.Oldest = timeOf(oldest)
		if lastError != nil {
			sum.LastError = *lastError
		}
		held, err := s.holder(ctx, conn, int64(business), outbox.Purpose)
		if held != nil {
			sum.Holder, sum.HeldSince = held.Holder, held.Since
		}
		return sum, err
	})
	if err != nil {
		return outbox.Summary{}, s.outboxError(err, "counting items of business %d", business)
	}
	return sum, nil
}

// SaveItem implements [outbox.Store]. After any error other than [outbox.ErrConflict],
// [outbox.ErrMessageTaken] and [inbox.ErrLeaseLost] the record may or may not have been
// saved.
func (s *Store) SaveItem(ctx context.Context, lease inbox.Lease, record *outbox.Record) error {
	if lease.Business != record.Business {
		return inbox.ErrLeaseLost
	}
	return s.saveItem(ctx, record, `SELECT 1 FROM {p}leases AS l WHERE `+isLease, leaseArgs(lease))
}

// ResolveItem implements [outbox.Store].
func (s *Store) ResolveItem(ctx context.Context, record *outbox.Record) error {
	return s.saveItem(ctx, record, "", []any{int64(record.Business)})
}
