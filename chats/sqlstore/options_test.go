package sqlstore

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

func TestNew_RefusesBadArguments(t *testing.T) {
	t.Parallel()
	db := (&fakeServer{}).open(t)
	prefix := "prefix: must be 1 to 32 characters of a-z, 0-9 and _, not beginning with a digit or sqlite_"
	duration := "lease duration: must be from 1s to 1h0m0s"
	for want, options := range map[string][]Option{
		prefix: {
			WithTablePrefix(""), WithTablePrefix("1_"), WithTablePrefix("Crm_"), WithTablePrefix("a-b"), WithTablePrefix(`a"; DROP TABLE x; --`),
			WithTablePrefix("a_\n"), WithTablePrefix("ж_"), WithTablePrefix(strings.Repeat("a", 33)),
			WithTablePrefix("sqlite_"),
		},
		duration:                        {WithLeaseDuration(0), WithLeaseDuration(time.Second - 1), WithLeaseDuration(time.Hour + 1), WithLeaseDuration(-time.Second)},
		"options: must not contain nil": {nil},
	} {
		for _, option := range options {
			_, err := New(t.Context(), db, SQLite, option)
			requireArgumentError(t, err, want)
			requireArgumentError(t, Migrate(t.Context(), db, SQLite, option), want)
		}
	}
	_, err := New(t.Context(), nil, SQLite)
	requireArgumentError(t, err, "db: must not be nil")
	for _, dialect := range []Dialect{0, 3, -1} {
		_, err = New(t.Context(), db, dialect)
		requireArgumentError(t, err, "dialect: must be SQLite or PostgreSQL, not "+dialect.String())
	}
}

func requireArgumentError(t *testing.T, err error, text string) {
	t.Helper()
	var argument *chats.ArgumentError
	require.ErrorAs(t, err, &argument)
	assert.EqualError(t, err, "sqlstore: "+text)
}

func TestStore_RefusesBadArguments(t *testing.T) {
	t.Parallel()
	store := newStore((&fakeServer{}).open(t), SQLite, config{prefix: defaultPrefix, lease: time.Second})
	requireArgumentError(t, store.Forget(t.Context(), 0), "business: must be greater than 0")
	_, err := store.Acquire(t.Context(), 1, inbox.Purpose, "")
	requireArgumentError(t, err, "holder: must not be empty")
}

func TestNewConfig_Values(t *testing.T) {
	t.Parallel()
	db := (&fakeServer{}).open(t)
	c, err := newConfig(db, SQLite, nil)
	require.NoError(t, err)
	assert.Equal(t, config{prefix: "ymchats_", lease: 5 * time.Second}, c)
	longest := strings.Repeat("a", 32)
	c, err = newConfig(db, PostgreSQL, []Option{WithTablePrefix(longest), WithLeaseDuration(time.Second), WithoutMigration()})
	require.NoError(t, err)
	assert.Equal(t, config{prefix: longest, lease: time.Second, noMigrate: true}, c)
	for _, valid := range []string{"_", "a", "crm_2_"} {
		_, err = newConfig(db, SQLite, []Option{WithTablePrefix(valid), WithLeaseDuration(time.Hour)})
		require.NoError(t, err)
	}
}

func TestDialect_String(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "SQLite", SQLite.String())
	assert.Equal(t, "PostgreSQL", PostgreSQL.String())
	assert.Equal(t, "Dialect(7)", Dialect(7).String())
}

// PostgreSQL cuts longer names silently, so that two could be one.
func TestMigrations_NamesFitWithTheLongestPrefix(t *testing.T) {
	t.Parallel()
	for _, statements := range migrations {
		for _, statement := range statements {
			for word := range strings.FieldsSeq(statement) {
				name := strings.ReplaceAll(word, "{p}", strings.Repeat("a", 32))
				assert.LessOrEqual(t, len(name), 63, name)
			}
		}
	}
}
