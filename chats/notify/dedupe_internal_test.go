package notify

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Two requests wait for one invocation. The first is acknowledged and the event comes
// again, before the second is acknowledged.
func TestDedupe_LateAcknowledgeKeepsNextInvocation(t *testing.T) {
	t.Parallel()
	d := newDedupe(time.Hour, 10)
	event := Other{Type: "ORDER_CREATED"}.identity()
	first, created := d.acquire(event)
	assert.True(t, created)
	d.complete(event, first, nil)
	d.acknowledge(event, first)

	second, created := d.acquire(event)
	assert.True(t, created)
	d.acknowledge(event, first)
	third, created := d.acquire(event)
	assert.False(t, created)
	assert.Same(t, second, third)
}
