package chats_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// API calls follow no redirect, even if the HTTP client that was passed would.
func TestWire_RedirectIsErrorWithStatus(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed: %s %s, %q", r.Method, r.URL, r.Header)
	}))
	t.Cleanup(other.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{other.URL + "/", "/elsewhere", "http://[::1", "%zz://", ""} {
			t.Run(fmt.Sprintf("%d to %q", status, location), func(t *testing.T) {
				t.Parallel()
				var requests atomic.Int32
				base := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					_, _ = io.Copy(io.Discard, r.Body)
					w.Header()["Location"] = []string{location}
					w.WriteHeader(status)
				}))
				t.Cleanup(base.Close)
				follow := func(*http.Request, []*http.Request) error { return nil }
				client, err := chats.New(1, chats.APIKey("key"), chats.WithBaseURL(base.URL),
					chats.WithHTTPClient(&http.Client{Transport: base.Client().Transport, CheckRedirect: follow}))
				require.NoError(t, err)
				calls := map[chats.Operation]func(context.Context) error{
					chats.OpGetChat: func(ctx context.Context) error { _, err := client.Chat(ctx, 1); return err },
					chats.OpGetChatHistory: func(ctx context.Context) error {
						_, err := client.HistoryPage(ctx, 1, 0, chats.PageRequest{})
						return err
					},
					chats.OpSendMessageToChat: func(ctx context.Context) error { return client.SendText(ctx, 1, "Да") },
					chats.OpSendFileToChat: func(ctx context.Context) error {
						return client.SendFile(ctx, 1, "a.txt", bytes.NewBufferString("it cannot be rewound"))
					},
				}
				for op, call := range calls {
					before := requests.Load()
					err := call(t.Context())
					var e *chats.Error
					require.ErrorAs(t, err, &e, op)
					assert.Equal(t, status, e.StatusCode, "%s: %v", op, err)
					require.ErrorContains(t, err, "check the base URL", op)
					require.Equal(t, isSend(op), errors.Is(err, chats.ErrOutcomeUnknown), "%s: it may have been processed", op)
					assert.EqualValues(t, 1, requests.Load()-before, op)
				}
			})
		}
	}
}

// rawServer is a TCP server that runs serve for each connection and closes it after.
type rawServer struct {
	net.Listener
	served sync.WaitGroup

	mu    sync.Mutex
	texts []string // of the sends that arrived completely
}

func newRawServer(t *testing.T, serve func(c *rawServer, conn net.Conn)) *rawServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &rawServer{Listener: listener}
	c.served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			c.served.Go(func() {
				defer func() { _ = conn.Close() }()
				serve(c, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		c.served.Wait()
	})
	return c
}

// request reads one complete request and records it if it is a send.
func (c *rawServer) request(from *bufio.Reader) bool {
	req, err := http.ReadRequest(from)
	if err != nil {
		return false
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return false
	}
	if strings.Contains(string(body), "message") {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.texts = append(c.texts, string(body))
	}
	return true
}

func (c *rawServer) posted() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.texts
}

