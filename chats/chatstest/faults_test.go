package chatstest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
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

const okBody = `{"status":"OK"}`

// faults lists what a plain sendMessageToChat gets with each fault.
var faults = []struct {
	name      string
	fault     chatstest.Fault
	status    int
	body      string
	err       error // nil: the whole response arrived
	processed bool
	took      time.Duration
	marked    string
}{
	{name: "OK", fault: chatstest.OK(), status: 200, body: okBody, processed: true},
	{name: "zero", fault: chatstest.Fault{}, status: 200, body: okBody, processed: true},
	{name: "Delay", fault: chatstest.Delay(delay), status: 200, body: okBody, processed: true, took: delay},
	{name: "SlowHeaders", fault: chatstest.SlowHeaders(delay), status: 200, body: okBody, processed: true, took: delay},
	{
		name: "SlowBody", fault: chatstest.SlowBody(delay), status: 200, body: okBody,
		processed: true, took: delay, marked: "slow body",
	},
	{name: "Status", fault: chatstest.Status(500, "{}"), status: 500, body: "{}", marked: "status"},
	{name: "Status without a body", fault: chatstest.Status(503, ""), status: 503, marked: "status"},
	{
		name: "Respond", fault: chatstest.Respond(429, http.Header{"Retry-After": {"7"}}, "{}"), status: 429, body: "{}",
		marked: "status",
	},
	{name: "Respond with a redirect", fault: chatstest.Respond(303, http.Header{"Location": {"/"}}, ""), status: 303, marked: "status"},
	{name: "Respond with a switch", fault: chatstest.Respond(101, nil, ""), status: 101, marked: "status"},
	{
		name: "Respond with a short length", fault: chatstest.Respond(200, http.Header{"Content-Length": {"5"}}, okBody),
		status: 200, body: okBody[:5], marked: "status",
	},
	{
		name: "Respond with a length of zero", fault: chatstest.Respond(200, http.Header{"Content-Length": {"0"}}, okBody),
		status: 200, marked: "status",
	},
	{
		name: "Respond with a long length", fault: chatstest.Respond(200, http.Header{"Content-Length": {"50"}}, okBody),
		status: 200, body: okBody, err: io.ErrUnexpectedEOF, marked: "status",
	},
	{
		name: "StatusAfter that allows no body", fault: chatstest.StatusAfter(204, okBody), status: 204,
		processed: true, marked: "status after",
	},
	{
		name: "Rewrite to a status that allows no body", fault: chatstest.Rewrite(func(r *chatstest.Response) { r.Status = 304 }), status: 304,
		processed: true, marked: "rewrite",
	},
	{name: "RespondEarly", fault: chatstest.RespondEarly(5, 413, "{}"), status: 413, body: "{}", marked: "status"},
	{name: "RespondEarly at once", fault: chatstest.RespondEarly(0, 200, okBody), status: 200, body: okBody, marked: "status"},
	{
		name: "Rewrite", fault: chatstest.Rewrite(func(r *chatstest.Response) {
			r.Status, r.Body = 201, append([]byte("\ufeff"), r.Body...)
		}), status: 201, body: "\ufeff" + okBody, processed: true, marked: "rewrite",
	},
	{name: "Replay of nothing", fault: chatstest.Replay(), status: 200, body: okBody, processed: true},
	{name: "BadStatusLine", fault: chatstest.BadStatusLine("SMTP 200"), err: errLost, processed: true},
	{
		name: "TruncateSilently", fault: chatstest.TruncateSilently(4), status: 200, body: okBody[:4],
		processed: true, marked: "truncate silently",
	},
	{
		name: "TruncateSilently more than there is", fault: chatstest.TruncateSilently(1 << 20), status: 200, body: okBody,
		processed: true, marked: "truncate silently",
	},
	{
		name: "StatusAfter", fault: chatstest.StatusAfter(500, `{"a":1}`), status: 500, body: `{"a":1}`,
		processed: true, marked: "status after",
	},
	{name: "HTML", fault: chatstest.HTML(502), status: 502, body: "<h1>502 Bad Gateway</h1>", marked: "html"},
	{name: "Malformed", fault: chatstest.Malformed("{{{"), status: 200, body: "{{{", processed: true, marked: "malformed"},
	{name: "RateLimitedHourly", fault: chatstest.RateLimitedHourly(time.Time{}), status: 420, body: "per hour"},
	{name: "RateLimitedParallel", fault: chatstest.RateLimitedParallel(), status: 420, body: "of 4 parallel"},
	{name: "Refused", fault: chatstest.Refused(), err: errLost},
	{name: "DropBefore", fault: chatstest.DropBefore(), err: errLost},
	{name: "DropAfter", fault: chatstest.DropAfter(), err: errLost, processed: true},
	{
		name: "Truncate", fault: chatstest.Truncate(4), status: 200, body: okBody[:4], err: io.ErrUnexpectedEOF,
		processed: true, marked: "truncate",
	},
	{
		name: "Truncate at once", fault: chatstest.Truncate(0), status: 200, err: io.ErrUnexpectedEOF,
		processed: true, marked: "truncate",
	},
	{
		name: "Truncate more than there is", fault: chatstest.Truncate(1 << 20), status: 200, body: okBody[:len(okBody)-1],
		err: io.ErrUnexpectedEOF, processed: true, marked: "truncate",
	},
	{
		name: "EndlessBody", fault: chatstest.EndlessBody(), status: 200, body: `{"status":"OK","endless":"....`,
		processed: true, marked: "endless body",
	},
}

