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

func TestOnlyPostsAreTaken(t *testing.T) {
	t.Parallel()
	for _, method := range []string{
		http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "post",
	} {
		r := request(sentBody)
		r.Method = method
		a := send(t, newHandler(t, accept), r)
		assert.Equal(t, http.StatusMethodNotAllowed, a.status, method)
		assert.Equal(t, http.MethodPost, a.header.Get("Allow"), method)
		assert.Equal(t, "close", a.header.Get("Connection"), "the body is left unread")
	}
}

func TestOnlyJSONIsTaken(t *testing.T) {
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

func TestTheBodyIsBounded(t *testing.T) {
	t.Parallel()
	exact := sentBody + strings.Repeat(" ", 64<<10-len(sentBody))
	assert.Equal(t, http.StatusOK, post(t, newHandler(t, accept), exact).status)
	a := post(t, newHandler(t, accept), exact+" ")
	assert.Equal(t, http.StatusRequestEntityTooLarge, a.status)
	assert.Equal(t, "close", a.header.Get("Connection"))
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

func TestAnEndlessBodyIsLeftInTheMiddle(t *testing.T) {
	t.Parallel()
	body := &endless{}
	r := request("")
	r.Body = io.NopCloser(body)
	assert.Equal(t, http.StatusRequestEntityTooLarge, send(t, newHandler(t, accept), r).status)
	assert.LessOrEqual(t, body.sent, 64<<10+1)
}

func TestABodyThatCannotBeReadShallComeAgain(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]io.Reader{
		"broken off": io.MultiReader(strings.NewReader(sentBody), iotest.ErrReader(errors.New("reset by peer"))),
		"panicking":  io.MultiReader(nil),
	} {
		r := request("")
		r.Body = io.NopCloser(body)
		a := send(t, newHandler(t, accept), r)
		assert.Equal(t, http.StatusInternalServerError, a.status, name)
		assert.EqualValues(t, "UNKNOWN", a.Error.Type, name)
		assert.NotContains(t, a.Error.Message, "reset", name)
		assert.Equal(t, "close", a.header.Get("Connection"), name)
	}
}

func TestNoBodyAtAllIsMalformed(t *testing.T) {
	t.Parallel()
	r := request("")
	r.Body = nil
	assert.Equal(t, http.StatusBadRequest, send(t, newHandler(t, accept), r).status)
}

// The writer of this test has no deadlines: the handler keeps time itself.
func TestASlowBodyIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		body, write := io.Pipe()
		r := request("")
		r.Body = body
		a := send(t, newHandler(t, accept), r)
		assert.Equal(t, http.StatusInternalServerError, a.status)
		assert.Equal(t, 4*time.Second, time.Since(began))
		assert.Equal(t, "close", a.header.Get("Connection"))
		assert.NoError(t, write.Close()) // the server ends the reading so
	})
}

func TestTimeIsCountedFromTheFirstByte(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		body, write := io.Pipe()
		go func() {
			<-time.After(2 * time.Second)
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
