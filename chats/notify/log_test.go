package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/notify"
)

// logged returns the only line that a notification leaves in the log.
func logged(t *testing.T, handle handleFunc, body, remote string, options ...notify.Option) map[string]any {
	t.Helper()
	r := from(remote)
	r.Body = io.NopCloser(strings.NewReader(body))
	return logRequest(t, handle, r, options...)
}

// logRequest returns the only line that a request leaves in the log.
func logRequest(t *testing.T, handle handleFunc, r *http.Request, options ...notify.Option) map[string]any {
	t.Helper()
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	send(t, newHandler(t, handle, append(options, notify.WithLogger(logger))...), r)
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line), out.String())
	return line
}

func keys(line map[string]any) []string { return slices.Sorted(maps.Keys(line)) }

func TestLog_HandledNotification(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		line := logged(t, func(context.Context, notify.Event) error {
			time.Sleep(time.Second)
			return nil
		}, sentBody, "[::ffff:5.45.207.7]:443")
		assert.Equal(t, []string{"business", "chat", "duration", "level", "message", "msg", "remote", "status", "time", "type"}, keys(line))
		assert.InEpsilon(t, 7431, line["business"], 0)
		assert.Equal(t, "DEBUG", line["level"])
		assert.Equal(t, "notify: notification handled", line["msg"])
		assert.Equal(t, "CHAT_MESSAGE_SENT", line["type"])
		assert.InEpsilon(t, 9021, line["chat"], 0)
		assert.InEpsilon(t, 1776677400213000.0, line["message"], 0)
		assert.InEpsilon(t, 200, line["status"], 0)
		assert.InEpsilon(t, float64(time.Second), line["duration"], 0)
		assert.Equal(t, "5.45.207.7", line["remote"])
	})
}

// nilError is an error whose methods panic on nil.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }
func (e *nilError) Unwrap() error { return errors.New(e.text) }

func TestLog_ErrorWhoseMethodsPanic(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, takes := range []time.Duration{0, 10 * time.Second} {
			handler := newHandler(t, func(context.Context, notify.Event) error {
				time.Sleep(takes)
				var none *nilError
				return none
			})
			assert.Equal(t, 500, post(t, handler, sentBody).status)
			time.Sleep(takes)
		}
	})
}

// brokenLog panics after a delay.
type brokenLog struct {
	slog.Handler
	takes time.Duration
}

func (brokenLog) Enabled(context.Context, slog.Level) bool { return true }

func (l brokenLog) Handle(context.Context, slog.Record) error {
	time.Sleep(l.takes)
	panic("the log is full")
}

func TestLog_DoesNotDelayResponse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		handler := newHandler(t, accept, notify.WithLogger(slog.New(brokenLog{takes: 20 * time.Second})))
		began := time.Now()
		assert.Equal(t, 200, exchange(t, dial(t, handler), head(pingBody, len(pingBody))).status)
		assert.Less(t, time.Since(began), time.Second)
		time.Sleep(time.Minute)
	})
}

func TestLog_HandlerError(t *testing.T) {
	t.Parallel()
	line := logged(t, func(context.Context, notify.Event) error { return errors.New("the database is down") }, createdBody, "8.8.8.8:1")
	assert.Equal(t, []string{"business", "chat", "duration", "error", "level", "msg", "remote", "status", "time", "type"}, keys(line))
	assert.Equal(t, "ERROR", line["level"])
	assert.Equal(t, "the database is down", line["error"])
	assert.Equal(t, "notify: handler failed", line["msg"])
}

func panics(context.Context, notify.Event) error { panic("boom") }

func TestLog_PanicHasStack(t *testing.T) {
	t.Parallel()
	line := logged(t, panics, createdBody, "8.8.8.8:1")
	assert.Equal(t, "panic: boom", line["error"])
	assert.Contains(t, line["stack"], "notify_test.panics")
}

func TestLog_RefusedSender(t *testing.T) {
	t.Parallel()
	line := logged(t, accept, sentBody, "8.8.8.8:1", notify.WithAllowedNetworks(notify.MarketNetworks()...))
	assert.Equal(t, []string{"duration", "error", "level", "msg", "remote", "status", "time"}, keys(line))
	assert.Equal(t, "WARN", line["level"])
	assert.Equal(t, "8.8.8.8", line["remote"])
	assert.InEpsilon(t, 403, line["status"], 0)
	assert.Equal(t, "sender is not in an allowed network", line["error"])
	assert.Equal(t, "notify: sender refused", line["msg"])

	line = logged(t, accept, sentBody, "@", notify.WithAllowedNetworks(notify.MarketNetworks()...))
	assert.Contains(t, line["error"], "sender address: ")
}

func TestLog_RejectedNotification(t *testing.T) {
	t.Parallel()
	line := logged(t, accept, with("chatId", `"secret"`), "8.8.8.8:1")
	assert.Equal(t, "notify: notification rejected", line["msg"])
	assert.Equal(t, "WARN", line["level"])
	assert.Equal(t, "notify: CHAT_MESSAGE_SENT: chatId "+noID, line["error"])

	line = logged(t, accept, strings.Repeat(" ", maxBody+1), "8.8.8.8:1")
	assert.Equal(t, "notification is larger than 1048576 bytes", line["error"])
}

