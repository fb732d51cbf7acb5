package sqlstore

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

var _ outbox.Store = (*Store)(nil)

// outboxDocument is the content of the column data: fields that no statement queries.
type outboxDocument struct {
	Failures   int               `json:"failures,omitempty"`
	Refusals   int               `json:"refusals,omitempty"`
	Reports    int               `json:"reports,omitempty"`
	StatusCode int               `json:"status_code,omitempty"`
	Details    []chats.Detail    `json:"details,omitempty"`
	Token      int64             `json:"token,omitempty"`
	Baseline   []chats.MessageID `json:"baseline,omitempty"`
	Floor      chats.MessageID   `json:"floor,omitempty"`
	Accepted   bool              `json:"accepted,omitempty"`
	Message    chats.Message     `json:"message,omitzero"`
}

const itemColumns = `o.business, o.key, o.chat, o.position, o.version, o.text, o.file_name, o.file_size, o.not_after, o.state,
	NULLIF(o.due_at, 0), o.error, o.attempts, o.first_attempt, o.last_attempt, o.queued_at, o.settled_at, o.reported, o.data`

// scanItem scans itemColumns, the chat's last message, and the file.
func scanItem(from scanner) (r outbox.Record, err error) {
	var reason, data string
	err = from.Scan(
		&r.Business, &r.Item.Key, &r.Item.Chat, &r.Position, &r.Version, &r.Item.Text, &r.Item.FileName, &r.FileSize,
		(*storedTime)(&r.Item.NotAfter), &r.State, (*storedTime)(&r.DueAt), &reason, &r.Attempts, (*storedTime)(&r.FirstAttempt),
		(*storedTime)(&r.LastAttempt), (*storedTime)(&r.QueuedAt), (*storedTime)(&r.SettledAt), &r.Reported, &data,
		&r.LastMessage, &r.Item.File)
	if err != nil {
		return r, err
	}
	var d outboxDocument
	err = json.Unmarshal([]byte(data), &d)
	r.Failures, r.Refusals, r.Reports, r.Token, r.Accepted, r.Message = d.Failures, d.Refusals, d.Reports, d.Token, d.Accepted, d.Message
	r.Baseline, r.Floor = d.Baseline, d.Floor
	if reason != "" {
		r.Failure = &outbox.Failure{Reason: reason, StatusCode: d.StatusCode, Details: d.Details}
	}
	return r, err
}

// Item implements [outbox.Store].
func (s *Store) Item(ctx context.Context, business chats.BusinessID, key string) (outbox.Record, error) {
	return queryOne(ctx, s, scanItem, outbox.ErrUnknownKey,
		`SELECT `+itemColumns+`, 0, NULL FROM {p}outbox AS o WHERE o.business = ?1 AND o.key = ?2`, int64(business), key)
}

// Head implements [outbox.Store] in one statement, including the file.
func (s *Store) Head(ctx context.Context, business chats.BusinessID, chat chats.ChatID) (outbox.Record, error) {
	return queryOne(ctx, s, scanItem, outbox.ErrUnknownKey, `SELECT `+itemColumns+`,
		COALESCE((SELECT max(m.message) FROM {p}outbox AS m WHERE m.business = ?1 AND m.chat = ?2 AND m.message IS NOT NULL), 0), f.content
		FROM {p}outbox AS o LEFT JOIN {p}outbox_files AS f ON f.business = o.business AND f.key = o.key
		WHERE o.business = ?1 AND o.chat = ?2 AND o.`+isOpenItem+` ORDER BY o.position, o.key LIMIT 1`, int64(business), int64(chat))
}

