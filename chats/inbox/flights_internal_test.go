package inbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
)

// A chat that was listed during its flight is applied once its row is saved. A flight whose row could
// not be saved ends all the same, or its chat would never be polled again.
func TestFlights_EndWithoutASave(t *testing.T) {
	t.Parallel()
	for _, isSaved := range []bool{true, false} {
		flights := newFlights()
		f := flights.take(ChatState{Chat: 1})
		require.True(t, flights.list(chats.Chat{ID: 1}, time.Now()))
		listed, _ := flights.land(f, isSaved)
		assert.NotNil(t, listed)
		assert.Equal(t, isSaved, flights.isHeld(1))
		listed, _ = flights.land(f, true)
		assert.Nil(t, listed)
		assert.Zero(t, flights.len())
	}
}
