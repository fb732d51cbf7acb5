package inbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats"
)

// Where the clocks differ so much that the hour cannot be the server's, a whole one is
// taken.
func TestWhatIsLeftOfAnHour(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tt := range []struct{ until, want time.Duration }{
		{-time.Second, time.Hour}, {0, time.Hour}, {1, 1}, {time.Minute, time.Minute}, {time.Hour, time.Hour}, {time.Hour + 1, time.Hour},
	} {
		assert.Equal(t, tt.want, left(chats.Limit{Until: now.Add(tt.until)}, now), "%s", tt.until)
	}
}

// Half of 100 requests an hour is the reserve; what remains, and for how long, decides.
func TestThePaceOfAnHour(t *testing.T) {
	t.Parallel()
	const op, cost = chats.OpGetChats, 10
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			remaining int
			rest      time.Duration
			isShort   bool
			spread    time.Duration
			gap       time.Duration
		}{
			{100, 50 * time.Minute, false, 10 * time.Minute, 0},
			{80, 30 * time.Minute, false, 10 * time.Minute, 0},
			{60, 30 * time.Minute, false, 30 * time.Minute, 0},
			{51, 30 * time.Minute, false, 30 * time.Minute, 0},
			{50, 10 * time.Minute, true, 10 * time.Minute, 24 * time.Second},
			{40, 10 * time.Minute, true, 10 * time.Minute, 30 * time.Second},
			{40, 30 * time.Minute, true, 30 * time.Minute, time.Minute},
			{1, 40 * time.Second, true, 40 * time.Second, 40 * time.Second},
			{0, time.Nanosecond, true, time.Nanosecond, time.Nanosecond},
			{0, 0, false, 0, 0}, // the hour is over, and the next one not known
		} {
			p := newPace(nil, 0.5)
			p.hours[op] = hour{chats.Limit{Max: 100, Remaining: tt.remaining}, time.Now().Add(tt.rest)}
			assert.Equal(t, tt.isShort, p.isShort(op), "%+v", tt)
			assert.Equal(t, tt.spread, p.spread(op, cost), "%+v", tt)
			assert.Equal(t, tt.gap, p.gap(op), "%+v", tt)
			assert.InDelta(t, 50, p.budget(op, 5000), 0)
		}
	})
	p, other := newPace(nil, 0.4), chats.OpGetChatHistory
	assert.False(t, p.isShort(other), "the server has said nothing")
	assert.Zero(t, p.spread(other, cost))
	assert.Zero(t, p.gap(other))
	assert.InDelta(t, 3600, p.budget(other, 6000), 0)
	assert.InDelta(t, 1, newPace(nil, 0.9999).budget(other, 6000), 0)
}

func TestWhenAFullSweepIsDue(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tt := range []struct {
		remaining, cost int
		want            bool
	}{
		{80, 30, true},
		{80, 31, false}, // it waits for the next hour
		{40, 0, true},
		{40, 1, false},
		{80, 50, false},
		{80, 51, true}, // no hour has room for it
	} {
		p := newPace(nil, 0.5)
		p.hours[chats.OpGetChats] = hour{chats.Limit{Max: 100, Remaining: tt.remaining}, now.Add(time.Hour)}
		w := &sweeper{s: &session{pace: p}, tiered: true, fullCost: tt.cost, nextFull: now}
		assert.Equal(t, tt.want, w.isFullDue(now), "%+v", tt)
		assert.False(t, w.isFullDue(now.Add(-1)), "%+v", tt)
		w.tiered = false
		assert.True(t, w.isFullDue(now.Add(-1)), "every sweep is a full one")
	}
	w := &sweeper{s: &session{pace: newPace(nil, 0.5)}, tiered: true, fullCost: 30, nextFull: now}
	assert.True(t, w.isFullDue(now), "the server has said nothing of this hour")
}
