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
	today, later := time.Now().Add(time.Hour).UTC(), time.Now().Add(25*time.Hour).UTC()
	assert.Equal(t, "rate limit reached, try again at "+today.Format("15:04:05Z"), Limit{Until: today}.describe())
	assert.Equal(t, "rate limit reached, try again at "+later.Format("2006-01-02 15:04:05Z"), Limit{Until: later}.describe(), "the clocks differ")
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
		{"1000, 1000", "0, 0", Limit{Kind: LimitHourly, Max: 1000}, true},
		{"1,000", "0", Limit{Kind: LimitHourly}, false},
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

// A quota with requests remaining was reached only if the text names a period: closing an
// operation for the rest of the window costs more than a retry.
func TestLimits_KindOfA420(t *testing.T) {
	t.Parallel()
	for text, tt := range map[string]struct{ remaining, exhausted LimitKind }{
		"": {LimitParallel, LimitHourly},
		"Hit rate limit of 4 parallel requests for business":                    {LimitParallel, LimitParallel},
		"Hit rate limit of 4 simultaneous requests per business 1":              {LimitParallel, LimitParallel},
		"Limit of 4 CONCURRENT connections per hour":                            {LimitParallel, LimitParallel},
		"Too many requests at once per cabinet: 4":                              {LimitParallel, LimitParallel},
		"Превышен лимит: не более 4 Одновременных запросов":                     {LimitParallel, LimitParallel},
		"Превышен лимит параллельных запросов":                                  {LimitParallel, LimitParallel},
		"Hit rate limit of 10000 requests per hour for resource X for business": {LimitHourly, LimitHourly},
		"Hit rate limit of 600 points per":                                      {LimitHourly, LimitHourly},
		"You have used 100 calls PER MINUTE":                                    {LimitHourly, LimitHourly},
		"Превышен лимит запросов в час":                                         {LimitHourly, LimitHourly},
		"Превышен лимит, в частности запросов час":                              {LimitParallel, LimitHourly},
		"Превышен часовой лимит":                                                {LimitHourly, LimitHourly},
		"Превышен лимит: 10000 запросов/час":                                    {LimitHourly, LimitHourly},
		"Не более 5000 раз в течение часа":                                      {LimitHourly, LimitHourly},
		"Суточная квота исчерпана":                                              {LimitHourly, LimitHourly},
		"Rate exceeded (10000/hr)":                                              {LimitHourly, LimitHourly},
		"Limit of 1000 calls each 60 min":                                       {LimitHourly, LimitHourly},
		"Too many in-flight requests":                                           {LimitParallel, LimitParallel},
		"Only 4 requests may run at a time":                                     {LimitParallel, LimitParallel},
		"Hit rate limit of 4 requests per business 1":                           {LimitParallel, LimitHourly},
		"Too many requests, try again in a few seconds per limits policy":       {LimitParallel, LimitHourly},
	} {
		for remaining, want := range map[int]LimitKind{9990: tt.remaining, 0: tt.exhausted} {
			limit := reachedLimit([]Detail{{Code: "METHOD_FAILURE"}, {Message: text}}, Limit{Kind: LimitHourly, Max: 10_000, Remaining: remaining}, time.Time{})
			assert.Equal(t, want, limit.Kind, "%q with %d remaining", text, remaining)
		}
	}
	assert.Equal(t, Limit{Kind: LimitParallel, Max: 4}, reachedLimit([]Detail{{Message: "Hit rate limit of 4 simultaneous requests"}}, Limit{}, time.Time{}))
	// A gateway's Retry-After refers to neither limit, unless the text does.
	at := time.Unix(1, 0)
	assert.Equal(t, Limit{Until: at}, reachedLimit(nil, Limit{Kind: LimitHourly}, at))
	assert.Equal(t, Limit{Kind: LimitHourly, Until: at}, reachedLimit([]Detail{{Message: "per hour"}}, Limit{Kind: LimitHourly}, at))
}

// Responses may overtake each other.
func TestLimits_TheLaterEndOfABlockCounts(t *testing.T) {
	t.Parallel()
	l := newLimits(1, nil, 0)
	later := time.Now().Add(time.Hour)
	for _, until := range []time.Time{later, later.Add(-time.Minute), {}} {
		l.block(block{op: OpGetChat, until: until})
		b, blocked := l.blocked(OpGetChat)
		assert.True(t, blocked)
		assert.Equal(t, later, b.until)
	}
}

// The local clock is set back after an operation was blocked. No block lasts longer than an hour.
func TestLimits_ABlockIsBoundedByAnyClock(t *testing.T) {
	t.Parallel()
	l := newLimits(1, nil, 0)
	for by, want := range map[time.Duration]bool{0: true, -time.Minute: true, time.Minute: false} {
		l.blocks[OpGetChat] = block{until: time.Now().Add(quotaWindow + by)}
		_, blocked := l.blocked(OpGetChat)
		assert.Equal(t, want, blocked, by)
	}
}
