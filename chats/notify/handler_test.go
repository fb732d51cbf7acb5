package notify_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/notify"
)

func TestHandler_HandlesEvent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var got []notify.Event
		handler := newHandler(t, func(ctx context.Context, event notify.Event) error {
			got = append(got, event)
			time.Sleep(2 * time.Second)
			return ctx.Err()
		})
		resp := post(t, handler, sentBody)
		assert.Equal(t, http.StatusOK, resp.status)
		assert.Equal(t, "application/json", resp.header.Get("Content-Type"))
		assert.Equal(t, "shop", resp.Name)
		assert.Equal(t, "1.0", resp.Version)
		assert.True(t, began.Equal(resp.Time), "when handling began")
		require.Len(t, got, 1)
		assert.Equal(t, notify.MessageSent{Business: 7431, Chat: 9021, Message: 1776677400213000, At: date(t, "2026-04-20T09:30:00.213Z")}, got[0])
	})
}

// Not parallel: the zone is global.
func TestHandler_ResponseTimeIsUTC(t *testing.T) {
	before := time.Local
	defer func() { time.Local = before }()
	time.Local = time.FixedZone("MSK", 3*60*60)
	began := time.Now()
	resp := post(t, newHandler(t, accept), sentBody)
	assert.WithinDuration(t, began, resp.Time, time.Minute)
}

func TestHandler_PingIsNotHandled(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, func(context.Context, notify.Event) error {
		t.Error("called")
		return nil
	}, notify.WithDedupe(time.Hour, 10))
	for range 2 {
		assert.Equal(t, http.StatusOK, post(t, handler, pingBody).status)
	}
}

func TestHandler_HandlesEveryType(t *testing.T) {
	t.Parallel()
	for _, body := range []string{otherBody, `{"notificationType":"CHAT_RENAMED"}`, createdBody, startedBody, finishedBody} {
		want, err := notify.Parse([]byte(body))
		require.NoError(t, err)
		var got notify.Event
		handler := newHandler(t, func(_ context.Context, event notify.Event) error {
			got = event
			return nil
		})
		assert.Equal(t, http.StatusOK, post(t, handler, body).status)
		assert.Equal(t, want, got)
	}
}

func TestHandler_MalformedNotificationGets400(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, func(context.Context, notify.Event) error {
		t.Error("called")
		return nil
	})
	for name, tc := range malformed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := post(t, handler, tc.body)
			assert.Equal(t, http.StatusBadRequest, resp.status)
			assert.EqualValues(t, "WRONG_EVENT_FORMAT", resp.Error.Type)
			_, err := notify.Parse([]byte(tc.body))
			assert.Equal(t, strings.TrimPrefix(err.Error(), "notify: "), resp.Error.Message)
			assert.Empty(t, resp.header.Get("Connection"))
		})
	}
}

func TestHandler_HidesFailure(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]handleFunc{
		"an error": func(context.Context, notify.Event) error { return errors.New("secret") },
		"a panic":  func(context.Context, notify.Event) error { panic("secret") },
		"nil as a panic": func(context.Context, notify.Event) error {
			panic(nil)
		},
		"an aborted handler": func(context.Context, notify.Event) error { panic(http.ErrAbortHandler) },
		"an ended goroutine": func(context.Context, notify.Event) error { runtime.Goexit(); return nil },
		"a parse error":      func(context.Context, notify.Event) error { _, err := notify.Parse(nil); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp := post(t, newHandler(t, handle), sentBody)
			assert.Equal(t, http.StatusInternalServerError, resp.status)
			assert.EqualValues(t, "UNKNOWN", resp.Error.Type)
			assert.Equal(t, "handling the notification failed", resp.Error.Message)
		})
	}
}

func TestHandler_RespondsForHangingFunction(t *testing.T) {
	t.Parallel()
	for timeout, options := range map[time.Duration][]notify.Option{
		time.Minute:     nil,
		8 * time.Second: {notify.WithDedupe(0, 0)},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			release, returned := make(chan struct{}), make(chan struct{})
			handler := newHandler(t, func(ctx context.Context, _ notify.Event) error {
				defer close(returned)
				<-ctx.Done()
				assert.Equal(t, timeout, time.Since(began))
				<-release // ignores its context from here on
				return nil
			}, options...)
			resp := post(t, handler, sentBody)
			assert.Equal(t, http.StatusInternalServerError, resp.status)
			assert.EqualValues(t, "UNKNOWN", resp.Error.Type)
			assert.Equal(t, 9*time.Second, time.Since(began))
			close(release)
			<-returned
		})
	}
}

func TestHandler_ContextEndsWithFunction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var kept context.Context
		handler := newHandler(t, func(ctx context.Context, _ notify.Event) error {
			kept = ctx //nolint:fatcontext // checked after the handler has returned
			return nil
		})
		post(t, handler, sentBody)
		synctest.Wait()
		require.ErrorIs(t, kept.Err(), context.Canceled)
	})
}

func TestHandler_FunctionMayReturnAfterItsContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		handler := newHandler(t, func(ctx context.Context, event notify.Event) error {
			<-ctx.Done()
			if _, sent := event.(notify.MessageSent); sent {
				return nil // it stored what it had
			}
			return ctx.Err()
		}, notify.WithDedupe(0, 0))
		assert.Equal(t, http.StatusOK, post(t, handler, sentBody).status)
		assert.Equal(t, 8*time.Second, time.Since(began))
		assert.Equal(t, http.StatusInternalServerError, post(t, handler, createdBody).status)
		assert.Equal(t, 16*time.Second, time.Since(began))
	})
}

type contextKey struct{}

func TestHandler_ContextOutlivesRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, hangUp := context.WithCancel(context.WithValue(t.Context(), contextKey{}, "trace"))
		handler := newHandler(t, func(ctx context.Context, _ notify.Event) error {
			hangUp()
			time.Sleep(time.Second)
			assert.Equal(t, "trace", ctx.Value(contextKey{}))
			assert.NoError(t, ctx.Err(), "work is not cut short")
			return nil
		})
		assert.Equal(t, http.StatusOK, send(t, handler, request(sentBody).WithContext(ctx)).status)
	})
}

func TestHandler_IgnoresPath(t *testing.T) {
	t.Parallel()
	handler := newHandler(t, accept)
	for _, path := range []string{"/", "/hook", "/hook/notification", "/notification"} {
		r := request(sentBody)
		r.URL.Path = path
		assert.Equal(t, http.StatusOK, send(t, handler, r).status)
	}
}

func TestHandler_ConcurrentRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		handler := newHandler(t, func(_ context.Context, event notify.Event) error {
			calls.Add(1)
			time.Sleep(time.Second)
			if event.(notify.MessageSent).Message%5 == 0 {
				return errors.New("no")
			}
			return nil
		}, notify.WithDedupe(time.Hour, 100))
		var statuses [501]struct{ ok, failed atomic.Int32 }
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				message := i%500 + 1
				switch post(t, handler, with("messageId", strconv.Itoa(message))).status {
				case http.StatusOK:
					statuses[message].ok.Add(1)
				case http.StatusInternalServerError:
					statuses[message].failed.Add(1)
				}
			})
		}
		all.Wait()
		assert.EqualValues(t, 500, calls.Load(), "two concurrent copies are handled once")
		for message := 1; message <= 500; message++ {
			both := &statuses[message].ok
			if message%5 == 0 {
				both = &statuses[message].failed
			}
			assert.EqualValues(t, 2, both.Load(), "message %d", message)
		}
	})
}

func TestContract_CatchesWrongResponse(t *testing.T) {
	t.Parallel()
	asJSON := http.Header{"Content-Type": {"application/json"}}
	good := `{"version":"1.0","name":"shop","time":"2026-04-20T09:30:00.5Z"}`
	failure := `{"error":{"type":"UNKNOWN","message":"no"}}`
	require.NoError(t, contract.NotificationResponse(200, asJSON, []byte(good)))
	for _, status := range []int{400, 403, 500} {
		require.NoError(t, contract.NotificationResponse(status, asJSON, []byte(failure)))
	}
	for name, tc := range map[string]struct {
		status int
		header http.Header
		body   string
	}{
		"no version":          {200, asJSON, `{"name":"shop","time":"2026-04-20T09:30:00Z"}`},
		"no name":             {200, asJSON, `{"version":"1.0","time":"2026-04-20T09:30:00Z"}`},
		"no time":             {200, asJSON, `{"version":"1.0","name":"shop"}`},
		"an empty name":       {200, asJSON, `{"version":"1.0","name":"","time":"2026-04-20T09:30:00Z"}`},
		"too long a version":  {200, asJSON, strings.Replace(good, "1.0", strings.Repeat("1", 101), 1)},
		"no date":             {200, asJSON, strings.Replace(good, "2026-04-20T", "", 1)},
		"local time":          {200, asJSON, strings.Replace(good, "5Z", "5+03:00", 1)},
		"another type":        {200, http.Header{"Content-Type": {"text/plain"}}, good},
		"no JSON":             {200, asJSON, `ok`},
		"an unknown status":   {202, asJSON, good},
		"another status":      {409, asJSON, failure},
		"an unknown type":     {500, asJSON, `{"error":{"type":"LATE","message":"no"}}`},
		"an empty failure":    {500, asJSON, `{}`},
		"no message":          {400, asJSON, `{"error":{"type":"UNKNOWN"}}`},
		"a text as a failure": {403, http.Header{"Content-Type": {"text/plain"}}, `forbidden`},
	} {
		require.Error(t, contract.NotificationResponse(tc.status, tc.header, []byte(tc.body)), name)
	}
	require.Error(t, contract.NotificationBody([]byte(with("chatId", `"2"`))))
	require.Error(t, contract.NotificationBody([]byte(with("sentAt", `"now"`))))
	require.Error(t, contract.NotificationBody([]byte(`{`)))
}
