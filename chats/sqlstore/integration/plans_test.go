package integration

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// PostgreSQL plans a prepared statement anew each time if that seems cheaper than a plan for
// any parameters. It is not: planning a Save takes longer than running it. Here the tables are
// empty when the statements are prepared, and grow while they are used, as those of a new
// shop do.
func TestStore_StatementsAreNotPlannedAnew(t *testing.T) {
	t.Parallel()
	d := postgres(t)
	db := d.open(t)
	db.SetMaxOpenConns(1)
	store, err := sqlstore.New(t.Context(), db, d.dialect)
	require.NoError(t, err)
	work := func(version int64, times int) {
		lease, b, err := store.AcquireBusiness(t.Context(), business, inbox.Purpose, "worker")
		require.NoError(t, err)
		row := []inbox.ChatState{{Chat: 100_000, Version: version}}
		for n := range times {
			require.NoError(t, store.Save(t.Context(), lease, &b, nil))
			require.NoError(t, store.Save(t.Context(), lease, nil, row))
			require.NoError(t, store.Save(t.Context(), lease, &b, row))
			_, err := store.Chats(t.Context(), business, []chats.ChatID{100_000, chats.ChatID(n)})
			require.NoError(t, err)
			_, err = store.Due(t.Context(), business, time.Now(), 1+n%8)
			require.NoError(t, err)
			_, err = store.Backlog(t.Context(), business, time.Now())
			require.NoError(t, err)
			_, err = store.Renew(t.Context(), lease)
			require.NoError(t, err)
			_, err = store.ReleaseBusiness(t.Context(), lease, &b)
			require.NoError(t, err)
			lease, b, err = store.AcquireBusiness(t.Context(), business, inbox.Purpose, "worker")
			require.NoError(t, err)
		}
		require.NoError(t, store.Release(t.Context(), lease))
	}
	const before, after = 6, 300
	work(0, before)
	execSQL(t, db, `INSERT INTO ymchats_inbox_chats SELECT b, c, 1, 0, 0, FALSE, 5, 1, CASE WHEN c % 10 = 0 THEN c END, 0, 0, NULL, '', '{}'
		FROM generate_series(1, 2000) AS b, generate_series(1, 50) AS c`)
	execSQL(t, db, `INSERT INTO ymchats_leases SELECT b, 'outbox', '', 1, 1, 1, 1 FROM generate_series(1, 2000) AS b`)
	execSQL(t, db, `INSERT INTO ymchats_outbox SELECT b, c, c, c, 1, '', '', '', 0, NULL, CASE WHEN c % 2 = 0 THEN 'sent' ELSE 'queued' END, c,
		'', 0, NULL, NULL, NULL, 1, NULL, c % 4 = 0, '{}' FROM generate_series(1, 2000) AS b, generate_series(1, 50) AS c`)
	execSQL(t, db, `ANALYZE`)
	work(2*before, after)

	rows, err := db.QueryContext(t.Context(), `SELECT statement, custom_plans FROM pg_prepared_statements WHERE generic_plans + custom_plans >= 300`)
	require.NoError(t, err)
	plans := scanPlans(t, rows)
	assert.Len(t, plans, 9)
	for statement, n := range plans {
		assert.LessOrEqual(t, n, 60, statement) // until PostgreSQL has forgotten how cheap the empty tables were
	}

	// The plan for any business finds the chats by their IDs. It would not do to read all chats of a
	// business that has many.
	execSQL(t, db, `SET plan_cache_mode = force_generic_plan`)
	for statement, parameters := range map[string]string{
		"SELECT version, chat, % jsonb_array_elements%": `(7, '[[1]]')`,
		"WITH chats_rows % AS n%":                       `(7, 'inbox', '', 1, 1, '[]')`,
	} {
		var name string
		require.NoError(t, db.QueryRowContext(t.Context(),
			`SELECT name FROM pg_prepared_statements WHERE statement LIKE $1 AND statement NOT LIKE '%business_rows%'`, statement).Scan(&name))
		rows, err := db.QueryContext(t.Context(), `EXPLAIN EXECUTE `+name+parameters)
		require.NoError(t, err)
		assert.Regexp(t, `Index Cond: \(\(business = \$1\) AND \(chat = ANY`, strings.Join(scanLines(t, rows), "\n"))
	}
}

func scanLines(t *testing.T, rows *sql.Rows) (lines []string) {
	t.Helper()
	defer rows.Close() //nolint:errcheck // Err has what matters
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		lines = append(lines, line)
	}
	require.NoError(t, rows.Err())
	return lines
}

func scanPlans(t *testing.T, rows *sql.Rows) map[string]int {
	t.Helper()
	defer rows.Close() //nolint:errcheck // Err has what matters
	plans := map[string]int{}
	for rows.Next() {
		var statement string
		var custom int
		require.NoError(t, rows.Scan(&statement, &custom))
		plans[statement] = custom
	}
	require.NoError(t, rows.Err())
	return plans
}
