package outbox_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/outbox"
)

func TestStep_SavesWithGrowingDelays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		var delays []time.Duration
		last := time.Now()
		o := newOutbox(t, connect(t, market), &hooked{Store: outbox.NewMemoryStore(), save: func(*outbox.Record) error {
			delays, last = append(delays, time.Since(last)), time.Now()
			if len(delays) <= 6 {
				return errors.New("read-only")
			}
			return nil
		}})
		put(t, o, text("a", market.AddChat(chats.Chat{})))
		_, err := o.Step(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []time.Duration{
			0, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, time.Second, time.Second,
		}, delays[:7])
	})
}