const delay = 2 * time.Millisecond // real time in the tests on a listener

// errLost stands for any error of a connection that closed without a response.
var errLost = errors.New("lost")

func TestFail_EachFault(t *testing.T) {
	t.Parallel()
	for i := range faults {
		t.Run(faults[i].name, func(t *testing.T) {
			t.Parallel()
			t.Run("in process", func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					m := chatstest.NewMarket()
					began := time.Now()
					checkFault(t, i, m, m.Transport(), host)
					assert.Equal(t, faults[i].took, time.Since(began))
				})
			})
			t.Run("on a listener", func(t *testing.T) {
				t.Parallel()
				s := chatstest.NewServer(t)
				checkFault(t, i, s.Market, s.Transport(), s.URL)
			})
		})
	}
}

// checkFault makes a call that fails and one that succeeds.
func checkFault(t *testing.T, i int, m *chatstest.Market, transport http.RoundTripper, base string) {
	t.Helper()
	want := faults[i]
	id := m.AddChat(chats.Chat{ID: 5})
	m.Fail(chats.OpSendMessageToChat, want.fault)
	send := func() result {
		return bounded(t, transport, request(t.Context(), t, http.MethodPost,
			base+"/v2/businesses/1234567/chats/message?chatId=5", `{"message":"Добрый день"}`))
	}
	got := send()
	assert.Equal(t, want.status, got.status)
	if strings.Contains(got.body, want.body) {
		got.body = want.body
	}
	assert.Equal(t, want.body, got.body)
	switch {
	case want.err == nil:
		require.NoError(t, got.err)
	case !errors.Is(want.err, errLost):
		require.ErrorIs(t, got.err, want.err)
	default:
		require.Error(t, got.err)
	}
	assert.Equal(t, want.marked, got.header.Get(chatstest.FaultHeader))
	stored := 0
	if want.processed {
		stored = 1
	}
	assert.Len(t, m.Messages(id), stored)
	assert.Equal(t, 1, m.Calls(chats.OpSendMessageToChat))

	assert.JSONEq(t, okBody, send().body, "a fault affects one call")
	assert.Len(t, m.Messages(id), stored+1)
}

// bounded reads at most the first 10,000 bytes of a response.
func bounded(t *testing.T, transport http.RoundTripper, req *http.Request) result {
	t.Helper()
	resp, err := contract.Transport(t, transport).RoundTrip(req)
	if err != nil {
		return result{err: err}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 10_000))
	require.NoError(t, resp.Body.Close())
	return result{resp.StatusCode, resp.Header, string(body), err}
}

