package inbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Rechecks a minute or more after the activity may wait for the next quota window.
func TestIsPatient(t *testing.T) {
	t.Parallel()
	seen := time.Unix(1e9, 0)
	row := ChatState{Read: true, SeenAt: seen, DueAt: seen.Add(time.Minute)}
	assert.True(t, isPatient(&row))
	for name, change := range map[string]func(*ChatState){
		"earlier":    func(r *ChatState) { r.DueAt = r.DueAt.Add(-1) },
		"never read": func(r *ChatState) { r.Read = false },
		"pushed":     func(r *ChatState) { r.Wakes++ },
		"failing":    func(r *ChatState) { r.FailingSince = seen },
	} {
		other := row
		change(&other)
		assert.False(t, isPatient(&other), name)
	}
}

// A chat that the server does not know yet is polled three times, and then only if it is named again.
func TestFirstAfter_OfAnUnknownChat(t *testing.T) {
	t.Parallel()
	from := time.Unix(1e9, 0)
	var polls []time.Duration
	for at := from; !at.IsZero(); at = firstAfter(from, unknownAfter, at) {
		polls = append(polls, at.Sub(from))
	}
	assert.Equal(t, []time.Duration{0, 5 * time.Second, time.Minute}, polls)
}

func TestChatState_PostponedPollsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	next := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for before, after := range map[time.Duration]time.Duration{
		-2 * time.Hour:    0,
		-time.Hour:        0,
		-30 * time.Minute: 7*time.Minute + 30*time.Second,
		-time.Minute:      14*time.Minute + 45*time.Second,
	} {
		row := ChatState{DueAt: next.Add(before)}
		row.postpone(next)
		assert.Equal(t, next.Add(after), row.DueAt, before)
	}
}