// selectBacklog finds each chat through the index, so its cost depends on the number of chats,
// not on the number of items.
const selectBacklog = `WITH RECURSIVE c(chat) AS (
		SELECT min(chat) FROM {p}outbox WHERE business = ?1 AND ` + isOpenItem + `
		UNION ALL
		SELECT (SELECT min(chat) FROM {p}outbox WHERE business = ?1 AND ` + isOpenItem + ` AND chat > c.chat) FROM c WHERE c.chat IS NOT NULL)
	SELECT 'head', h.chat, h.position, NULLIF(h.due_at, 0), h.file_name, CASE WHEN h.state = 'queued' THEN h.not_after END FROM c JOIN {p}outbox AS h ON h.business = ?1 AND h.key = (
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
	rows, err := query(ctx, s, func(from scanner) (r row, err error) {
		err = from.Scan(&r.kind, &r.Chat, &r.Position, (*storedTime)(&r.DueAt), &r.name, (*storedTime)(&r.NotAfter))
		r.IsFile = r.name != ""
		return r, err
	}, selectBacklog, int64(business), at.UnixMicro())
	if err != nil {
		return outbox.Backlog{}, err
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

// PostedAs implements [outbox.Store].
func (s *Store) PostedAs(
	ctx context.Context, business chats.BusinessID, chat chats.ChatID, above chats.MessageID,
) ([]chats.MessageID, error) {
	return query(ctx, s, scanValue[chats.MessageID],
		`SELECT message FROM {p}outbox WHERE business = ?1 AND chat = ?2 AND message IS NOT NULL AND message > ?3`,
		int64(business), int64(chat), int64(above))
}

// DeleteSettled implements [outbox.Store].
func (s *Store) DeleteSettled(ctx context.Context, business chats.BusinessID, before time.Time, limit int) (int, error) {
	n, err := s.exec(ctx, statementTimeout, `DELETE FROM {p}outbox WHERE business = ?1 AND `+isDisposable+` AND key IN (
		SELECT key FROM {p}outbox WHERE business = ?1 AND `+isDisposable+` AND settled_at < ?2 ORDER BY settled_at LIMIT ?3)`,
		int64(business), before.UnixMicro(), limit)
	return int(n), s.errorf(err, "deleting items of business %d", business)
}

// Counts implements [outbox.Store].
func (s *Store) Counts(ctx context.Context, business chats.BusinessID) (outbox.Summary, error) {
	sum, err := queryOne(ctx, s, func(from scanner) (sum outbox.Summary, err error) {
		err = from.Scan(&sum.Uncertain, &sum.Failed, &sum.Unreported, &sum.LastError, &sum.Queued, &sum.Sending, (*storedTime)(&sum.Oldest))
		return sum, err
	}, nil, `SELECT
		(SELECT count(*) FROM {p}outbox WHERE business = ?1 AND `+isTroubledItem+` AND state = 'uncertain'),
		(SELECT count(*) FROM {p}outbox WHERE business = ?1 AND `+isTroubledItem+` AND state = 'failed'),
		(SELECT count(*) FROM {p}outbox WHERE business = ?1 AND `+isUnreported+`),
		COALESCE((SELECT error FROM {p}outbox WHERE business = ?1 AND `+isOpenItem+` AND error <> '' ORDER BY due_at DESC LIMIT 1), ''),
		count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'sending'), min(queued_at)
		FROM {p}outbox WHERE business = ?1 AND `+isOpenItem, int64(business))
	if err != nil {
		return outbox.Summary{}, err
	}
	sum.Holder, sum.HeldSince, err = s.holder(ctx, business, outbox.Purpose)
	return sum, err
}

// SaveItem implements [outbox.Store]. After any error other than [outbox.ErrConflict],
// [outbox.ErrMessageTaken] and [inbox.ErrLeaseLost] the record may or may not have been saved.
func (s *Store) SaveItem(ctx context.Context, lease inbox.Lease, record *outbox.Record) error {
	if lease.Business != record.Business {
		return inbox.ErrLeaseLost
	}
	return s.saveItem(ctx, record, isLease, leaseArgs(lease))
}

// ResolveItem implements [outbox.Store].
func (s *Store) ResolveItem(ctx context.Context, record *outbox.Record) error {
	return s.saveItem(ctx, record, "", []any{int64(record.Business)})
}
