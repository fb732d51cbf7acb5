package notify_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/notify"
)

func TestHandler_AcceptsPostOnly(t *testing.T) {
	t.Parallel()
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "post",
	} {
		r := request(sentBody)
		r.Method = method
		var shop counter
		resp := send(t, newHandler(t, shop.handle), r)
		assert.Equal(t, http.StatusBadRequest, resp.status, method)
		assert.EqualValues(t, "WRONG_EVENT_FORMAT", resp.Error.Type, method)
		assert.Equal(t, "close", resp.header.Get("Connection"), "the body is left unread")
		assert.Zero(t, shop.count(), method)
	}
}

func TestHandler_IgnoresContentType(t *testing.T) {
	t.Parallel()
	for _, contentType := range []string{
		"application/json", "application/json; charset=utf-8", "application/json;charset=windows-1251;a", "text/json",
		"text/plain", "application/jsonp", "application/vnd.market+json", "application/octet-stream",
		"application/x-www-form-urlencoded", "multipart/form-data", ";", " ", "", "\xff",
	} {
		r := request(sentBody)
		r.Header.Set("Content-Type", contentType)
		var shop counter
		assert.Equal(t, http.StatusOK, send(t, newHandler(t, shop.handle), r).status, contentType)
		assert.Equal(t, 1, shop.count(), contentType)
	}
	r := request(sentBody)
	r.Header.Del("Content-Type")
	assert.Equal(t, http.StatusOK, send(t, newHandler(t, accept), r).status)
}

const maxBody = 1 << 20

func TestBody_IsBounded(t *testing.T) {
	t.Parallel()
	exact := sentBody + strings.Repeat(" ", maxBody-len(sentBody))
	assert.Equal(t, http.StatusOK, post(t, newHandler(t, accept), exact).status)
	resp := post(t, newHandler(t, accept), exact+" ")
	assert.Equal(t, http.StatusBadRequest, resp.status)
	assert.EqualValues(t, "WRONG_EVENT_FORMAT", resp.Error.Type)
	assert.Equal(t, "notification is larger than 1048576 bytes", resp.Error.Message)
	assert.Empty(t, resp.header.Get("Connection"), "it was read to its end")
}

// A middleware's own size limit must not make Market send the notification again.
func TestBody_MiddlewareLimitGets400(t *testing.T) {
	t.Parallel()
	handler := http.MaxBytesHandler(newHandler(t, accept), 1000)
	assert.Equal(t, http.StatusOK, post(t, handler, sentBody).status)
	resp := post(t, handler, sentBody+strings.Repeat(" ", 1000))
	assert.Equal(t, http.StatusBadRequest, resp.status)
	assert.Equal(t, "notification is larger than 1000 bytes", resp.Error.Message)
	assert.Equal(t, "close", resp.header.Get("Connection"))
}

func TestBody_LargeNotificationOfAnotherType(t *testing.T) {
	t.Parallel()
	body := `{"notificationType":"ORDER_CREATED","items":[` + strings.Repeat(`{"offerId":"abcdefgh","count":1},`, 20000) + `{}]}`
	var got notify.Event
	handler := newHandler(t, func(_ context.Context, event notify.Event) error {
		got = event
		return nil
	})
	assert.Equal(t, http.StatusOK, post(t, handler, body).status)
	assert.Equal(t, notify.Other{Type: "ORDER_CREATED", Raw: []byte(body)}, got)
}

func compressed(tb testing.TB, text string) string {
	tb.Helper()
	var out strings.Builder
	w := gzip.NewWriter(&out)
	_, err := io.WriteString(w, text)
	require.NoError(tb, err)
	require.NoError(tb, w.Close())
	return out.String()
}

func TestBody_Gzip(t *testing.T) {
	t.Parallel()
	sent := compressed(t, sentBody)
	for name, tc := range map[string]struct {
		body string
		want int
	}{
		"compressed":         {sent, http.StatusOK},
		"in two parts":       {compressed(t, sentBody[:50]) + compressed(t, sentBody[50:]), http.StatusOK},
		"something behind":   {sent + "\x00\x00", http.StatusOK},
		"a wrong checksum":   {sent[:len(sent)-5] + "\x00" + sent[len(sent)-4:], http.StatusOK},
		"not compressed":     {sentBody, http.StatusOK},
		"the largest":        {compressed(t, sentBody+strings.Repeat(" ", maxBody-len(sentBody))), http.StatusOK},
		"larger than it may": {compressed(t, sentBody+strings.Repeat(" ", maxBody-len(sentBody)+1)), http.StatusBadRequest},
		"a bomb":             {compressed(t, strings.Repeat(" ", 8*maxBody)), http.StatusBadRequest},
		"cut off":            {sent[:len(sent)/2], http.StatusBadRequest},
		"a header alone":     {sent[:3], http.StatusBadRequest},
		"another body":       {compressed(t, "{}"), http.StatusBadRequest},
	} {
		for _, encoding := range []string{"gzip", "x-gzip", ""} {
			r := request(tc.body)
			r.Header.Set("Content-Encoding", encoding)
			var shop counter
			assert.Equal(t, tc.want, send(t, newHandler(t, shop.handle), r).status, name)
			assert.Equal(t, tc.want == http.StatusOK, shop.count() == 1, name)
		}
	}
}

