package outbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
)

func TestRefusals_AreFinalAfterAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r refusals
		for range 2 { // a refusal after a long time is unrelated to the earlier ones
			pause, err := r.add(chats.ErrUnauthorized)
			require.NoError(t, err)
			assert.Positive(t, pause)
			<-time.After(refusedFor - 1)
			_, err = r.add(chats.ErrUnauthorized)
			require.NoError(t, err)
			<-time.After(1)
			_, err = r.add(chats.ErrUnauthorized)
			require.ErrorIs(t, err, chats.ErrUnauthorized)
			<-time.After(forgottenAfter)
			_, err = r.add(chats.ErrUnauthorized)
			require.ErrorIs(t, err, chats.ErrUnauthorized)
			<-time.After(forgottenAfter + 1)
		}
	})
}

func TestRefusals_AnAcceptedListCountsForAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r refusals
		lists := 0
		list := func() error { lists++; return nil }
		assert.True(t, r.verify(list))
		<-time.After(recheckAfter - 1)
		assert.True(t, r.verify(list))
		assert.Equal(t, 1, lists)
		<-time.After(1)
		assert.True(t, r.verify(list))
		assert.Equal(t, 2, lists)
	})
}
