package httpbody

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reader is a body made of a function.
type reader func(p []byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

func (r reader) Close() error { return nil }

func TestRead_ABodyThatIgnoresItsContextIsAbandoned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		buf, err := Read(ctx, &http.Response{StatusCode: http.StatusOK, Body: reader(func(p []byte) (int, error) {
			p[0] = 'x'
			<-release
			return 1, io.EOF
		})})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Zero(t, buf.Len())
		assert.Equal(t, time.Minute+maxReturn, time.Since(began))
	})
}

func TestRead_ABodyThatReturnsWhenItsContextIsDone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		read := false
		buf, err := Read(ctx, &http.Response{StatusCode: http.StatusOK, Body: reader(func(p []byte) (int, error) {
			if !read {
				read = true
				return copy(p, "half"), nil
			}
			<-ctx.Done()
			return 0, io.ErrUnexpectedEOF
		})})
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		assert.Equal(t, "half", buf.String())
		assert.Equal(t, time.Minute, time.Since(began))
	})
}

func TestRead_APanicOfABodyIsTheCallers(t *testing.T) {
	t.Parallel()
	body := reader(func([]byte) (int, error) { panic("the disk is gone") })
	assert.PanicsWithValue(t, "the disk is gone", func() {
		_, _ = Read(t.Context(), &http.Response{Body: body})
	})
	defer func() {
		err, _ := recover().(error)
		require.ErrorContains(t, err, "the disk is gone")
		assert.ErrorContains(t, err, "await_test.go", "the stack of the origin")
	}()
	_, _ = Read(WithStack(t.Context()), &http.Response{Body: body})
}

func TestRead_ABodyThatEndsItsGoroutineEndsTheCallers(t *testing.T) {
	t.Parallel()
	ended := make(chan bool, 1)
	go func() {
		returned := false
		defer func() { ended <- !returned }()
		_, _ = Read(t.Context(), &http.Response{Body: reader(func([]byte) (int, error) { runtime.Goexit(); return 0, nil })})
		returned = true
	}()
	assert.True(t, <-ended)
}

// The bodies of net/http cost no goroutine.
func TestObeysContext(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("content")) }))
	defer server.Close()
	for timeout, want := range map[time.Duration]bool{0: true, time.Minute: false} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
		require.NoError(t, err)
		resp, err := (&http.Client{Timeout: timeout}).Do(req)
		require.NoError(t, err)
		defer resp.Body.Close() //nolint:errcheck // nothing to lose
		assert.Equal(t, want, obeysContext(resp.Body), "%T", resp.Body)
	}
	assert.True(t, obeysContext(http.NoBody))
	assert.False(t, obeysContext(reader(nil)))
	assert.False(t, obeysContext(io.NopCloser(reader(nil))))
}
