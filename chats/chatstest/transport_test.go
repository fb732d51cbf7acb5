package chatstest_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// traced records the hooks in the order of their calls.
func traced(ctx context.Context, t *testing.T) (context.Context, *[]string) {
	t.Helper()
	var hooks []string
	record := func(name string) { hooks = append(hooks, name) }
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(address string) { record("GetConn " + address) },
		ConnectStart: func(string, string) { record("ConnectStart") },
		ConnectDone: func(_, _ string, err error) {
			if err != nil {
				record("ConnectDone failed")
				return
			}
			record("ConnectDone")
		},
		TLSHandshakeStart: func() { t.Error("there is no TLS in process") },
		TLSHandshakeDone:  func(tls.ConnectionState, error) {},
		GotConn: func(info httptrace.GotConnInfo) {
			assert.NotEmpty(t, info.Conn.RemoteAddr().String())
			record("GotConn")
		},
		WroteHeaders: func() { record("WroteHeaders") },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err != nil {
				record("WroteRequest failed")
				return
			}
			record("WroteRequest")
		},
		GotFirstResponseByte: func() { record("GotFirstResponseByte") },
	}), &hooks
}

var written = []string{
	"GetConn api.partner.market.yandex.ru:443", "ConnectStart", "ConnectDone", "GotConn", "WroteHeaders", "WroteRequest",
}

func TestTransport_CallsTraceHooks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault chatstest.Fault
		want  []string
	}{
		{"a response", chatstest.OK(), append(written[:6:6], "GotFirstResponseByte")},
		{"a failed dial", chatstest.Refused(), []string{written[0], "ConnectStart", "ConnectDone failed"}},
		{"a bad status line", chatstest.BadStatusLine("x"), append(written[:6:6], "GotFirstResponseByte")},
		{"dropped before", chatstest.DropBefore(), written},
		{"dropped after", chatstest.DropAfter(), written},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := chatstest.NewMarket()
			m.AddChat(chats.Chat{ID: 5})
			m.Fail(chats.OpGetChat, c.fault)
			ctx, hooks := traced(t.Context(), t)
			_ = get(ctx, t, m)
			assert.Equal(t, c.want, *hooks)
		})
	}
}

func TestRefused_IsADialError(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	m.Fail(chats.OpGetChat, chatstest.Refused())
	err := get(t.Context(), t, m).err
	var dial *net.OpError
	require.ErrorAs(t, err, &dial)
	assert.Equal(t, "dial", dial.Op)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.Zero(t, m.PeakParallel())
}

// closeRecorder records that a body was closed.
type closeRecorder struct {
	io.Reader
	closed chan struct{}
}

func (c closeRecorder) Close() error {
	close(c.closed)
	return nil
}

// A request whose body fails is not processed, and the hooks report the error.
func TestTransport_FailingBodyPostsNothing(t *testing.T) {
	t.Parallel()
	gone := errors.New("the disk is gone")
	const text = `{"message":"Добрый день"}`
	for _, c := range []struct {
		name string
		body io.Reader
		want string
	}{
		{"it fails", io.MultiReader(strings.NewReader(text[:5]), iotest.ErrReader(gone)), gone.Error()},
		{"it is too short", strings.NewReader(text[:5]), "with Body length 5"},
		{"it is too long", strings.NewReader(text + " "), "with Body length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := chatstest.NewMarket(chatstest.WithParallelLimit(1))
			id := m.AddChat(chats.Chat{ID: 5})
			ctx, hooks := traced(contract.Skip(t.Context()), t)
			req := request(ctx, t, http.MethodPost, business+"/chats/message?chatId=5", text)
			body := closeRecorder{c.body, make(chan struct{})}
			req.Body = body
			require.ErrorContains(t, exchange(t, m.Transport(), req).err, c.want)
			<-body.closed
			assert.Equal(t, append(written[:5:5], "WroteRequest failed"), *hooks)
			assert.Empty(t, m.Messages(id))
			assert.Equal(t, 1, m.Calls(chats.OpSendMessageToChat))
			assert.Equal(t, http.StatusOK, get(t.Context(), t, m).status, "its slot is free")
		})
	}
}

func TestTransport_AlwaysClosesTheBody(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	m.AddChat(chats.Chat{ID: 5})
	m.Fail(chats.OpSendMessageToChat, chatstest.OK(), chatstest.Refused(), chatstest.DropBefore(), chatstest.DropAfter())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ctx := range []context.Context{t.Context(), t.Context(), t.Context(), t.Context(), ended} {
		req := request(ctx, t, http.MethodPost, business+"/chats/message?chatId=5", `{"message":"a"}`)
		body := closeRecorder{req.Body, make(chan struct{})}
		req.Body = body
		_ = exchange(t, m.Transport(), req)
		<-body.closed
	}
	assert.Equal(t, 4, m.Calls(chats.OpSendMessageToChat), "a context that has ended sends nothing")
}

func TestTransport_UploadEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket()
		id := m.AddChat(chats.Chat{ID: 5})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req := request(ctx, t, http.MethodPost, business+"/chats/message?chatId=5", `{"message":"a"}`)
		reader, writer := io.Pipe()
		req.Body = reader
		go func() { _, _ = io.WriteString(writer, `{"mess`) }()
		began := time.Now()
		require.ErrorIs(t, exchange(t, m.Transport(), req).err, context.DeadlineExceeded)
		assert.Equal(t, time.Minute, time.Since(began))
		assert.Empty(t, m.Messages(id))
		_, err := writer.Write([]byte("age"))
		require.ErrorIs(t, err, io.ErrClosedPipe, "nothing reads it any more")
	})
}