// With several shops behind one handler, a line without the business is useless.
func TestLog_Business(t *testing.T) {
	t.Parallel()
	fails := func(context.Context, notify.Event) error { return errors.New("no") }
	other := strings.Replace(otherBody, "{", `{"businessId":7431,`, 1)
	for name, tc := range map[string]struct {
		handle handleFunc
		body   string
		msg    string
		want   any
	}{
		"created":              {accept, createdBody, "notify: notification handled", 7431.0},
		"sent":                 {accept, sentBody, "notify: notification handled", 7431.0},
		"started":              {accept, startedBody, "notify: notification handled", 7431.0},
		"finished":             {accept, finishedBody, "notify: notification handled", 7431.0},
		"other":                {accept, other, "notify: notification handled", 7431.0},
		"other, as a string":   {accept, strings.Replace(other, "7431", `"7431"`, 1), "notify: notification handled", 7431.0},
		"ping":                 {accept, strings.Replace(pingBody, "{", `{"businessId":7431,`, 1), "notify: notification handled", 7431.0},
		"failed":               {fails, sentBody, "notify: handler failed", 7431.0},
		"other failed":         {fails, other, "notify: handler failed", 7431.0},
		"panicked":             {panics, sentBody, "notify: handler failed", 7431.0},
		"without a chat":       {accept, `{"notificationType":"CHAT_CREATED","businessId":7431}`, "notify: notification rejected", 7431.0},
		"without a type":       {accept, `{"businessId":7431}`, "notify: notification rejected", 7431.0},
		"not valid":            {accept, `{"notificationType":"ORDER_CREATED","businessId":7431,"a":?}`, "notify: notification rejected", 7431.0},
		"without a business":   {accept, otherBody, "notify: notification handled", nil},
		"sent without it":      {accept, with("businessId", ""), "notify: notification handled", nil},
		"not JSON":             {accept, `7431`, "notify: notification rejected", nil},
		"rejected, of nothing": {accept, `{}`, "notify: notification rejected", nil},
	} {
		line := logged(t, tc.handle, tc.body, "8.8.8.8:1")
		assert.Equal(t, tc.msg, line["msg"], name)
		assert.Equal(t, tc.want, line["business"], name) // also nil
	}
}

func TestLog_UnusableChatHasType(t *testing.T) {
	t.Parallel()
	line := logged(t, accept, `{"notificationType":"CHAT_CREATED"}`, "8.8.8.8:1")
	assert.Equal(t, []string{"duration", "error", "level", "msg", "remote", "status", "time", "type"}, keys(line))
	assert.Equal(t, "CHAT_CREATED", line["type"])
}

func TestLog_BodyThatCannotBeRead(t *testing.T) {
	t.Parallel()
	r := from("8.8.8.8:1")
	r.Body = io.NopCloser(iotest.ErrReader(errors.New("reset by peer")))
	line := logRequest(t, accept, r)
	assert.Equal(t, []string{"duration", "error", "level", "msg", "remote", "status", "time"}, keys(line))
	assert.Equal(t, "notify: reading body failed", line["msg"])
	assert.Equal(t, "reset by peer", line["error"])
}

func TestLog_SenderWithoutAddress(t *testing.T) {
	t.Parallel()
	line := logged(t, accept, pingBody, "@")
	assert.Equal(t, []string{"duration", "level", "msg", "status", "time", "type"}, keys(line))
}

// Not parallel: the default logger is global.
func TestLog_DefaultLogger(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var out bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	handler, err := notify.NewHandler("shop", "1.0", panics)
	require.NoError(t, err)
	post(t, handler, sentBody)
	assert.Contains(t, out.String(), "panic: boom")
}

func TestLog_TruncatesType(t *testing.T) {
	t.Parallel()
	line := logged(t, accept, `{"notificationType":"`+strings.Repeat("A", 1000)+`"}`, "8.8.8.8:1")
	assert.Equal(t, []string{"duration", "level", "msg", "remote", "status", "time", "type"}, keys(line))
	assert.Equal(t, strings.Repeat("A", 64), line["type"])
}

func TestLog_LateReturn(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		outcome func() error
		want    any
	}{
		"success": {func() error { return nil }, nil},
		"error":   {func() error { return errors.New("no") }, "no"},
		"panic":   {func() error { panic("boom") }, "panic: boom"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			handler := newHandler(t, func(context.Context, notify.Event) error {
				time.Sleep(time.Minute)
				return tc.outcome()
			}, notify.WithLogger(slog.New(slog.NewJSONHandler(&out, nil))))
			post(t, handler, sentBody)
			time.Sleep(time.Minute)
			synctest.Wait()
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			require.Len(t, lines, 2, name)
			var first, second map[string]any
			require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
			require.NoError(t, json.Unmarshal([]byte(lines[1]), &second))
			assert.Equal(t, "handler did not return in time for the response", first["error"])
			assert.Equal(t, "notify: handler returned late", second["msg"])
			assert.InEpsilon(t, float64(time.Minute), second["duration"], 0)
			assert.InEpsilon(t, 1776677400213000.0, second["message"], 0)
			assert.InEpsilon(t, 7431.0, first["business"], 0)
			assert.InEpsilon(t, 7431.0, second["business"], 0)
			assert.Equal(t, map[bool]string{true: "WARN", false: "ERROR"}[name == "success"], second["level"])
			assert.Equal(t, tc.want, second["error"], name)
			assert.Equal(t, name == "panic", second["stack"] != nil)
		})
	}
}
