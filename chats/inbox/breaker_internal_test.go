package inbox

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats"
)

func TestBreaker_TheDelayBetweenProbesDoubles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker("handler", BreakerState{}, slog.New(slog.DiscardHandler))
		for chat := range chats.ChatID(breakAt) {
			assert.False(t, b.isOpen())
			b.failed(chat+1, true)
		}
		assert.True(t, b.isOpen())
		assert.Equal(t, time.Now().Add(time.Second), b.next())
		for _, want := range []int{2, 4, 8, 16, 30, 30} {
			b.probing = 7
			b.failed(8, true) // began before the breaker opened
			b.failed(7, true)
			assert.Equal(t, time.Now().Add(time.Duration(want)*time.Second), b.next())
		}
		b.succeeded()
		assert.False(t, b.isOpen())
		assert.Zero(t, b.next())
	})
}
