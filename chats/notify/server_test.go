package notify_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/notify"
)

// pipeListener is a listener without a network, for synctest.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error   { close(p.closed); return nil }
func (p *pipeListener) Addr() net.Addr { return &net.UnixAddr{} }

// dial starts a net/http server with the handler and connects to it.
func dial(t *testing.T, handler http.Handler) net.Conn {
	t.Helper()
	listener := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(listener) }()
	client, conn := net.Pipe()
	listener.conns <- conn
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		time.Sleep(time.Second) // it lingers after it has abandoned a body
	})
	return client
}

// head returns a request with the beginning of its body.
func head(body string, length int) string {
	return "POST /notification HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: " +
		strconv.Itoa(length) + "\r\n\r\n" + body
}

// exchange writes as much of a request as the server reads, and reads the response.
func exchange(t *testing.T, conn net.Conn, sent string) response {
	t.Helper()
	go func() { _, _ = io.WriteString(conn, sent) }()
	raw, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	body, err := io.ReadAll(raw.Body)
	require.NoError(t, err)
	require.NoError(t, raw.Body.Close())
	resp := checked(t, raw.StatusCode, raw.Header, body)
	if raw.Close {
		resp.header.Set("Connection", "close")
	}
	return resp
}

func TestServer_KeepsConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := dial(t, newHandler(t, accept))
		for _, body := range []string{sentBody, `{}`, pingBody, createdBody} {
			want := http.StatusOK
			if body == `{}` {
				want = http.StatusBadRequest
			}
			assert.Equal(t, want, exchange(t, conn, head(body, len(body))).status)
			time.Sleep(time.Minute)
		}
	})
}

func TestServer_StalledBody(t *testing.T) {
	t.Parallel()
	stalled := head(sentBody[:20], len(sentBody))
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		conn := dial(t, newHandler(t, accept))
		resp := exchange(t, conn, stalled)
		assert.Equal(t, http.StatusInternalServerError, resp.status)
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Equal(t, "close", resp.header.Get("Connection"))

		_ = conn.SetReadDeadline(time.Now().Add(time.Minute)) // a pipe that is closed already refuses it
		_, err := conn.Read(make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF, "the connection is not kept for the rest of the body")
	})
}

// A middleware may hide the connection's deadlines.
func TestServer_StalledBodyBehindMiddleware(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		handler := newHandler(t, accept)
		hiding := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
		})
		resp := exchange(t, dial(t, hiding), head(sentBody[:20], len(sentBody)))
		assert.Equal(t, http.StatusInternalServerError, resp.status)
		assert.Equal(t, 4*time.Second, time.Since(began))
	})
}

func TestServer_RefusesSenderAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		handler := newHandler(t, accept, notify.WithAllowedNetworks(notify.MarketNetworks()...))
		resp := exchange(t, dial(t, handler), head(sentBody[:20], len(sentBody)))
		assert.Equal(t, http.StatusForbidden, resp.status)
		assert.Zero(t, time.Since(began))
	})
}

func TestServer_LargeBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		resp := exchange(t, dial(t, newHandler(t, accept)), head(strings.Repeat(" ", 1<<20), 1<<20))
		assert.Equal(t, http.StatusRequestEntityTooLarge, resp.status)
	})
}

// watched is a writer that reports when the response begins.
type watched struct {
	http.ResponseWriter
	begins func()
}

func (w *watched) WriteHeader(status int) {
	w.begins()
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// The deadline of the body must not affect the rest of the request.
func TestServer_BodyDeadlineEndsWithBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handler := newHandler(t, func(context.Context, notify.Event) error {
			time.Sleep(7 * time.Second)
			return nil
		})
		watching := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(&watched{w, func() { assert.NoError(t, r.Context().Err()) }}, r)
		})
		// A middleware may have read the body already.
		logging := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			r.Body = io.NopCloser(bytes.NewReader(body))
			watching.ServeHTTP(w, r)
		})
		for _, handler := range []http.Handler{watching, logging} {
			conn := dial(t, handler)
			for range 2 {
				assert.Equal(t, http.StatusOK, exchange(t, conn, head(sentBody, len(sentBody))).status)
			}
		}
	})
}

func TestServer_MarketDisconnects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		committed := make(chan error, 1)
		handler := newHandler(t, func(ctx context.Context, _ notify.Event) error {
			time.Sleep(5 * time.Second)
			committed <- ctx.Err()
			return nil
		}, notify.WithDedupe(time.Hour, 1))
		conn := dial(t, handler)
		_, err := io.WriteString(conn, head(sentBody, len(sentBody)))
		require.NoError(t, err)
		time.Sleep(time.Second)
		require.NoError(t, conn.Close())
		require.NoError(t, <-committed)
		synctest.Wait()
		assert.Equal(t, http.StatusOK, post(t, handler, sentBody).status, "the event was handled")
		assert.Empty(t, committed)
	})
}
