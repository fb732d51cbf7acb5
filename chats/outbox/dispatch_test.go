package outbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// After a minute without attempts in chats that have failed, thirteen of them may begin at once.
func TestAfterRetry_KeepsABurst(t *testing.T) {
	t.Parallel()
	now := time.Unix(1e9, 0)
	at, burst := time.Time{}, 0
	for ; !at.After(now); burst++ {
		at = afterRetry(at, now)
	}
	assert.Equal(t, 13, burst)
	assert.Equal(t, now.Add(retryGap), at)
	assert.Equal(t, now.Add(2*retryGap), afterRetry(at, at))
	assert.Equal(t, now.Add(retryGap), afterRetry(now.Add(time.Hour), now), "one that was not held back")
}