// endless sends whitespace for as long as it is read.
type endless struct{ sent int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.sent += len(p)
	return len(p), nil
}

func TestBody_EndlessIsAbandoned(t *testing.T) {
	t.Parallel()
	body := &endless{}
	r := request("")
	r.Body = io.NopCloser(body)
	resp := send(t, newHandler(t, accept), r)
	assert.Equal(t, http.StatusBadRequest, resp.status)
	assert.Equal(t, "close", resp.header.Get("Connection"))
	assert.LessOrEqual(t, body.sent, 17*maxBody)
}

func TestBody_ReadErrorGets500(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]io.Reader{
		"broken off": io.MultiReader(strings.NewReader(sentBody), iotest.ErrReader(errors.New("reset by peer"))),
		"panicking":  io.MultiReader(nil),
	} {
		r := request("")
		r.Body = io.NopCloser(body)
		resp := send(t, newHandler(t, accept), r)
		assert.Equal(t, http.StatusInternalServerError, resp.status, name)
		assert.EqualValues(t, "UNKNOWN", resp.Error.Type, name)
		assert.NotContains(t, resp.Error.Message, "reset", name)
		assert.Equal(t, "close", resp.header.Get("Connection"), name)
	}
}

// A 400 would lose every notification for as long as the middleware is there.
func TestBody_ConsumedByAMiddlewareGets500(t *testing.T) {
	t.Parallel()
	for _, body := range []string{sentBody, pingBody, compressed(t, otherBody), "nothing"} {
		r := request(body)
		_, err := io.Copy(io.Discard, r.Body)
		require.NoError(t, err)
		resp := send(t, newHandler(t, accept), r)
		assert.Equal(t, http.StatusInternalServerError, resp.status)
		assert.Equal(t, "reading the notification failed", resp.Error.Message)
	}
}

func TestBody_MissingGets400(t *testing.T) {
	t.Parallel()
	r := request("")
	r.Body = nil
	assert.Equal(t, http.StatusBadRequest, send(t, newHandler(t, accept), r).status)
}

// The writer in this test does not support deadlines, so the handler's own timeout applies.
func TestBody_SlowGets500(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		body, write := io.Pipe()
		r := request("")
		r.Body = body
		resp := send(t, newHandler(t, accept), r)
		assert.Equal(t, http.StatusInternalServerError, resp.status)
		assert.Equal(t, 4*time.Second, time.Since(began))
		assert.Equal(t, "close", resp.header.Get("Connection"))
		assert.NoError(t, write.Close()) // as the server does to end the read
	})
}

// When the body stalls, it is already known to be too large, so it need not be sent again.
func TestBody_LargeAndSlowGets400(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		body, write := io.Pipe()
		r := request("")
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat(" ", maxBody+1)), body))
		resp := send(t, newHandler(t, accept), r)
		assert.Equal(t, http.StatusBadRequest, resp.status)
		assert.Equal(t, 4*time.Second, time.Since(began))
		assert.Equal(t, "close", resp.header.Get("Connection"))
		assert.NoError(t, write.Close())
	})
}

func TestBody_TimeCountsTowardsDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		body, write := io.Pipe()
		go func() {
			time.Sleep(2 * time.Second)
			_, _ = io.WriteString(write, sentBody)
			_ = write.Close()
		}()
		release := make(chan struct{})
		defer close(release)
		handler := newHandler(t, func(ctx context.Context, _ notify.Event) error {
			<-ctx.Done()
			assert.Equal(t, 8*time.Second, time.Since(began))
			<-release
			return nil
		}, notify.WithDedupe(0, 0))
		r := request("")
		r.Body = body
		assert.Equal(t, http.StatusInternalServerError, send(t, handler, r).status)
		assert.Equal(t, 9*time.Second, time.Since(began))
	})
}
