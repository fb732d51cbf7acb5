package inbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats"
)

func TestKnown_TimesThatCanBeReal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		const year = 365 * 24 * time.Hour
		for _, real := range []time.Time{beginning, now, now.Add(year)} {
			assert.Equal(t, real, known(real))
		}
		for _, unreal := range []time.Time{{}, time.Unix(0, 0), beginning.Add(-1), now.Add(year + 1)} {
			assert.Zero(t, known(unreal), unreal)
		}
	})
}

// A chat that was active within the day before the start is polled once, spread over eight minutes.
func TestChatState_ListedForTheFirstTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		now := start.Add(time.Hour)
		const soon = 2 * time.Minute
		for name, tt := range map[string]struct {
			chat      chats.ChatID
			updated   time.Time
			due, want time.Time
		}{
			"active since the start":              {chat: 7, updated: start, want: now},
			"without a time":                      {chat: 7, want: now},
			"active just before":                  {chat: 7, updated: start.Add(-time.Second), want: now.Add(soon + 7*time.Second)},
			"the last of the spread":              {chat: 959, updated: start.Add(-time.Second), want: now.Add(soon + 479*time.Second)},
			"the first of the spread":             {chat: 480, updated: start.Add(-time.Second), want: now.Add(soon)},
			"active almost a day before":          {chat: 7, updated: start.Add(-recentFor + 1), want: now.Add(soon + 7*time.Second)},
			"active a day before":                 {chat: 7, updated: start.Add(-recentFor)},
			"active just before, and already due": {chat: 7, updated: start.Add(-time.Second), due: now.Add(time.Second), want: now.Add(time.Second)},
		} {
			row := ChatState{Chat: tt.chat, DueAt: tt.due}
			row.observe(chats.Chat{ID: tt.chat, Status: chats.StatusNew, UpdatedAt: tt.updated}, start, true, now)
			assert.Equal(t, tt.want, row.DueAt, name)
		}
	})
}

// The fourth change of UpdatedAt without a message makes a chat restless.
func TestChatState_RestlessAfterThreeChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		row := ChatState{Chat: 7, Read: true, UpdatedAt: now, SeenAt: now}
		row.Snapshot = chats.Chat{ID: 7, UpdatedAt: now}
		change := func() {
			now = now.Add(time.Minute)
			row.DueAt = time.Time{}
			row.observe(chats.Chat{ID: 7, UpdatedAt: now}, time.Time{}, true, now)
		}
		for range restlessAfter {
			change()
			assert.Equal(t, now, row.DueAt)
			assert.Equal(t, now, row.SeenAt)
		}
		seen := row.SeenAt
		change()
		assert.Equal(t, seen.Add(7*time.Minute), row.DueAt)
	})
}

func TestChatState_HandledMessages(t *testing.T) {
	t.Parallel()
	row := ChatState{Checkpoint: 10}
	for _, id := range []chats.MessageID{9, 10, 14, 12, 14} {
		row.setHandled(id, 3)
	}
	assert.Equal(t, []chats.MessageID{12, 14}, row.Handled)
	row.setHandled(11, 3)
	row.setHandled(20, 3)
	assert.Equal(t, chats.MessageID(11), row.Checkpoint)
	assert.Equal(t, []chats.MessageID{12, 14, 20}, row.Handled)
	for id, want := range map[chats.MessageID]bool{9: true, 11: true, 12: true, 13: false, 20: true, 21: false} {
		assert.Equal(t, want, row.isHandled(id), id)
	}
}
