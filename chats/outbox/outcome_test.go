package outbox

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

func TestIsRefusal(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{0: false, 200: true, 302: false, 400: true, 403: true, 408: false, 499: false, 500: false} {
		assert.Equal(t, want, isRefusal(&chats.Error{StatusCode: status}, errors.New("failed")), status)
	}
	assert.True(t, isRefusal(nil, &chats.ArgumentError{}))
	assert.False(t, isRefusal(nil, errors.New("failed")))
	assert.False(t, isRefusal(&chats.Error{StatusCode: 400}, chats.ErrProtocol))
}

// The server's time has whole seconds, so a second is added to the time of the reset.
func TestPost_WaitsUntilAQuotaIsReset(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := chatstest.NewMarket().Client()
		p := &post{session: &session{Outbox: &Outbox{client: client}}}
		now := time.Now()
		for reset, want := range map[time.Duration]time.Duration{
			-time.Hour: time.Minute, time.Minute: time.Minute + time.Second, 30 * time.Minute: 30*time.Minute + time.Second, 2 * time.Hour: time.Hour,
		} {
			assert.Equal(t, want, p.untilReset(&chats.Limit{Until: now.Add(reset)}, now), reset)
		}
		_, err := client.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{})
		require.NoError(t, err)
		server, ok := client.ServerTime()
		require.True(t, ok)
		assert.Equal(t, 2*time.Minute+time.Second, p.untilReset(&chats.Limit{Until: server.Add(2 * time.Minute)}, server.Add(-time.Hour)))
	})
}
