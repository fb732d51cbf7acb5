package sqlstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

// Put implements [outbox.Store].
func (s *Store) Put(ctx context.Context, business chats.BusinessID, items ...outbox.Item) error {
	batch, err := newPutBatch(business, items)
	if err != nil || len(batch.items) == 0 {
		return err
	}
	// The transaction has no timeout, because files may be large.
	err = s.inTx(ctx, 0, func(ctx context.Context, conn *sql.Conn) error { return s.putBatch(ctx, conn, batch) })
	return s.errorf(err, "putting items of business %d", business)
}

// PutTx adds items to the outbox of a business within the caller's transaction: the items are
// queued if the transaction is committed, and not added otherwise. The items are checked as in
// [outbox.Outbox.Put]. The caller must roll back after any error, including [outbox.ErrKeyReused].
//
// The process that serves the business usually finds the items within about a second of the commit
// (see [outbox.Outbox.Put]). Items put by concurrent transactions are posted in no particular
// order, even if they belong to the same chat.
//
// On PostgreSQL, PutTx waits for concurrent transactions that put items with the same keys. Of
// concurrent serializable transactions that put items of one business, all but one fail with a
// serialization failure (SQLSTATE 40001), perhaps only at commit. Retry those transactions.
//
// On SQLite, set a busy timeout, so that PutTx waits for other connections that are writing. A
// transaction that reads before it writes must also be an immediate one (with modernc.org/sqlite,
// _txlock=immediate), because SQLite fails instead of waiting if it is not.
func (s *Store) PutTx(ctx context.Context, tx *sql.Tx, business chats.BusinessID, items ...outbox.Item) error {
	if tx == nil {
		return badArgument("tx", "must not be nil")
	}
	batch, err := newPutBatch(business, items)
	if err != nil || len(batch.items) == 0 {
		return err
	}
	return s.errorf(s.putBatch(ctx, tx, batch), "putting items of business %d", business)
}

type putBatch struct {
	business chats.BusinessID
	items    []outbox.Item
	digests  map[string]string
	rows     string // JSON
}

func newPutBatch(business chats.BusinessID, items []outbox.Item) (*putBatch, error) {
	if business <= 0 {
		return nil, badArgument("business", "must be greater than 0")
	}
	items, err := outbox.CheckItems(items)
	if err != nil {
		return nil, err
	}
	batch := &putBatch{business: business, items: items, digests: make(map[string]string, len(items))}
	rows := make([][]any, len(items))
	for n := range items {
		item := &items[n]
		digest := item.Digest()
		batch.digests[item.Key] = hex.EncodeToString(digest[:])
		rows[n] = []any{
			n + 1, item.Key, item.Chat, batch.digests[item.Key], item.Text, item.FileName, len(item.File), micros(item.NotAfter),
		}
	}
	document, err := json.Marshal(rows)
	batch.rows = string(document)
	return batch, err
}

// putBatch inserts new items and compares those that exist. The rows are inserted in the order of
// their keys, so that no two transactions wait for each other.
func (s *Store) putBatch(ctx context.Context, q querier, batch *putBatch) error {
	// The time preserves the order even if the isolation level hides the last position. The
	// statement is the first one, because SQLite fails instead of waiting for another writer if the
	// transaction has read before.
	inserted, err := queryOn(ctx, q, scanValue[string], s.sql(`INSERT INTO {p}outbox
		(business, key, chat, position, version, digest, text, file_name, file_size, not_after,
			state, due_at, error, attempts, queued_at, reported, data)
		SELECT CAST(?1 AS BIGINT), i.key, i.chat, CASE WHEN b.last > b.now THEN b.last ELSE b.now END + i.n, 1, i.digest, i.text,
			i.file_name, i.file_size, i.not_after, 'queued', 0, '', 0, b.now, FALSE, '{}'
		FROM (SELECT COALESCE(max(position), 0) AS last, {now} AS now FROM {p}outbox WHERE business = CAST(?1 AS BIGINT)) AS b,
			`+s.db.dialect.records("?2", putColumns)+` WHERE TRUE ORDER BY i.key
		ON CONFLICT (business, key) DO NOTHING RETURNING key`),
		int64(batch.business), batch.rows)
	if err != nil {
		return err
	}
	if len(inserted) < len(batch.items) {
		if err := s.compareDigests(ctx, q, batch); err != nil {
			return err
		}
	}
	return s.putFiles(ctx, q, batch, inserted)
}

var errDeleted = errors.New("an item with the same key was being deleted; put it again")

// compareDigests returns an error unless the existing items have the same content.
func (s *Store) compareDigests(ctx context.Context, q querier, batch *putBatch) error {
	stored, err := queryOn(ctx, q, func(from scanner) (row [2]string, err error) {
		err = from.Scan(&row[0], &row[1])
		return row, err
	}, s.sql(`SELECT key, digest FROM {p}outbox WHERE business = ?1 AND key IN (SELECT i.key FROM `+
		s.db.dialect.records("?2", putColumns)+`)`), int64(batch.business), batch.rows)
	if err != nil {
		return err
	}
	if len(stored) < len(batch.items) {
		return errDeleted
	}
	for _, row := range stored {
		if batch.digests[row[0]] != row[1] {
			return outbox.ErrKeyReused
		}
	}
	return nil
}

func (s *Store) putFiles(ctx context.Context, q querier, batch *putBatch, inserted []string) error {
	for n := range batch.items {
		item := &batch.items[n]
		if !item.IsFile() || !slices.Contains(inserted, item.Key) {
			continue
		}
		_, err := q.ExecContext(ctx, s.sql(`INSERT INTO {p}outbox_files (business, key, content) VALUES (?1, ?2, ?3)`),
			int64(batch.business), item.Key, item.File)
		if err != nil {
			return err
		}
	}
	return nil
}
