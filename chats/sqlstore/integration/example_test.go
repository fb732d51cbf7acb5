package integration

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// A file beside the program is enough on one machine.
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
	fmt.Println(store.Commit(ctx, 1, 42, inbox.Mark{}, inbox.Mark{Message: 1001}))
	fmt.Println(store.Commit(ctx, 1, 42, inbox.Mark{}, inbox.Mark{Message: 1001}))
	marks, err := store.Marks(ctx, 1)
	fmt.Println(marks[42].Message, err)
	// Output:
	// <nil>
	// inbox: the mark was moved by another worker
	// 1001 <nil>
}

// Any number of machines share a PostgreSQL: for each business one of them works
// and the others stand by.
func Example_postgreSQL() {
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(10) // one of them is the leases'
	ctx := context.Background()
	store, err := sqlstore.New(ctx, db, sqlstore.PostgreSQL)
	if err != nil {
		log.Fatal(err)
	}

	// The inbox does this too.
	held, release, err := store.Lease(ctx, 1)
	if err != nil {
		log.Fatal(err)
	}
	defer release()
	marks, err := store.Marks(held, 1)
	fmt.Println(len(marks), err)
}
