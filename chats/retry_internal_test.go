package chats

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestRetryPolicy_SearchTimeCoversAllDelays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		policy RetryPolicy
		want   time.Duration
	}{
		{RetryPolicy{}, SearchTime},
		{RetryPolicy{MaxAttempts: 1}, SearchTime},
		{RetryPolicy{MaxAttempts: 4, BaseDelay: time.Second}, SearchTime},
		{RetryPolicy{MaxAttempts: 4, BaseDelay: 10 * time.Second}, 60 * time.Second},
		{RetryPolicy{MaxAttempts: 4, BaseDelay: 10 * time.Second, MaxDelay: 11 * time.Second}, 32 * time.Second},
		{RetryPolicy{MaxAttempts: math.MaxInt}, maxSearchTime},
		{RetryPolicy{MaxAttempts: math.MaxInt, BaseDelay: 1, MaxDelay: 1}, SearchTime},
	} {
		assert.Equal(t, tt.want, tt.policy.withDefaults().searchTime(), "%+v", tt.policy)
	}
}

func TestBoundsOfPausesDoNotOverflow(t *testing.T) {
	t.Parallel()
	p := RetryPolicy{BaseDelay: time.Second, MaxDelay: math.MaxInt64}
	assert.Equal(t, time.Second, p.delayCap(0))
	assert.Equal(t, 4*time.Second, p.delayCap(2))
	assert.Equal(t, time.Duration(math.MaxInt64), p.delayCap(1000))
}
