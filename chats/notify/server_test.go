package notify_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
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
		time.Sleep(time.Second) // the server lingers after it has abandoned a body
	})
	return client
}

// head returns the header of a request and the beginning of its body.
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

// readStatus reads a response that need not match the contract.
func readStatus(t *testing.T, conn net.Conn) int {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
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

		_ = conn.SetReadDeadline(time.Now().Add(time.Minute)) // fails if the pipe is already closed
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
		for _, size := range []int{maxBody + 1, 8 * maxBody} {
			conn := dial(t, newHandler(t, accept))
			large := head(strings.Repeat(" ", size), size)
			// Market may read only after it has written everything: an early response would be lost with a reset.
			_, err := io.WriteString(conn, large)
			require.NoError(t, err)
			assert.Equal(t, http.StatusBadRequest, exchange(t, conn, "").status)
			assert.Equal(t, http.StatusOK, exchange(t, conn, head(sentBody, len(sentBody))).status, "the connection is kept")
		}
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
		}, notify.WithDedupe(0, 0))
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

func TestServer_Encodings(t *testing.T) {
	t.Parallel()
	gzipped := compressed(t, sentBody)
	chunks := func(parts ...string) string {
		var out strings.Builder
		for _, part := range parts {
			fmt.Fprintf(&out, "%x\r\n%s\r\n", len(part), part)
		}
		return out.String() + "0\r\n\r\n"
	}
	for name, tc := range map[string]struct {
		header, body string
		want         int
	}{
		"chunked":              {"Transfer-Encoding: chunked", chunks(sentBody[:1], sentBody[1:70], sentBody[70:]), http.StatusOK},
		"chunked and gzip":     {"Transfer-Encoding: chunked\r\nContent-Encoding: gzip", chunks(gzipped[:20], gzipped[20:]), http.StatusOK},
		"chunked and empty":    {"Transfer-Encoding: chunked", chunks(), http.StatusBadRequest},
		"chunked with trailer": {"Transfer-Encoding: chunked\r\nTrailer: A", strings.Replace(chunks(sentBody), "0\r\n\r\n", "0\r\nA: b\r\n\r\n", 1), http.StatusOK},
		"no body":              {"Content-Length: 0", "", http.StatusBadRequest},
		"no length":            {"A: b", "", http.StatusBadRequest},
	} {
		synctest.Test(t, func(t *testing.T) {
			conn := dial(t, newHandler(t, accept))
			for range 2 {
				resp := exchange(t, conn, "POST /notification HTTP/1.1\r\nHost: shop\r\n"+tc.header+"\r\n\r\n"+tc.body)
				assert.Equal(t, tc.want, resp.status, name)
			}
		})
	}
}

func TestServer_ExpectContinue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conn := dial(t, newHandler(t, accept))
		go func() {
			_, _ = io.WriteString(conn, strings.Replace(head("", len(sentBody)), "Host:", "Expect: 100-continue\r\nHost:", 1))
		}()
		reader := bufio.NewReader(conn)
		interim, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		assert.Equal(t, http.StatusContinue, interim.StatusCode)
		require.NoError(t, interim.Body.Close())
		assert.Equal(t, http.StatusOK, exchange(t, conn, sentBody).status)
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
