// Package integration holds the tests of sqlstore that need a database, in a module of
// its own so that no importer of the library depends on their drivers.
//
//	go test ./...                  # SQLite
//	./postgres.sh go test ./...    # PostgreSQL too, on a server that is gone afterwards
//
// If DATABASE_URL is set, the tests use that server: each creates a database of its own
// there and drops it.
package integration
