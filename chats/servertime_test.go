package chats_test

import (
	"fmt"
	"net/http"
	"strconv"
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

// newMarketBehind returns a Market by whose clock it is 20 minutes before the local time.
func newMarketBehind(options ...chatstest.Option) *chatstest.Market {
	return chatstest.NewMarket(append(options, chatstest.WithOddItems(func(item map[string]any) {
		for _, name := range []string{"createdAt", "updatedAt"} {
			at, _ := time.Parse(time.RFC3339, fmt.Sprint(item[name]))
			item[name] = at.Add(-20 * time.Minute)
		}
	}))...)
}

func TestConfirmResume_LocalClockMayBeAhead(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			market := newMarketBehind()
			f := newFixtureOn(t, market, withContract(t, &dated{next: market.Transport(), ahead: -20 * time.Minute}))
			f.market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
			var failed *chats.Error
			require.ErrorAs(t, f.client.SendText(t.Context(), f.chat, "Завтра"), &failed)
			options := []chats.ConfirmOption{chats.ConfirmResume(failed.SentAt)}
			if after {
				options = append(options, chats.ConfirmAfter(f.first))
			}
			message, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра", options...)
			require.NoError(t, err)
			assert.Equal(t, f.market.Messages(f.chat)[1].ID, message.ID)
			assert.Equal(t, 1, f.posted())
		})
	}
}

// What arrives during a listing looks old to a clock that is ahead. The server lists the newest
// page first, each ascending.
func TestHistory_LocalClockMayBeAhead(t *testing.T) {
	t.Parallel()
	for _, none := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var ids []int // one a second, by the server's clock
			arrive := func(n int) {
				for range n {
					time.Sleep(time.Second)
					ids = append(ids, int(time.Now().Add(-20*time.Minute).Unix()))
				}
			}
			arrive(200)
			server := roundTrip(func(req *http.Request) (*http.Response, error) {
				offset, _ := strconv.Atoi(req.URL.Query().Get("pageToken"))
				if offset == 100 {
					arrive(150)
				}
				end, next := max(len(ids)-offset, 0), strconv.Itoa(offset+100)
				if end <= 100 {
					next = ""
				}
				return respond(req, http.StatusOK, historyPage(next, ids[max(end-100, 0):end]...)), nil
			})
			client := newClient(t, chatstest.NewMarket(), withContract(t, &dated{next: server, ahead: -20 * time.Minute, none: none}))
			got := mustCollect(t, client.History(t.Context(), 1, 0))
			require.GreaterOrEqual(t, len(got), 200, "no Date: %v", none)
			for i, message := range got {
				assert.EqualValues(t, ids[i], message.ID)
			}
		})
	}
}
