package main

import (
	"context"

	"github.com/ymchats/ymchats-go/chats"
)

// createTables is the SQL that creates this program's own tables. In production, encrypt the keys.
const createTables = `
	CREATE TABLE IF NOT EXISTS shops (business BIGINT PRIMARY KEY, key TEXT NOT NULL);
	CREATE TABLE IF NOT EXISTS messages (
		business BIGINT NOT NULL,
		chat     BIGINT NOT NULL,
		message  BIGINT NOT NULL,
		sender   TEXT   NOT NULL,
		text     TEXT   NOT NULL,
		worker   TEXT   NOT NULL DEFAULT current_setting('application_name'),
		at       TIMESTAMPTZ NOT NULL DEFAULT now(),
		PRIMARY KEY (business, chat, message)
	);
	CREATE TABLE IF NOT EXISTS replies (
		business    BIGINT NOT NULL,
		key         TEXT   NOT NULL,
		crm_notified_at TIMESTAMPTZ,
		PRIMARY KEY (business, key)
	)`

// shops returns all shops.
func (s *service) shops(ctx context.Context) (ids []chats.BusinessID, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT business FROM shops`)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err reports any error
	for rows.Next() {
		var id chats.BusinessID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
