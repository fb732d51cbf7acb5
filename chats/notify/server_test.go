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

// pipes is a listener without a network, for synctest.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// dial connects to a server of net/http with the handler.
func dial(t *testing.T, handler http.Handler) net.Conn {
	t.Helper()
	listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.Serve(listener) }()
	client, conn := net.Pipe()
	listener.conns <- conn
	t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		<-time.After(time.Second) // it lingers after it has left a body in the middle
	})
	return client
}

// head is the request down to the body, of which only the first part follows.
func head(body string, length int) string {
	return "POST /notification HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: " +
		strconv.Itoa(length) + "\r\n\r\n" + body
}

// exchange writes what it can of a request and reads the answer.
func exchange(t *testing.T, conn net.Conn, sent string) answer {
	t.Helper()
	go func() { _, _ = io.WriteString(conn, sent) }()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	a := checked(t, response.StatusCode, response.Header, body)
	if response.Close {
		a.header.Set("Connection", "close")
	}
	return a
}

func TestAConnectionCarriesManyNotifications(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := dial(t, newHandler(t, accept))
		for _, body := range []string{sentBody, `{}`, pingBody, createdBody} {
			want := http.StatusOK
			if body == `{}` {
				want = http.StatusBadRequest
			}
			assert.Equal(t, want, exchange(t, conn, head(body, len(body))).status)
			<-time.After(time.Minute)
		}
	})
}

func TestAStalledBodyIsAnsweredOnTheWire(t *testing.T) {
	t.Parallel()
	stalled := head(sentBody[:20], len(sentBody))
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		conn := dial(t, newHandler(t, accept))
		a := exchange(t, conn, stalled)
		assert.Equal(t, http.StatusInternalServerError, a.status)
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Equal(t, "close", a.header.Get("Connection"))

		_ = conn.SetReadDeadline(time.Now().Add(time.Minute)) // a pipe that is closed already refuses it
		_, err := conn.Read(make([]byte, 1))
		assert.ErrorIs(t, err, io.EOF, "the connection is not kept for the rest")
	})
}

// A middleware may hide the connection's deadlines.
func TestAStalledBodyIsAnsweredThroughAMiddleware(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		handler := newHandler(t, accept)
		hiding := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
		})
		a := exchange(t, dial(t, hiding), head(sentBody[:20], len(sentBody)))
		assert.Equal(t, http.StatusInternalServerError, a.status)
		assert.Equal(t, 4*time.Second, time.Since(began))
	})
}

func TestAStrangerIsAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		handler := newHandler(t, accept, notify.WithAllowedNetworks(notify.MarketNetworks()...))
		a := exchange(t, dial(t, handler), head(sentBody[:20], len(sentBody)))
		assert.Equal(t, http.StatusForbidden, a.status)
		assert.Zero(t, time.Since(began))
	})
}

func TestTooLargeABodyIsAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := exchange(t, dial(t, newHandler(t, accept)), head(strings.Repeat(" ", 1<<20), 1<<20))
		assert.Equal(t, http.StatusRequestEntityTooLarge, a.status)
	})
}

// watched is a writer that tells when the answer begins.
type watched struct {
	http.ResponseWriter
	begins func()
}

func (w *watched) WriteHeader(status int) {
	w.begins()
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// The deadline of the body must not end what takes longer than the body may.
func TestTheBodysDeadlineEndsWithTheBody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handler := newHandler(t, func(context.Context, notify.Event) error {
			<-time.After(7 * time.Second)
			return nil
		})
		watching := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(&watched{w, func() { assert.NoError(t, r.Context().Err()) }}, r)
		})
		// Somebody before us may have read the body already.
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

func TestMarketHangsUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		committed := make(chan error, 1)
		handler := newHandler(t, func(ctx context.Context, _ notify.Event) error {
			<-time.After(5 * time.Second)
			committed <- ctx.Err()
			return nil
		}, notify.WithDedupe(time.Hour, 1))
		conn := dial(t, handler)
		_, err := io.WriteString(conn, head(sentBody, len(sentBody)))
		require.NoError(t, err)
		<-time.After(time.Second)
		require.NoError(t, conn.Close())
		require.NoError(t, <-committed)
		synctest.Wait()
		assert.Equal(t, http.StatusOK, post(t, handler, sentBody).status, "it was done")
		assert.Empty(t, committed)
	})
}