func TestFail_LimitHeaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket()
		m.AddChat(chats.Chat{ID: 5})
		until := time.Now().Add(90 * time.Second)
		m.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(until), chatstest.RateLimitedParallel(),
			chatstest.Status(500, "{}"), chatstest.StatusAfter(500, "<html>"), chatstest.HTML(502))

		got := get(t.Context(), t, m)
		assert.Equal(t, until.UTC().Format(http.TimeFormat), got.header.Get("X-RateLimit-Resource-Until"))
		assert.Equal(t, "0", got.header.Get("X-RateLimit-Resource-Remaining"))
		assert.Contains(t, got.body, "Hit rate limit of 1000 requests per hour for resource getChat for business 1234567")
		got = get(t.Context(), t, m)
		assert.Empty(t, got.header.Get("X-RateLimit-Resource-Until"))
		assert.Contains(t, got.body, "Hit rate limit of 4 parallel requests for business 1234567")
		assert.Equal(t, "1000", get(t.Context(), t, m).header.Get("X-RateLimit-Resource-Remaining"))
		got = get(t.Context(), t, m)
		assert.Equal(t, "999", got.header.Get("X-RateLimit-Resource-Remaining"))
		assert.Equal(t, "text/html; charset=utf-8", got.header.Get("Content-Type"))
		got = get(t.Context(), t, m)
		assert.Empty(t, got.header.Get("X-RateLimit-Resource-Limit"), "a gateway knows no limits")
		assert.Equal(t, "text/html; charset=utf-8", got.header.Get("Content-Type"))
	})
}

func TestRateLimitedParallel_WithoutALimitNamesTheDocumentedOne(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket(chatstest.WithParallelLimit(0))
	m.Fail(chats.OpGetChat, chatstest.RateLimitedParallel())
	assert.Contains(t, get(t.Context(), t, m).body, "of 4 parallel")
}

func TestFail_QueueComesBeforeFailFunc(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	m.AddChat(chats.Chat{ID: 5})
	m.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
		assert.Equal(t, chats.OpGetChat, op)
		assert.Equal(t, n, m.Calls(op), "the Market may be used")
		if n%2 == 0 {
			return chatstest.Status(503, "{}")
		}
		return chatstest.OK()
	})
	m.Fail(chats.OpGetChat, chatstest.Status(500, "{}"), chatstest.OK())
	m.Fail(chats.OpGetChat, chatstest.Status(502, "{}"))
	got := make([]int, 6)
	for i := range got {
		got[i] = get(t.Context(), t, m).status
	}
	m.FailFunc(nil)
	assert.Equal(t, http.StatusOK, get(t.Context(), t, m).status)
	assert.Equal(t, []int{500, 200, 502, 503, 200, 503}, got)
	assert.Equal(t, 7, m.Calls(chats.OpGetChat))
}

func TestProcessLate_KeepsTheOrderOfDueTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket()
		id := m.AddChat(chats.Chat{ID: 5})
		m.Fail(chats.OpSendMessageToChat, chatstest.ProcessLate(5*time.Second), chatstest.ProcessLate(time.Second))
		send := func(text string) {
			req := request(t.Context(), t, http.MethodPost, business+"/chats/message?chatId=5", `{"message":"`+text+`"}`)
			require.ErrorIs(t, exchange(t, m.Transport(), req).err, io.EOF)
		}
		send("first")
		send("second")
		time.Sleep(2 * time.Second)
		m.CustomerSays(id, "third")
		assert.Len(t, m.Messages(id), 2)
		time.Sleep(10 * time.Second)
		held := m.Messages(id)
		require.Len(t, held, 3)
		assert.Equal(t, "second third first", held[0].Text+" "+held[1].Text+" "+held[2].Text)
		assert.Equal(t, 7*time.Second, time.Since(held[2].CreatedAt))
	})
}

func TestProcessLate_WithoutDelayClosesTheConnection(t *testing.T) {
	t.Parallel()
	for _, delay := range []time.Duration{0, -time.Second} {
		m := chatstest.NewMarket()
		id := m.AddChat(chats.Chat{ID: 5})
		m.Fail(chats.OpSendMessageToChat, chatstest.ProcessLate(delay))
		req := request(t.Context(), t, http.MethodPost, business+"/chats/message?chatId=5", `{"message":"a"}`)
		require.ErrorIs(t, exchange(t, m.Transport(), req).err, io.EOF, delay)
		assert.Len(t, m.Messages(id), 1, delay)
	}
}

