package main

import (
	"context"
	"database/sql"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// openStore opens the PostgreSQL database at address, or the SQLite file if address is
// empty.
func openStore(ctx context.Context, file, address string) (store inbox.Store, closeStore func(), err error) {
	driver, source, dialect := "sqlite", file, sqlstore.SQLite
	if address != "" {
		driver, source, dialect = "pgx", address, sqlstore.PostgreSQL
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return nil, nil, err
	}
	store, err = sqlstore.New(ctx, db, dialect)
	if err != nil {
		_ = db.Close()
		return nil, nil, err
	}
	return store, func() { _ = db.Close() }, nil
}
