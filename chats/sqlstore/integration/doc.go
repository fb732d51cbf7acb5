// Package integration holds the tests of sqlstore that need a database, in a module of
// its own so that their drivers reach nobody who imports the library.
//
//	go test ./...                  # memory and SQLite
//	./postgres.sh go test ./...    # PostgreSQL too, on a server that is gone afterwards
//
// With DATABASE_URL set the tests use that server instead; each makes a database of
// its own there and drops it.
package integration
