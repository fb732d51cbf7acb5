package inbox

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

const history = chats.OpGetChatHistory

func TestQuota_TheLastQuarterIsSpreadOverTheRestOfTheWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(chatstest.NewMarket().Client(), 0.2, nil)
		end := time.Now().Truncate(time.Hour).Add(time.Hour)
		q.count(history, 6_000)
		assert.Equal(t, 2_000, q.left(history))
		assert.InDelta(t, 0.25, q.share(history), 0)
		assert.False(t, q.nextSpaced(history).After(time.Now()))

		q.count(history, 1)
		assert.Less(t, q.share(history), 0.25)
		assert.Equal(t, time.Now().Add(time.Until(end)/1_999), q.nextSpaced(history))

		q.count(history, 1_999)
		assert.Zero(t, q.left(history))
		assert.Equal(t, end, q.nextSpaced(history))
		next, ok := q.take(history)
		assert.False(t, ok)
		assert.Equal(t, end, next)
	})
}

// editing lets edit change the responses of next.
type editing struct {
	next http.RoundTripper
	edit func(*http.Response)
}

func (e editing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := e.next.RoundTrip(req)
	if err == nil {
		e.edit(resp)
	}
	return resp, err
}

// connect returns a client of a Market. Its exchanges are held to the contract, unless edit marks
// them as faults.
func connect(t *testing.T, edit func(*http.Response)) *chats.Client {
	t.Helper()
	market := chatstest.NewMarket()
	transport := contract.Transport(t, editing{market.Transport(), edit})
	return market.Client(chats.WithHTTPClient(&http.Client{Transport: transport}))
}

// reporting returns a client to which the server has reported a limit of 100.
func reporting(t *testing.T, remaining int, until time.Duration) *chats.Client {
	t.Helper()
	client := connect(t, func(resp *http.Response) {
		resp.Header.Set("X-RateLimit-Resource-Limit", "100")
		resp.Header.Set("X-RateLimit-Resource-Remaining", strconv.Itoa(remaining))
		resp.Header.Set("X-RateLimit-Resource-Until", time.Now().Add(until).Format(time.RFC1123))
	})
	_, err := client.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{})
	require.NoError(t, err)
	return client
}

func TestQuota_ReportedByTheServer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		remaining int
		until     time.Duration
		used      int           // as a share of the limit
		next      time.Duration // 0: now
	}{
		"half of it used":              {remaining: 100, until: 30 * time.Minute, used: 50, next: 30 * time.Minute},
		"others have used it up":       {remaining: 0, until: 30 * time.Minute, next: 30 * time.Minute},
		"some is left":                 {remaining: 1, until: 30 * time.Minute, used: 49},
		"a window that has just begun": {remaining: 0, until: 60 * time.Minute, next: 60 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := newQuota(reporting(t, tt.remaining, tt.until), 0.5, nil)
				assert.InDelta(t, 50, q.budget(chats.OpGetChats), 0)
				q.count(chats.OpGetChats, tt.used)
				want := time.Now().Add(tt.next).Truncate(time.Second)
				if got := q.next(chats.OpGetChats); tt.next == 0 {
					assert.False(t, got.After(time.Now()), got)
				} else {
					assert.True(t, want.Equal(got), got)
				}
			})
		})
	}
}

// If the server names no maximum, the documented one applies.
func TestQuota_WithoutAReportedMaximum(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := connect(t, func(resp *http.Response) {
			const body = `{"status":"ERROR","errors":[{"code":"LIMIT","message":"Hit rate limit of requests per hour"}]}`
			resp.StatusCode, resp.Body, resp.ContentLength = 420, io.NopCloser(strings.NewReader(body)), int64(len(body))
			resp.Header = http.Header{}
			resp.Header.Set("X-RateLimit-Resource-Until", time.Now().Add(20*time.Minute).UTC().Format(http.TimeFormat))
			resp.Header.Set(chatstest.FaultHeader, "no maximum")
		})
		_, err := client.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{})
		require.ErrorIs(t, err, chats.ErrRateLimited)
		limit, ok := client.Limit(chats.OpGetChats)
		require.True(t, ok)
		require.Zero(t, limit.Max)
		require.False(t, limit.Until.IsZero())
		q := newQuota(client, 0.5, nil)
		assert.InDelta(t, 2_500, q.budget(chats.OpGetChats), 0)
		assert.False(t, q.next(chats.OpGetChats).After(time.Now()), "only the 420 itself counts, see refuse")
	})
}

func TestQuota_APrepaidRequestIsCountedOnce(t *testing.T) {
	t.Parallel()
	for requests, want := range map[int]int{0: 0, 1: 1, 2: 2, 3: 3} {
		synctest.Test(t, func(t *testing.T) {
			client := connect(t, func(*http.Response) {})
			q := newQuota(client, 0, nil)
			_, ok := q.take(chats.OpGetChats)
			require.True(t, ok)
			ctx, refund := q.prepaid(t.Context(), chats.OpGetChats, func(int) {})
			for range requests {
				_, err := client.ChatsPage(ctx, chats.Filter{}, chats.PageRequest{})
				require.NoError(t, err)
			}
			_, _ = client.Chat(ctx, 1)
			refund()
			assert.Equal(t, want, q.used(chats.OpGetChats).Requests)
			assert.Equal(t, 1, q.used(chats.OpGetChat).Requests)
		})
	}
}

func TestQuota_TheLastRequestOfAWindowIsSpacedToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(chatstest.NewMarket().Client(), 0.2, nil)
		q.count(chats.OpGetChat, 799)
		assert.Equal(t, time.Now().Truncate(time.Hour).Add(time.Hour), q.nextSpaced(chats.OpGetChat))
	})
}

func TestQuota_AfterARateLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for name, tt := range map[string]struct {
			limit *chats.Limit
			want  time.Duration
		}{
			"of parallel requests":  {&chats.Limit{Kind: chats.LimitParallel}, time.Second},
			"reset in a moment":     {&chats.Limit{Kind: chats.LimitHourly, Until: now.Add(5 * time.Second)}, 5 * time.Second},
			"reset in half an hour": {&chats.Limit{Kind: chats.LimitHourly, Until: now.Add(30 * time.Minute)}, time.Minute},
			"reset in the past":     {&chats.Limit{Kind: chats.LimitHourly, Until: now.Add(-time.Minute)}, time.Minute},
			"no time":               {&chats.Limit{Kind: chats.LimitHourly}, time.Minute},
			"no limit":              {nil, time.Minute},
		} {
			q := newQuota(chatstest.NewMarket().Client(), 0.2, nil)
			assert.Equal(t, now.Add(tt.want), q.refuse(history, &chats.Error{Limit: tt.limit}), name)
			assert.Equal(t, now.Add(tt.want), q.next(history), name)
		}
	})
}
