package chats_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// dated is a server whose clock is ahead by a duration, or that sends no Date.
type dated struct {
	next  http.RoundTripper
	ahead time.Duration
	none  bool
}

func (d *dated) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(req)
	if err == nil {
		resp.Header.Set("Date", time.Now().Add(d.ahead).UTC().Format(http.TimeFormat))
		if d.none {
			resp.Header.Del("Date")
		}
	}
	return resp, err
}

func TestServerTime_FollowsTheServersClock(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{0, 26 * time.Hour, -26 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			market := chatstest.NewMarket()
			server := &dated{next: market.Transport(), ahead: ahead, none: true}
			client := market.Client(withContract(t, server))
			list := func() {
				_, err := client.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{})
				require.NoError(t, err)
			}
			_, ok := client.ServerTime()
			assert.False(t, ok, "before a response")
			list()
			_, ok = client.ServerTime()
			assert.False(t, ok, "after one without a Date")
			server.none = false
			list()
			<-time.After(90 * time.Minute)
			server.none = true
			list()
			now, ok := client.ServerTime()
			assert.True(t, ok)
			assert.WithinDuration(t, time.Now().Add(ahead), now, time.Second)
		})
	}
}