func writeResponse(conn net.Conn, body string) {
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// net/http retries some requests by itself if an idle connection turns out to be
// closed. A send that was written must not be among them.
func TestSendText_ConnectionClosedAfterRequestPostsOnce(t *testing.T) {
	t.Parallel()
	server := newRawServer(t, func(c *rawServer, conn net.Conn) {
		from := bufio.NewReader(conn)
		if c.request(from) {
			writeResponse(conn, `{"status":"OK","result":{"chatId":1}}`)
			c.request(from) // reads the second one completely, then the connection closes
		}
	})
	for range 20 {
		transport := &http.Transport{}
		client, err := chats.New(1, chats.APIKey("key"), chats.WithBaseURL("http://"+server.Addr().String()),
			chats.WithHTTPClient(&http.Client{Transport: transport}))
		require.NoError(t, err)
		_, err = client.Chat(t.Context(), 1)
		require.NoError(t, err)
		before := len(server.posted())
		err = client.SendText(t.Context(), 1, "Один раз")
		transport.CloseIdleConnections()
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
		assert.Len(t, server.posted()[before:], 1)
	}
}

// If an idle connection was closed by the server, the send either succeeds on a new one
// or its outcome is unknown. It is never posted twice.
func TestSendText_IdleConnectionClosedByServerPostsAtMostOnce(t *testing.T) {
	t.Parallel()
	server := newRawServer(t, func(c *rawServer, conn net.Conn) {
		if c.request(bufio.NewReader(conn)) {
			writeResponse(conn, `{"status":"OK","result":{"chatId":1}}`)
		}
	})
	for range 20 {
		transport := &http.Transport{}
		client, err := chats.New(1, chats.APIKey("key"), chats.WithBaseURL("http://"+server.Addr().String()),
			chats.WithHTTPClient(&http.Client{Transport: transport}))
		require.NoError(t, err)
		_, err = client.Chat(t.Context(), 1)
		require.NoError(t, err)
		before := len(server.posted())
		err = client.SendText(t.Context(), 1, "Один раз")
		transport.CloseIdleConnections()
		n := len(server.posted()) - before
		if err == nil {
			assert.Equal(t, 1, n)
			continue
		}
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
		assert.LessOrEqual(t, n, 1)
	}
}

// newSilentServer starts a server that closes each connection after its response, without saying so.
func newSilentServer(t *testing.T) *rawServer {
	t.Helper()
	return newRawServer(t, func(c *rawServer, conn net.Conn) {
		from := bufio.NewReader(conn)
		if c.request(from) {
			writeResponse(conn, `{"status":"OK","result":{"chatId":1}}`)
			_, _ = from.ReadByte() // of the next request, which it does not read
		}
	})
}

// A server that closes each connection after its response, without saying so, costs one send
// its outcome, and not every other one.
func TestSendText_ServerThatClosesConnectionsSilently(t *testing.T) {
	t.Parallel()
	server := newSilentServer(t)
	transport := &http.Transport{}
	client, err := chats.New(1, chats.APIKey("key"), chats.WithBaseURL("http://"+server.Addr().String()),
		chats.WithHTTPClient(&http.Client{Transport: transport}))
	require.NoError(t, err)
	var doubts int
	for n := range 10 {
		_, err = client.Chat(t.Context(), 1)
		require.NoError(t, err)
		if err := client.SendText(t.Context(), 1, fmt.Sprint("Ответ ", n)); err != nil {
			require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
			doubts++
		}
	}
	transport.CloseIdleConnections()
	assert.Equal(t, 1, doubts)
	assert.Len(t, server.posted(), 9)
}

// The clients of many shops share the connections of the default transport, and what is known about
// the server.
func TestSendText_ServerThatClosesConnectionsSilentlyToManyClients(t *testing.T) {
	t.Parallel()
	server := newSilentServer(t)
	var doubts int
	for shop := range chats.BusinessID(5) {
		client, err := chats.New(shop+1, chats.APIKey("key"), chats.WithBaseURL("http://"+server.Addr().String()))
		require.NoError(t, err)
		for range 2 {
			_, err = client.Chat(t.Context(), 1)
			require.NoError(t, err)
			if err := client.SendText(t.Context(), 1, "Завтра"); err != nil {
				require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
				doubts++
			}
		}
	}
	assert.Equal(t, 1, doubts)
}

// A caller that stops waiting, or whose file cannot be read, proves nothing about the
// connection.
func TestWire_ConnectionsAreReusedAfterTheCallersFailures(t *testing.T) {
	t.Parallel()
	server := chatstest.NewServer(t)
	chat, transport := server.AddChat(chats.Chat{}), server.Transport()
	client := server.Client(withContract(t, roundTrip(func(req *http.Request) (*http.Response, error) {
		assert.False(t, req.Close)
		return transport.RoundTrip(req)
	})))
	for range 3 {
		_, err := client.Chat(t.Context(), chat)
		require.NoError(t, err)
		err = client.SendFile(t.Context(), chat, "a.txt", io.NewSectionReader(unreadable{}, 0, 5))
		require.ErrorIs(t, err, fs.ErrPermission)
		_, err = client.Chat(t.Context(), chat)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		server.FailFunc(func(chats.Operation, int) chatstest.Fault {
			cancel()
			return chatstest.Delay(time.Minute) // ends with the request
		})
		_, err = client.Chat(ctx, chat)
		require.ErrorIs(t, err, context.Canceled)
		server.FailFunc(nil)
	}
}

type unreadable struct{}

func (unreadable) ReadAt([]byte, int64) (int, error) { return 0, fs.ErrPermission }

func TestSendText_RefusedConnectionIsRetried(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	var seen []chats.Attempt
	client, err := chats.New(1, chats.APIKey("key"), chats.WithBaseURL("http://"+address),
		chats.WithHTTPClient(&http.Client{Transport: &http.Transport{}}),
		chats.WithRetry(chats.RetryPolicy{MaxAttempts: 3, BaseDelay: time.Nanosecond}),
		chats.WithHook(func(_ context.Context, c chats.Attempt) { seen = append(seen, c) }))
	require.NoError(t, err)
	err = client.SendText(t.Context(), 1, "Да")
	require.Error(t, err)
	require.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
	assert.Len(t, seen, 3, "without a connection a send is retried")
}

func TestWire_EveryCallKeepsTheContractOverTLS(t *testing.T) {
	t.Parallel()
	server := chatstest.NewTLSServer(t)
	client := server.Client(withContract(t, server.Transport()))
	f := &fixture{market: server.Market, client: client, chat: server.AddChat(chats.Chat{Subject: chats.AboutOrder(100)})}
	f.first = server.CustomerSays(f.chat, "Когда приедет заказ?")
	for _, op := range chats.Operations() {
		require.NoError(t, f.call(t.Context(), op))
		assert.Equal(t, 1, server.Calls(op))
	}
	assert.Equal(t, 2, f.posted())
}

// A truncated response counts as no response.
func TestWire_TruncatedResponse(t *testing.T) {
	t.Parallel()
	server := chatstest.NewServer(t)
	transport := contract.Transport(t, server.Transport())
	client := server.Client(chats.WithHTTPClient(&http.Client{Transport: transport}), chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond}))
	chat := server.AddChat(chats.Chat{})
	server.Fail(chats.OpGetChat, chatstest.Truncate(10), chatstest.DropBefore())
	_, err := client.Chat(t.Context(), chat)
	require.NoError(t, err)
	assert.Equal(t, 3, server.Calls(chats.OpGetChat))

	server.Fail(chats.OpSendMessageToChat, chatstest.Truncate(10))
	err = client.SendText(t.Context(), chat, "Да")
	require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
	require.ErrorIs(t, err, chats.ErrProtocol)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	server.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
	err = client.SendText(t.Context(), chat, "Нет")
	require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
	require.ErrorIs(t, err, io.EOF)
	assert.Len(t, server.Messages(chat), 2)
}

