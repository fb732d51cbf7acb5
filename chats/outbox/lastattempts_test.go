package outbox

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestLastAttempts_AreKeptByTokenAndTime(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	later := now.Add(time.Hour)
	var a lastAttempts
	r := &Record{Item: Item{Key: "k"}, Token: 1, LastAttempt: now}
	assert.Equal(t, now, a.ended(r, now), "unknown")
	assert.Equal(t, now, a.ended(r, later), "known")
	r.Token = 2
	assert.Equal(t, later, a.ended(r, later), "made under another lease")
	r.LastAttempt = now.Add(time.Second)
	assert.Equal(t, now, a.ended(r, now), "another attempt")
	a.remove(r)
	assert.Equal(t, later, a.ended(r, later), "forgotten")
}

func TestLastAttempts_AreBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	var a lastAttempts
	for n := range maxAttempts {
		a.add(&Record{Item: Item{Key: strconv.Itoa(n)}}, now)
		assert.Len(t, a.known, n+1)
	}
	a.add(&Record{Item: Item{Key: "one more"}}, now)
	assert.Len(t, a.known, 1)
}

func TestDueAt_ATimeFarAheadIsNow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	assert.Equal(t, now.Add(time.Hour), dueAt(now.Add(time.Hour), now, time.Hour))
	assert.Zero(t, dueAt(now.Add(time.Hour+1), now, time.Hour))
}
