package chats

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestALookLastsAsLongAsThePausesOfAllAttempts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		policy RetryPolicy
		want   time.Duration
	}{
		{RetryPolicy{}, 15500 * time.Millisecond},
		{RetryPolicy{MaxAttempts: 1}, 0},
		{RetryPolicy{MaxAttempts: 2, BaseDelay: time.Second}, time.Second},
		{RetryPolicy{MaxAttempts: 4, BaseDelay: time.Second}, 7 * time.Second},
		{RetryPolicy{MaxAttempts: 4, BaseDelay: time.Second, MaxDelay: 2 * time.Second}, 5 * time.Second},
		{RetryPolicy{MaxAttempts: math.MaxInt}, maxSearch},
	} {
		assert.Equal(t, tt.want, tt.policy.withDefaults().searchDuration(), "%+v", tt.policy)
	}
}

func TestBoundsOfPausesDoNotOverflow(t *testing.T) {
	t.Parallel()
	p := RetryPolicy{BaseDelay: time.Second, MaxDelay: math.MaxInt64}
	assert.Equal(t, time.Second, p.backoff().delayCap(0))
	assert.Equal(t, 4*time.Second, p.backoff().delayCap(2))
	assert.Equal(t, time.Duration(math.MaxInt64), p.backoff().delayCap(1000))
}