// net/http may retry an HTTP/2 request by itself although it has arrived. A send has no
// GetBody, so that it cannot.
func TestWire_SendsCannotBeRetriedByNetHTTP(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	for _, op := range chats.Operations() {
		var hasGetBody bool
		f := newFixtureOn(t, market, chats.WithHTTPClient(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
			hasGetBody = req.GetBody != nil
			return market.Transport().RoundTrip(req)
		})}))
		require.NoError(t, f.call(t.Context(), op))
		repeatable := op == chats.OpGetChats || op == chats.OpGetChatHistory || op == chats.OpCreateChat
		assert.Equal(t, repeatable, hasGetBody, op)
	}
}

// A connection was made but accepts nothing: a part of the request may have been sent.
func TestSendText_StuckConnectionIsOutcomeUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ends []net.Conn
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe() // nothing reads from the far end
			ends = append(ends, far)
			return near, nil
		}}
		client, err := chats.New(1, chats.APIKey("key"), chats.WithBaseURL("http://127.0.0.1"), chats.WithHTTPClient(&http.Client{Transport: transport}))
		require.NoError(t, err)
		require.ErrorIs(t, client.SendText(t.Context(), 1, "?"), chats.ErrOutcomeUnknown)
		assert.Len(t, ends, 1)
		for _, end := range ends {
			require.NoError(t, end.Close())
		}
		transport.CloseIdleConnections()
	})
}

