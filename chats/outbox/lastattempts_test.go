package outbox

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/internal/leasing"
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

// An attempt that has been forgotten is searched for again, also if it was made under the present lease.
func TestLastAttempts_AForgottenOneIsSearchedForAgain(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := &session{Outbox: &Outbox{}, term: &leasing.Term[inbox.Lease]{Lease: inbox.Lease{Token: 2}, Acquired: now.Add(-time.Hour)}}
	own, earlier := &Record{Item: Item{Key: "a"}, Token: 2, LastAttempt: now}, &Record{Item: Item{Key: "b"}, Token: 1, LastAttempt: now}
	assert.WithinRange(t, (&post{session: s, record: own}).searchEnd(), now.Add(chats.SearchTime), time.Now().Add(chats.SearchTime))
	assert.Equal(t, now.Add(chats.SearchTime-time.Hour), (&post{session: s, record: earlier}).searchEnd())
}

func TestDueAt_ATimeFarAheadIsNow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	assert.Equal(t, now.Add(time.Hour), dueAt(now.Add(time.Hour), now, time.Hour))
	assert.Zero(t, dueAt(now.Add(time.Hour+1), now, time.Hour))
}
