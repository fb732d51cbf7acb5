package integration

import (
	"crypto/rand"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// database is an empty one, made for one test.
type database struct {
	dialect sqlstore.Dialect
	dsn     string
}

// sqliteFile is a file whose connections do not wait for each other's locks: that
// is the driver's default, and the hardest case for the store.
func sqliteFile(t *testing.T) database {
	t.Helper()
	return database{sqlstore.SQLite, "file:" + filepath.Join(t.TempDir(), "inbox.db")}
}

// postgres is a database on the server of DATABASE_URL.
func postgres(t *testing.T) database {
	t.Helper()
	server := os.Getenv("DATABASE_URL")
	if server == "" {
		t.Skip("left out: PostgreSQL. Run ./postgres.sh go test ./... or set DATABASE_URL")
	}
	admin, err := sql.Open("pgx", server)
	require.NoError(t, err)
	name := "ymchats_test_" + strings.ToLower(rand.Text())
	_, err = admin.ExecContext(t.Context(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := admin.Exec("DROP DATABASE " + name + " WITH (FORCE)")
		require.NoError(t, err)
		require.NoError(t, admin.Close())
	})
	address, err := url.Parse(server)
	require.NoError(t, err, "DATABASE_URL is to be of the form postgres://")
	address.Path = "/" + name
	return database{sqlstore.PostgreSQL, address.String()}
}

// kind is how to come by a database.
type kind struct {
	name string
	make func(*testing.T) database
}

// both are the databases, by name; PostgreSQL is skipped where there is none.
var both = []kind{{"SQLite", sqliteFile}, {"PostgreSQL", postgres}}

// sqliteLog is the other way in which SQLite outlives kills.
func sqliteLog(t *testing.T) database {
	t.Helper()
	return sqliteFile(t).with("_pragma", "journal_mode(wal)")
}

// with is the database with one more setting for every connection.
func (d database) with(setting, value string) database {
	separator := "?"
	if strings.Contains(d.dsn, "?") {
		separator = "&"
	}
	d.dsn += separator + setting + "=" + url.QueryEscape(value)
	return d
}

// open returns a pool, as another process would have one.
func (d database) open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := d.pool()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func (d database) pool() (*sql.DB, error) {
	driver := map[sqlstore.Dialect]string{sqlstore.SQLite: "sqlite", sqlstore.PostgreSQL: "pgx"}[d.dialect]
	db, err := sql.Open(driver, d.dsn)
	if err == nil {
		db.SetMaxIdleConns(8)
	}
	return db, err
}

// store returns a Store on a pool of its own.
func (d database) store(t *testing.T, options ...sqlstore.Option) *sqlstore.Store {
	t.Helper()
	store, err := sqlstore.New(t.Context(), d.open(t), d.dialect, options...)
	require.NoError(t, err)
	return store
}

func execSQL(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statement)
	require.NoError(t, err, statement)
}