// A request that has not been processed when its context is done is never processed.
func TestTransport_EveryDelayEndsWithTheContext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		fault  chatstest.Fault
		stored int
	}{
		{"Delay", chatstest.Delay(time.Hour), 0},
		{"SlowHeaders", chatstest.SlowHeaders(time.Hour), 1},
		{"SlowBody", chatstest.SlowBody(time.Hour), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := chatstest.NewMarket(chatstest.WithParallelLimit(1))
				id := m.AddChat(chats.Chat{ID: 5})
				m.Fail(chats.OpSendMessageToChat, c.fault)
				why := errors.New("no longer wanted")
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, why)
				defer cancel()
				began := time.Now()
				got := exchange(t, m.Transport(), request(ctx, t, http.MethodPost, business+"/chats/message?chatId=5", `{"message":"a"}`))
				require.ErrorIs(t, got.err, why)
				assert.Equal(t, time.Minute, time.Since(began))
				time.Sleep(2 * time.Hour)
				assert.Len(t, m.Messages(id), c.stored)
				assert.Equal(t, http.StatusOK, get(t.Context(), t, m).status, "its slot is free")
			})
		})
	}
}

// If the delay outlived the client, the test would never end.
func TestServer_DelaysEndWithTheClient(t *testing.T) {
	t.Parallel()
	s := chatstest.NewServer(t)
	id := s.AddChat(chats.Chat{ID: 5})
	ctx, cancel := context.WithCancel(t.Context())
	s.FailFunc(func(chats.Operation, int) chatstest.Fault {
		cancel()
		return chatstest.Delay(time.Hour)
	})
	got := exchange(t, s.Transport(),
		request(ctx, t, http.MethodPost, s.URL+"/v2/businesses/1234567/chats/message?chatId=5", `{"message":"a"}`))
	require.ErrorIs(t, got.err, context.Canceled)
	assert.Empty(t, s.Messages(id))

	s.FailFunc(nil)
	s.Fail(chats.OpGetChat, chatstest.SlowBody(time.Hour))
	resp, err := s.Transport().RoundTrip(
		request(t.Context(), t, http.MethodGet, s.URL+"/v2/businesses/1234567/chat?chatId=5", ""))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
}

func TestServer_EndlessBodyEndsWithItsReader(t *testing.T) {
	t.Parallel()
	s := chatstest.NewServer(t)
	s.AddChat(chats.Chat{ID: 5})
	s.Fail(chats.OpGetChat, chatstest.EndlessBody())
	_, err := s.Client(chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1})).Chat(t.Context(), 5)
	require.ErrorIs(t, err, chats.ErrProtocol)
}

func TestRespond_SetsAndRemovesHeaders(t *testing.T) {
	t.Parallel()
	until := []string{"Saturday, 01-Jan-00 01:00:00 GMT"}
	header := http.Header{
		"Date":                       {"Sat, 25 Dec 1999 00:00:00 GMT"},
		"X-RateLimit-Resource-Until": until, // the vendor's spelling
		"X-Ratelimit-Resource-Limit": nil,
		"Content-Type":               {"text/plain"},
	}
	for name, start := range servers {
		m, transport, base := start(t)
		m.Fail(chats.OpGetChat, chatstest.Respond(420, header, "points per hour"))
		got := bounded(t, transport, request(t.Context(), t, http.MethodGet, base+"/v2/businesses/1234567/chat?chatId=5", ""))
		assert.Equal(t, "points per hour", got.body, name)
		assert.Equal(t, header["Date"], got.header["Date"], name)
		assert.Equal(t, until, got.header.Values("X-RateLimit-Resource-Until"), name)
		assert.Equal(t, "1000", got.header.Get("X-RateLimit-Resource-Remaining"), name)
		assert.Empty(t, got.header.Get("X-RateLimit-Resource-Limit"), name)
		assert.Equal(t, "text/plain", got.header.Get("Content-Type"), name)
	}
}

