package main

import (
	"context"
	"database/sql"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// openDatabase opens PostgreSQL if an address is given, and a SQLite file otherwise.
func openDatabase(file, address string) (*sql.DB, sqlstore.Dialect, error) {
	if address != "" {
		db, err := sql.Open("pgx", address)
		return db, sqlstore.PostgreSQL, err
	}
	// The options make concurrent transactions wait for each other instead of failing.
	db, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)")
	return db, sqlstore.SQLite, err
}

// The shop's own table. Its placeholders work on both databases.
const createTable = `CREATE TABLE IF NOT EXISTS replies (
	key TEXT PRIMARY KEY, chat BIGINT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL)`

func addReply(ctx context.Context, tx *sql.Tx, key string, r reply) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO replies (key, chat, body, state) VALUES ($1, $2, $3, 'queued')
		ON CONFLICT (key) DO NOTHING`, key, int64(r.Chat), r.Text)
	return err
}

func setState(ctx context.Context, db *sql.DB, key, state string) error {
	_, err := db.ExecContext(ctx, `UPDATE replies SET state = $2 WHERE key = $1`, key, state)
	return err
}
