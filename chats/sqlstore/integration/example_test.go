package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// On one machine a file is enough.
func Example_sqlite() {
	dir, err := os.MkdirTemp("", "inbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "inbox.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	ctx := context.Background()
	store, err := sqlstore.New(ctx, db, sqlstore.SQLite)
	if err != nil {
		log.Fatal(err)
	}

	// The inbox does this; it takes the store by inbox.New(client, store).
	lease, err := store.Acquire(ctx, 1, inbox.Purpose, "this process")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Save(ctx, lease, nil, []inbox.ChatState{{Chat: 42, Checkpoint: 1001}}))
	err = store.Save(ctx, lease, nil, []inbox.ChatState{{Chat: 42, Checkpoint: 1001}})
	fmt.Println(errors.Is(err, inbox.ErrConflict))
	// Output:
	// <nil>
	// true
}

// Any number of machines share a PostgreSQL. The tables are created at deployment, by a
// role that may do so; the service's role reads and writes them.
func Example_postgreSQL() {
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := sqlstore.New(context.Background(), db, sqlstore.PostgreSQL,
		sqlstore.WithTablePrefix("crm_"), sqlstore.WithoutMigration())
	if err != nil {
		log.Fatal(err)
	}
	_ = store // for inbox.New(client, store)
}