func TestTransport_CloseEndsARead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := chatstest.NewMarket()
		m.AddChat(chats.Chat{ID: 5})
		m.Fail(chats.OpGetChat, chatstest.SlowBody(time.Hour))
		resp, err := m.Transport().RoundTrip(request(t.Context(), t, http.MethodGet, business+"/chat?chatId=5", ""))
		require.NoError(t, err)
		time.AfterFunc(time.Second, func() { assert.NoError(t, resp.Body.Close()) })
		began := time.Now()
		_, err = io.ReadAll(resp.Body)
		require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
		require.NoError(t, resp.Body.Close(), "it can be closed again")
		assert.Equal(t, time.Second, time.Since(began))
	})
}

func TestTransport_ResponseIsLikeNetHTTPs(t *testing.T) {
	t.Parallel()
	m := chatstest.NewMarket()
	m.AddChat(chats.Chat{ID: 5})
	m.Fail(chats.OpGetChat, chatstest.OK(), chatstest.EndlessBody())
	for _, endless := range []bool{false, true} {
		req := request(t.Context(), t, http.MethodGet, "http://127.0.0.1/v2/businesses/1234567/chat?chatId=5", "")
		req.Body = nil
		ctx, hooks := traced(t.Context(), t)
		resp, err := m.Transport().RoundTrip(req.WithContext(ctx))
		require.NoError(t, err)
		assert.Equal(t, "GetConn 127.0.0.1:80", (*hooks)[0])
		assert.Equal(t, "200 OK", resp.Status)
		assert.Equal(t, "HTTP/1.1", resp.Proto)
		assert.Equal(t, endless, resp.ContentLength == -1)
		assert.Equal(t, endless, resp.Header.Get("Content-Length") == "")
		assert.Equal(t, req.URL, resp.Request.URL)
		require.NoError(t, resp.Body.Close())
	}
}

// The hooks are called as by net/http, which keeps writing while it reads an early response,
// until the server closes the connection.
func TestRespondEarly_ReadsAPartOfTheBody(t *testing.T) {
	t.Parallel()
	const text = `{"message":"Добрый день"}`
	for _, c := range []struct {
		name string
		n    int
		want []string
	}{
		{"a part", 5, append(written[:5:5], "GotFirstResponseByte", "WroteRequest failed")},
		{"all", len(text), append(written[:6:6], "GotFirstResponseByte")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := chatstest.NewMarket()
			id := m.AddChat(chats.Chat{ID: 5})
			m.Fail(chats.OpSendMessageToChat, chatstest.RespondEarly(c.n, http.StatusOK, okBody))
			ctx, hooks := traced(t.Context(), t)
			req := request(ctx, t, http.MethodPost, business+"/chats/message?chatId=5", text)
			unread := strings.NewReader(text)
			req.Body = io.NopCloser(unread)
			assert.Equal(t, http.StatusOK, exchange(t, m.Transport(), req).status)
			assert.Equal(t, len(text)-c.n, unread.Len())
			assert.Equal(t, c.want, *hooks)
			assert.Empty(t, m.Messages(id))
		})
	}
}

// On a listener the rest of the body is never read.
func TestRespondEarly_OnAListener(t *testing.T) {
	t.Parallel()
	s := chatstest.NewServer(t)
	s.AddChat(chats.Chat{ID: 5})
	s.Fail(chats.OpSendFileToChat, chatstest.RespondEarly(100, http.StatusRequestEntityTooLarge, "{}"))
	reader, writer := io.Pipe()
	req := request(t.Context(), t, http.MethodPost, s.URL+"/v2/businesses/1234567/chats/file/send?chatId=5", "")
	req.Body, req.ContentLength = reader, 100_000 // net/http would read as much on its own
	go func() { _, _ = writer.Write(make([]byte, 200)) }()
	got := exchange(t, s.Transport(), req)
	require.NoError(t, got.err)
	assert.Equal(t, http.StatusRequestEntityTooLarge, got.status)
	_, err := writer.Write(make([]byte, 99_800))
	require.Error(t, err, "the transport closes the body")
}

func compressed(text string) string {
	var b strings.Builder
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

// Compressed responses reach the caller as net/http's transport returns them.
func TestTransport_Decompresses(t *testing.T) {
	t.Parallel()
	small := compressed(strings.Repeat("a", 1<<20))
	for _, c := range []struct {
		name, encoding, accept, body, want string
	}{
		{"unasked", "gzip", "", small, strings.Repeat("a", 1<<20)},
		{"in capitals", "GZIP", "", small, strings.Repeat("a", 1<<20)},
		{"asked for", "gzip", "gzip", small, small},
		{"as stored", "gzip", "identity", small, small},
		{"broken", "gzip", "", "no gzip, but long enough", ""},
	} {
		for name, start := range servers {
			m, transport, base := start(t)
			m.Fail(chats.OpGetChat, chatstest.Respond(http.StatusOK, http.Header{"Content-Encoding": {c.encoding}}, c.body))
			req := request(t.Context(), t, http.MethodGet, base+"/v2/businesses/1234567/chat?chatId=5", "")
			if c.accept != "" {
				req.Header.Set("Accept-Encoding", c.accept)
			}
			resp, err := contract.Transport(t, transport).RoundTrip(req)
			require.NoError(t, err)
			decompressed := c.accept == ""
			assert.Equal(t, decompressed, resp.Uncompressed, "%s, %s", c.name, name)
			assert.Equal(t, decompressed, resp.ContentLength < 0, "%s, %s", c.name, name)
			assert.Equal(t, decompressed, resp.Header.Get("Content-Encoding") == "", "%s, %s", c.name, name)
			data, err := io.ReadAll(resp.Body)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, c.want == "", err != nil, "%s, %s", c.name, name)
			assert.True(t, c.want == string(data), "%s, %s: %d bytes", c.name, name, len(data)) //nolint:testifylint // too long to print
		}
	}
}
