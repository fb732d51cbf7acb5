package notify_test

import (
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

	"github.com/ymchats/ymchats-go/chats/notify"
)

func TestHandler_AcceptsPostOnly(t *testing.T) {
	t.Parallel()
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "post",
	} {
		r := request(sentBody)
		r.Method = method
		resp := send(t, newHandler(t, accept), r)
		assert.Equal(t, http.StatusMethodNotAllowed, resp.status, method)
		assert.Equal(t, http.MethodPost, resp.header.Get("Allow"), method)
		assert.Equal(t, "close", resp.header.Get("Connection"), "the body is left unread")
	}
}

func TestHandler_AcceptsJSONOnly(t *testing.T) {
	t.Parallel()
	for contentType, want := range map[string]int{
		"application/json":                     http.StatusOK,
		"Application/JSON":                     http.StatusOK,
		"application/json; charset=utf-8":      http.StatusOK,
		"application/json;charset=UTF-8;a":     http.StatusOK,
		"application/json;charset=a;charset=b": http.StatusOK,
		"":                                     http.StatusOK, // not foreign
		"text/plain":                           http.StatusUnsupportedMediaType,
		"text/json":                            http.StatusUnsupportedMediaType,
		"application/jsonp":                    http.StatusUnsupportedMediaType,
		"application/xml; a=application/json":  http.StatusUnsupportedMediaType,
		"application/x-www-form-urlencoded":    http.StatusUnsupportedMediaType,
		";":                                    http.StatusUnsupportedMediaType,
	} {
		r := request(sentBody)
		r.Header.Set("Content-Type", contentType)
		assert.Equal(t, want, send(t, newHandler(t, accept), r).status, contentType)
		if contentType == "" {
			r = request(sentBody)
			r.Header.Del("Content-Type")
			assert.Equal(t, want, send(t, newHandler(t, accept), r).status)
		}
	}
}

func TestBody_IsBounded(t *testing.T) {
	t.Parallel()
	exact := sentBody + strings.Repeat(" ", 64<<10-len(sentBody))
	assert.Equal(t, http.StatusOK, post(t, newHandler(t, accept), exact).status)
	resp := post(t, newHandler(t, accept), exact+" ")
	assert.Equal(t, http.StatusRequestEntityTooLarge, resp.status)
	assert.Equal(t, "close", resp.header.Get("Connection"))
}

// endless sends white space as long as it is read.
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
	assert.Equal(t, http.StatusRequestEntityTooLarge, send(t, newHandler(t, accept), r).status)
	assert.LessOrEqual(t, body.sent, 64<<10+1)
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

func TestBody_MissingGets400(t *testing.T) {
	t.Parallel()
	r := request("")
	r.Body = nil
	assert.Equal(t, http.StatusBadRequest, send(t, newHandler(t, accept), r).status)
}

// The writer of this test has no deadlines: the handler keeps time itself.
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
		assert.NoError(t, write.Close()) // the server ends the reading so
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
		})
		r := request("")
		r.Body = body
		assert.Equal(t, http.StatusInternalServerError, send(t, handler, r).status)
		assert.Equal(t, 9*time.Second, time.Since(began))
	})
}