func TestRewrite_ChangesEverythingButTheMarket(t *testing.T) {
	t.Parallel()
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, transport, base := start(t)
			file := m.AddFile("a.txt", []byte("content"))
			m.Fail(chats.OpGetChat, chatstest.Rewrite(func(r *chatstest.Response) {
				r.Header.Set("X-RateLimit-Resource-Remaining", "0")
				r.Header.Del("Content-Length")
			}), chatstest.Replay())
			get := func(url string) result {
				return bounded(t, transport, request(t.Context(), t, http.MethodGet, url, ""))
			}
			got := get(base + "/v2/businesses/1234567/chat?chatId=5")
			assert.Equal(t, "0", got.header.Get("X-RateLimit-Resource-Remaining"))
			assert.Empty(t, got.header.Get("Content-Length"))
			again := get(base + "/v2/businesses/1234567/chat?chatId=5")
			assert.Equal(t, "999", again.header.Get("X-RateLimit-Resource-Remaining"), "the Market's own response is replayed")
			assert.Equal(t, got.body, again.body)

			m.Fail(chatstest.OpDownload, chatstest.Rewrite(func(r *chatstest.Response) {
				copy(r.Body, "CONTENT")
				r.Body = r.Body[:4]
			}))
			got = get(file.URL)
			assert.Equal(t, "CONT", got.body)
			assert.Equal(t, "4", got.header.Get("Content-Length"))
			assert.Equal(t, "content", get(file.URL).body)

			m.Fail(chats.OpGetChat, chatstest.Rewrite(func(r *chatstest.Response) {
				*r = chatstest.Response{Status: http.StatusServiceUnavailable, Body: []byte("down")}
			}))
			got = get(base + "/v2/businesses/1234567/chat?chatId=5")
			assert.Equal(t, http.StatusServiceUnavailable, got.status)
			assert.Equal(t, "down", got.body)
		})
	}
}

// A broken cache responds to the second page with the first one.
func TestReplay_RepeatsThePreviousResponse(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	for range 3 {
		m.AddChat(chats.Chat{})
	}
	c := client(t, m)
	read := func(token string) chats.Page[chats.Chat] {
		page, err := c.ChatsPage(t.Context(), chats.Filter{}, chats.PageRequest{Size: 1, Token: token})
		require.NoError(t, err)
		return page
	}
	m.Fail(chats.OpGetChats, chatstest.OK(), chatstest.Replay(), chatstest.Replay())
	first := read("")
	assert.Equal(t, first, read(first.Next))
	assert.Equal(t, first, read(first.Next), "more than once")
	assert.NotEqual(t, first, read(first.Next))

	m.AddChat(chats.Chat{ID: 5})
	m.Fail(chats.OpGetChat, chatstest.OK(), chatstest.Replay(), chatstest.Replay())
	for range 3 {
		got := get(t.Context(), t, m)
		assert.Empty(t, got.header.Get("X-Seen"), "the header is the caller's")
		got.header.Set("X-Seen", "yes")
	}
}

// Only the end of the connection ends the body.
func TestTruncateSilently_DeclaresNoLength(t *testing.T) {
	t.Parallel()
	for name, start := range servers {
		m, transport, base := start(t)
		m.Fail(chats.OpGetChat, chatstest.TruncateSilently(10))
		req := request(t.Context(), t, http.MethodGet, base+"/v2/businesses/1234567/chat?chatId=5", "")
		resp, err := contract.Transport(t, transport).RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, int64(-1), resp.ContentLength, name)
		assert.Empty(t, resp.TransferEncoding, name)
		assert.True(t, resp.Close, name)
	}
}

func TestBadStatusLine_NeedsAHijacker(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	m.AddChat(chats.Chat{ID: 5})
	m.Fail(chats.OpGetChat, chatstest.BadStatusLine("garbage"), chatstest.BadStatusLine("garbage"))
	require.ErrorContains(t, get(t.Context(), t, m).err, `malformed HTTP response "garbage"`)
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() {
		m.ServeHTTP(httptest.NewRecorder(), request(t.Context(), t, http.MethodGet, business+"/chat?chatId=5", ""))
	})
}

// servers are the ways in which a Market is reached. The Market has the chat 5.
var servers = map[string]func(*testing.T) (m *chatstest.Market, transport http.RoundTripper, base string){
	"in process": func(*testing.T) (*chatstest.Market, http.RoundTripper, string) {
		m := chatstest.NewMarket()
		m.AddChat(chats.Chat{ID: 5})
		return m, m.Transport(), host
	},
	"on a listener": func(t *testing.T) (*chatstest.Market, http.RoundTripper, string) {
		t.Helper()
		s := chatstest.NewServer(t)
		s.AddChat(chats.Chat{ID: 5})
		return s.Market, s.Transport(), s.URL
	},
}
