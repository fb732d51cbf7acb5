package chatstest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

func get(ctx context.Context, t *testing.T, m *chatstest.Market) result {
	t.Helper()
	return exchange(t, m.Transport(), request(ctx, t, http.MethodGet, business+"/chat?chatId=5", ""))
}

func TestLimits_EveryResponseReportsTheDocumentedQuotas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket()
		id := m.AddChat(chats.Chat{ID: 5})
		message := m.CustomerSays(id, "a")
		time.Sleep(20 * time.Minute)
		c := client(t, m)
		ctx := t.Context()
		calls := map[chats.Operation]func() error{
			chats.OpGetChats:          func() error { _, err := c.ChatsPage(ctx, chats.Filter{}, chats.PageRequest{}); return err },
			chats.OpGetChat:           func() error { _, err := c.Chat(ctx, id); return err },
			chats.OpGetChatHistory:    func() error { _, err := c.HistoryPage(ctx, id, 0, chats.PageRequest{}); return err },
			chats.OpGetChatMessage:    func() error { _, err := c.Message(ctx, id, message); return err },
			chats.OpCreateChat:        func() error { _, err := c.OpenChat(ctx, chats.AboutOrder(1)); return err },
			chats.OpSendMessageToChat: func() error { return c.SendText(ctx, id, "b") },
			chats.OpSendFileToChat:    func() error { return c.SendFile(ctx, id, "c.txt", strings.NewReader("c")) },
		}
		limits := contract.RateLimits()
		require.Len(t, calls, len(limits))
		for op, call := range calls {
			require.NoError(t, call())
			limit, ok := c.Limit(op)
			require.True(t, ok, op)
			assert.Equal(t, limits[op], limit.Max, op)
			assert.Equal(t, limits[op]-1, limit.Remaining, op)
			assert.True(t, limit.Until.Equal(time.Now().Truncate(time.Hour).Add(time.Hour)), "%s: %s", op, limit.Until)
			assert.Equal(t, 1, m.Calls(op))
		}
		got := exchange(t, m.Transport(), request(ctx, t, http.MethodGet, business+"/chat?chatId=6", ""))
		assert.Equal(t, http.StatusNotFound, got.status)
		assert.Equal(t, "998", got.header.Get("X-RateLimit-Resource-Remaining"), "a 4xx costs one")
		assert.Equal(t, "Sat, 01 Jan 2000 01:00:00 GMT", got.header.Get("X-RateLimit-Resource-Until"))
		assert.Equal(t, "Sat, 01 Jan 2000 00:20:00 GMT", got.header.Get("Date"))
		assert.Regexp(t, "^00-[0-9a-f]{32}-[0-9a-f]{16}-01$", got.header.Get("Traceparent"))
	})
}

func TestLimits_DocumentedQuotasAreNotEnforced(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	m.AddChat(chats.Chat{ID: 5})
	var got result
	for range 1_001 {
		got = exchange(t, m.Transport(), request(contract.Skip(t.Context()), t, http.MethodGet, business+"/chat?chatId=5", ""))
	}
	assert.Equal(t, http.StatusOK, got.status)
	assert.Equal(t, "1", got.header.Get("X-RateLimit-Resource-Remaining"))
	assert.Equal(t, 1_001, m.Calls(chats.OpGetChat))
}

// A client believes the headers: after a response with nothing remaining, it would refuse further calls itself.
func TestLimits_AClientMayMakeAnyNumberOfCalls(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	id := m.AddChat(chats.Chat{})
	c := m.Client()
	for range 1_010 { // getChat has a quota of 1,000
		_, err := c.Chat(t.Context(), id)
		require.NoError(t, err)
	}
	limit, ok := c.Limit(chats.OpGetChat)
	require.True(t, ok)
	assert.Equal(t, 1_000, limit.Max)
	assert.Equal(t, 1, limit.Remaining)
}

func TestWithHourlyLimit_LastsUntilTheNextHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket(chatstest.WithHourlyLimit(chats.OpGetChat, 2), chatstest.WithHourlyLimit(chats.OpCreateChat, -1))
		m.AddChat(chats.Chat{ID: 5})
		time.Sleep(59 * time.Minute)
		for range 2 {
			assert.Equal(t, http.StatusOK, get(t.Context(), t, m).status)
		}
		got := get(t.Context(), t, m)
		assert.Equal(t, 420, got.status)
		assert.Contains(t, got.body, `"METHOD_FAILURE","message":"Hit rate limit of 2 requests per hour for resource getChat for business 1234567"`)
		assert.Equal(t, "2", got.header.Get("X-RateLimit-Resource-Limit"))
		assert.Equal(t, "0", got.header.Get("X-RateLimit-Resource-Remaining"))
		assert.Equal(t, "Sat, 01 Jan 2000 01:00:00 GMT", got.header.Get("X-RateLimit-Resource-Until"))
		_, err := client(t, m).HistoryPage(t.Context(), 5, 0, chats.PageRequest{})
		require.NoError(t, err, "of this operation alone")
		closed := request(t.Context(), t, http.MethodPost, business+"/chats/new", `{"context":{"type":"ORDER","id":1}}`)
		assert.Equal(t, 420, exchange(t, m.Transport(), closed).status)

		time.Sleep(time.Minute)
		got = get(t.Context(), t, m)
		assert.Equal(t, http.StatusOK, got.status)
		assert.Equal(t, "1", got.header.Get("X-RateLimit-Resource-Remaining"))
	})
}

func TestWithParallelLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		options []chatstest.Option
		refused int
	}{
		{"four by default", nil, 6},
		{"another one", []chatstest.Option{chatstest.WithParallelLimit(2)}, 8},
		{"none", []chatstest.Option{chatstest.WithParallelLimit(0)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := chatstest.NewMarket(append(c.options, chatstest.WithLatency(time.Second))...)
				m.AddChat(chats.Chat{ID: 5})
				statuses := map[int]int{}
				var mu sync.Mutex
				var group sync.WaitGroup
				for range 10 {
					group.Go(func() {
						got := get(t.Context(), t, m)
						mu.Lock()
						defer mu.Unlock()
						statuses[got.status]++
						if got.status == 420 {
							assert.Contains(t, got.body, "parallel requests for business 1234567")
							assert.Empty(t, got.header.Get("X-RateLimit-Resource-Until"))
							assert.Equal(t, "1000", got.header.Get("X-RateLimit-Resource-Remaining"), "it costs nothing")
						}
					})
				}
				group.Wait()
				assert.Equal(t, c.refused, statuses[420])
				assert.Equal(t, 10-c.refused, statuses[200])
				assert.Positive(t, m.PeakParallel())
				assert.Equal(t, http.StatusOK, get(t.Context(), t, m).status)
			})
		})
	}
}

func TestClient_KeepsWithinTheParallelLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket(chatstest.WithLatency(time.Second))
		m.AddChat(chats.Chat{ID: 5})
		c := client(t, m)
		var group sync.WaitGroup
		for range 16 {
			group.Go(func() {
				_, err := c.Chat(t.Context(), 5)
				assert.NoError(t, err)
			})
		}
		group.Wait()
		assert.Equal(t, 4, m.PeakParallel())
		assert.Equal(t, 16, m.Calls(chats.OpGetChat))
	})
}

// A response is in flight until it is read or closed or its context is done.
func TestTransport_ResponseIsInFlightUntilRead(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket(chatstest.WithParallelLimit(1))
	m.AddChat(chats.Chat{ID: 5})
	open := func(ctx context.Context) *http.Response {
		resp, err := m.Transport().RoundTrip(request(ctx, t, http.MethodGet, business+"/chat?chatId=5", ""))
		require.NoError(t, err)
		return resp
	}
	ctx, cancel := context.WithCancel(t.Context())
	first := open(ctx)
	assert.Equal(t, 420, get(t.Context(), t, m).status)
	require.NoError(t, first.Body.Close())
	assert.Equal(t, http.StatusOK, get(t.Context(), t, m).status)
	_, err := first.Body.Read(make([]byte, 1))
	require.ErrorIs(t, err, http.ErrBodyReadAfterClose)

	second := open(ctx)
	_, err = second.Body.Read(make([]byte, second.ContentLength))
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, get(t.Context(), t, m).status, "the last byte was read")
	require.NoError(t, second.Body.Close())

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		third := open(ctx)
		cancel()
		synctest.Wait()
		assert.Equal(t, http.StatusOK, get(t.Context(), t, m).status, "its context is done")
		_, err := third.Body.Read(make([]byte, 1))
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, third.Body.Close())
	})
	cancel()
}

// eager makes its next request before the response to this one has been written completely.
type eager struct {
	*httptest.ResponseRecorder

	next func()
}

func (e eager) Write(p []byte) (int, error) {
	e.next()
	return e.ResponseRecorder.Write(p)
}

// On a listener a slot is released before the client can have received the whole response,
// because its next request may arrive before the previous handler has returned.
// A test may fail in a function of an option: FailNow exits the goroutine of the request.
func TestTransport_RequestThatPanicsIsInFlightNoLonger(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(){"panic": func() { panic("boom") }, "exit": runtime.Goexit} {
		market := chatstest.NewMarket(chatstest.WithParallelLimit(1), chatstest.WithStoredText(func(text string) string { fail(); return text }))
		id := market.AddChat(chats.Chat{})
		done := make(chan any)
		go func() {
			defer func() { done <- recover() }()
			_ = market.Client().SendText(t.Context(), id, "text")
		}()
		<-done
		_, err := market.Client(chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1})).Chat(t.Context(), id)
		require.NoError(t, err, name)
	}
}

func TestServeHTTP_QuickClientIsNotRefused(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket(chatstest.WithParallelLimit(1))
	m.AddChat(chats.Chat{ID: 5})
	for _, fault := range []chatstest.Fault{chatstest.OK(), chatstest.SlowBody(time.Microsecond)} {
		m.Fail(chats.OpGetChat, fault)
		var statuses []int
		w := eager{httptest.NewRecorder(), func() { statuses = append(statuses, get(t.Context(), t, m).status) }}
		m.ServeHTTP(w, request(t.Context(), t, http.MethodGet, business+"/chat?chatId=5", ""))
		assert.Equal(t, http.StatusOK, w.Code)
		assert.Equal(t, http.StatusOK, statuses[len(statuses)-1])
	}
}
