package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves a sandbox until the test ends.
func start(tb testing.TB, args ...string) *sandbox {
	tb.Helper()
	c, err := parse(args, io.Discard)
	require.NoError(tb, err)
	listener, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	c.baseURL = "http://" + listener.Addr().String()
	s, err := newSandbox(tb.Context(), c)
	require.NoError(tb, err)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.serve(ctx, listener) }()
	tb.Cleanup(func() {
		stop()
		require.NoError(tb, <-served)
		require.NoError(tb, s.close())
	})
	return s
}

// client returns a client as a program has it.
func (s *sandbox) client(tb testing.TB, options ...chats.Option) *chats.Client {
	tb.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	tb.Cleanup(transport.CloseIdleConnections)
	c, err := chats.New(s.business(), chats.APIKey(s.key()), append([]chats.Option{
		chats.WithBaseURL(s.config.baseURL), chats.WithHTTPClient(&http.Client{Transport: transport}),
	}, options...)...)
	require.NoError(tb, err)
	return c
}

// do makes a request as the page does, without a browser. A body that is not a string is
// sent as JSON.
func (s *sandbox) do(tb testing.TB, method, path string, body any) (int, string) {
	tb.Helper()
	contentType := "application/json"
	var reader io.Reader = http.NoBody
	switch body := body.(type) {
	case nil:
	case *form:
		require.NoError(tb, body.Close())
		contentType, reader = body.FormDataContentType(), &body.data
	default:
		data, err := json.Marshal(body)
		require.NoError(tb, err)
		reader = bytes.NewReader(data)
	}
	r := httptest.NewRequestWithContext(tb.Context(), method, path, reader)
	r.Host = "localhost"
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// mustDo returns the decoded response to a request that must succeed.
func mustDo[T any](tb testing.TB, s *sandbox, method, path string, body any) (value T) {
	tb.Helper()
	status, text := s.do(tb, method, path, body)
	require.Equal(tb, http.StatusOK, status, text)
	require.NoError(tb, json.Unmarshal([]byte(text), &value))
	return value
}

// form returns a message as the page sends it.
type form struct {
	*multipart.Writer
	data bytes.Buffer
}

func message(tb testing.TB, fields map[string]string, files ...string) *form {
	tb.Helper()
	f := &form{}
	f.Writer = multipart.NewWriter(&f.data)
	for name, value := range fields {
		require.NoError(tb, f.WriteField(name, value))
	}
	for _, name := range files {
		part, err := f.CreateFormFile("file", name)
		require.NoError(tb, err)
		_, err = io.Copy(part, strings.NewReader("content of "+name))
		require.NoError(tb, err)
	}
	return f
}

// eventually waits for a condition.
func eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	require.Eventually(tb, condition, time.Minute, 10*time.Millisecond, what)
}

// call makes an API request as a program in another language does, and returns the status.
func (s *sandbox) call(tb testing.TB, method, below, body string) int {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), method, fmt.Sprintf("/v2/businesses/%d%s", s.business(), below), strings.NewReader(body))
	r.Host = "127.0.0.1:8070"
	r.Header.Set("Api-Key", s.key())
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code
}

func idOf[T ~int64](id T) string { return strconv.FormatInt(int64(id), 10) }

// reported reports whether watch has seen a chat.
func (w *world) reported(id chats.ChatID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, known := w.last[id]
	return known && last >= 0
}
