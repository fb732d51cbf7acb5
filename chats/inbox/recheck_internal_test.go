package inbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestChatState_TheQuotaKeptForMoreUrgentPolls(t *testing.T) {
	t.Parallel()
	seen := time.Unix(1e9, 0)
	var baseline ChatState
	baseline.Snapshot.UpdatedAt = seen.Add(-time.Hour)
	baseline.begin(seen, seen)
	pushed, failing, moved := baseline, baseline, baseline
	pushed.Wakes++
	failing.FailingSince = seen
	moved.move(seen.Add(2 * time.Minute))
	for name, tt := range map[string]struct {
		row  ChatState
		want float64
	}{
		"a recheck":                {ChatState{Read: true, SeenAt: seen, DueAt: seen.Add(time.Minute)}, 0.25},
		"an early recheck":         {ChatState{Read: true, SeenAt: seen, DueAt: seen.Add(time.Minute - 1)}, 0},
		"a recheck, pushed":        {ChatState{Read: true, SeenAt: seen, DueAt: seen.Add(time.Minute), Wakes: 1}, 0},
		"a recheck, failing":       {ChatState{Read: true, SeenAt: seen, DueAt: seen.Add(time.Minute), FailingSince: seen}, 0},
		"never read":               {ChatState{SeenAt: seen, DueAt: seen.Add(time.Minute)}, 0},
		"a baseline":               {baseline, 0.75},
		"a baseline, pushed":       {pushed, 0},
		"a baseline, failing":      {failing, 0},
		"a baseline, active again": {moved, 0},
		"not known to the server":  {ChatState{SeenAt: seen, DueAt: firstAfter(seen, unknownAfter, seen.Add(10*time.Second))}, 0},
		"a message that is stuck":  {ChatState{Attempts: 10, FailingSince: seen}, 0.5},
		"a message that may pass":  {ChatState{Attempts: 9, FailingSince: seen}, 0},
		"a stuck message, pushed":  {ChatState{Attempts: 10, FailingSince: seen, Wakes: 1}, 0},
	} {
		assert.InDelta(t, tt.want, tt.row.reserve(), 0, name)
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
