package integration

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/sqlstore"
)

// settle waits until PostgreSQL has done with the statements of a process that is
// dead.
func (d database) settle(t *testing.T) {
	t.Helper()
	if d.dialect != sqlstore.PostgreSQL {
		return
	}
	db := d.open(t)
	require.Eventually(t, func() bool {
		var busy int
		err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'`).Scan(&busy)
		return err == nil && busy == 0
	}, 10*time.Second, 10*time.Millisecond)
}

// A process is killed in the middle of its commits, again and again, and another
// one goes on where it was. What it had been told was committed is so; of each chat
// at most the one commit that was under way has happened without its knowing.
func TestCommitsOutliveKills(t *testing.T) {
	t.Parallel()
	for _, on := range append([]kind{{"SQLite with a write-ahead log", sqliteLog}}, both...) {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			d := on.make(t)
			store := d.store(t)
			said := make(map[chats.ChatID]chats.MessageID)
			for range 5 {
				c := start(t, "commit", d)
				c.says(t, 20+rand.IntN(200))
				c.kill()
				for _, line := range c.lines() {
					var chat chats.ChatID
					var message chats.MessageID
					_, err := fmt.Sscanf(line, "committed %d %d", &chat, &message)
					require.NoError(t, err, line)
					require.Greater(t, message, said[chat], "a mark went back")
					said[chat] = message
				}
				d.settle(t)
				marks, err := store.Marks(t.Context(), business)
				require.NoError(t, err)
				for chat, message := range said {
					assert.GreaterOrEqual(t, marks[chat].Message, message, "a commit is lost")
					assert.LessOrEqual(t, marks[chat].Message, message+1, "a commit that nobody made")
					assert.WithinDuration(t, time.Now(), marks[chat].UpdatedAt, time.Minute)
				}
				for chat := range marks {
					said[chat] = marks[chat].Message // what the next one begins with
				}
			}
			assert.Greater(t, len(said), 1, "several at once")
		})
	}
}
