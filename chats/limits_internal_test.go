package chats

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestTheTextOfALimit(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "hourly limit of 1000 reached", Limit{Kind: LimitHourly, Max: 1000}.describe())
	assert.Equal(t, "parallel limit reached", Limit{Kind: LimitParallel}.describe())
}

func TestWhatTheHeadersOfALimitTell(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		most, left string
		want       Limit
		ok         bool
	}{
		{"1000", "999", Limit{Kind: LimitHourly, Max: 1000, Remaining: 999}, true},
		{" 1000", "0 ", Limit{Kind: LimitHourly, Max: 1000}, true},
		{"0", "0", Limit{Kind: LimitHourly}, true},
		{"-1", "1", Limit{Kind: LimitHourly}, false},
		{"1", "-1", Limit{Kind: LimitHourly}, false},
		{"1", "", Limit{Kind: LimitHourly}, false},
		{"many", "1", Limit{Kind: LimitHourly}, false},
	} {
		got, ok := parseLimit(http.Header{headerLimit: {tt.most}, headerRemaining: {tt.left}})
		assert.Equal(t, tt.ok, ok, "%q of %q", tt.left, tt.most)
		assert.Equal(t, tt.want, got, "%q of %q", tt.left, tt.most)
	}
}

// A 420 whose text is lost.
func TestWhichLimitWasReached(t *testing.T) {
	t.Parallel()
	assert.Equal(t, LimitHourly, reachedLimit(nil, Limit{Kind: LimitHourly, Max: 1000}, time.Time{}).Kind)
	assert.Equal(t, LimitParallel, reachedLimit(nil, Limit{Kind: LimitHourly, Max: 1000, Remaining: 1}, time.Time{}).Kind)
}

// Responses may overtake each other.
func TestLimits_TheLaterEndOfABlockCounts(t *testing.T) {
	t.Parallel()
	l := newLimits(1, nil, 0)
	later := time.Now().Add(time.Hour)
	for _, until := range []time.Time{later, later.Add(-time.Minute), {}} {
		l.block(OpGetChat, block{until: until})
		b, blocked := l.blocked(OpGetChat)
		assert.True(t, blocked)
		assert.Equal(t, later, b.until)
	}
}