// serveRaw returns the base URL of a server that responds to every request with format,
// in which %s is the request's Api-Key.
func serveRaw(t *testing.T, format string) (base string) {
	t.Helper()
	return "http://" + newRawServer(t, func(_ *rawServer, conn net.Conn) {
		if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = fmt.Fprintf(conn, format, req.Header.Get("Api-Key"))
		}
	}).Addr().String()
}

// tree returns an error and everything that it wraps, which a logger may print as well.
func tree(err error) []error {
	all := []error{err}
	switch wraps := err.(type) { //nolint:errorlint // every level is looked at
	case interface{ Unwrap() error }:
		if inner := wraps.Unwrap(); inner != nil {
			all = append(all, tree(inner)...)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range wraps.Unwrap() {
			all = append(all, tree(inner)...)
		}
	}
	return all
}

func TestWire_InvalidHTTPResponseRevealsNoKey(t *testing.T) {
	t.Parallel()
	const key = "ACMA:abcdefghijklmnopqrstuvwxyz0123456789ABCD:1a2b3c4d"
	for _, format := range []string{
		"HTTP/1.1 %s\r\n\r\n",
		"echo Api-Key: %s\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: http://[::1/%s\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 " + strings.Repeat("A", 60_000) + "%s\r\n\r\n",
	} {
		base := serveRaw(t, format)
		client := newClientAt(t, base, chats.APIKey(key), noRetry)
		_, chatErr := client.Chat(t.Context(), 1)
		_, downloadErr := client.Download(t.Context(), chats.File{URL: base + "/file"})
		for _, err := range []error{chatErr, downloadErr} {
			require.Error(t, err, format)
			for _, part := range tree(err) {
				assert.NotContains(t, part.Error(), key[5:20])
				assert.Less(t, len(part.Error()), 1000)
			}
		}
	}
}

// net/http returns the bare connection as the body of a 101.
func TestWire_SwitchingProtocolsIsError(t *testing.T) {
	t.Parallel()
	base := serveRaw(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n%.0s")
	client := newClientAt(t, base, chats.APIKey("key"), noRetry)
	_, err := client.Chat(t.Context(), 1)
	var e *chats.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, http.StatusSwitchingProtocols, e.StatusCode)
	_, err = client.Download(t.Context(), chats.File{URL: base + "/file"})
	require.ErrorAs(t, err, &e)
	assert.Equal(t, http.StatusSwitchingProtocols, e.StatusCode)
}

// The body of a transport other than net/http's may block whatever becomes of the context.
func TestWire_BodyThatIgnoresItsContextHoldsNoSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		defer close(blocked)
		market := chatstest.NewMarket()
		isStuck := true
		f := newFixtureOn(t, market, noRetry, chats.WithMaxParallel(1), chats.WithHTTPClient(&http.Client{
			Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
				resp, err := market.Transport().RoundTrip(req)
				if isStuck && err == nil {
					_ = resp.Body.Close()
					resp.Body = io.NopCloser(stuckReader(blocked))
				}
				return resp, err
			}),
		}))
		began := time.Now()
		err := f.call(t.Context(), chats.OpSendMessageToChat)
		require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		assert.LessOrEqual(t, time.Since(began), 31*time.Second)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, f.call(ctx, chats.OpGetChat), context.DeadlineExceeded)

		isStuck = false
		require.NoError(t, f.call(t.Context(), chats.OpGetChat), "the slot is free")
	})
}

type stuckReader chan struct{}

func (r stuckReader) Read([]byte) (int, error) {
	<-r
	return 0, io.EOF
}
