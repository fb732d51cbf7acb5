package chats_test

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// failures are the faults behind the rows of the table in the package
// documentation.
func failures() map[string][]chatstest.Fault {
	return map[string][]chatstest.Fault{
		"no connection":            {chatstest.Refused()},
		"dropped, timed out":       {chatstest.DropBefore(), chatstest.DropAfter(), chatstest.SlowHeaders(time.Minute)},
		"not HTTP":                 {chatstest.BadStatusLine("220 smtp.example ESMTP"), chatstest.BadStatusLine("HTTP/1.1 abc")},
		"420, parallel":            {chatstest.RateLimitedParallel()},
		"420, quota resets soon":   {chatstest.RateLimitedHourly(time.Now().Add(soon))},
		"420, quota resets later":  {chatstest.RateLimitedHourly(time.Now().Add(late))},
		"429, Retry-After soon":    {retryLater(429, "10"), retryLater(429, time.Now().Add(soon).UTC().Format(http.TimeFormat))},
		"429, Retry-After later":   {retryLater(429, "1800"), retryLater(429, time.Now().Add(late).UTC().Format(http.TimeFormat))},
		"5xx, Retry-After later":   {retryLater(500, "1800"), retryLater(502, "1800"), retryLater(503, "1800"), retryLater(503, "99999999999999999999"), retryLater(503, time.Now().Add(late).UTC().Format(http.TimeFormat))},
		"5xx, otherwise":           {chatstest.Status(500, ""), chatstest.HTML(502), chatstest.Status(503, envelope), chatstest.Status(504, "")},
		"401":                      {chatstest.Status(401, envelope)},
		"403":                      {chatstest.Status(403, envelope)},
		"404":                      {chatstest.Status(404, envelope)},
		"404 from a gateway":       {chatstest.HTML(404), chatstest.Status(404, ""), chatstest.Status(404, `{"message":"no Route matched"}`)},
		"other 4xx":                {chatstest.Status(405, envelope), chatstest.Status(406, envelope), chatstest.Status(423, envelope), chatstest.Status(409, strings.Replace(envelope, "ERROR", "OK", 1))},
		"413, 414, 431":            {chatstest.HTML(413), chatstest.Status(414, ""), chatstest.Status(431, ""), chatstest.Status(431, envelope)},
		"other 4xx from a gateway": {chatstest.HTML(400), chatstest.StatusAfter(406, ""), chatstest.StatusAfter(409, `{"message":"conflict"}`), chatstest.StatusAfter(423, "Locked"), chatstest.StatusAfter(400, envelope[:20])},
		"3xx":                      {chatstest.Status(301, ""), chatstest.Status(302, ""), chatstest.StatusAfter(303, ""), chatstest.Status(307, ""), chatstest.Status(308, "")},
		"below 200":                {chatstest.Status(101, ""), chatstest.StatusAfter(0, "")},
		"408, 499":                 {chatstest.Status(408, ""), chatstest.Status(499, "")},
		"2xx, cut off":             {chatstest.Truncate(5)},
		"2xx, not JSON or too big": {chatstest.Malformed("<html>"), chatstest.Malformed(""), chatstest.EndlessBody()},
		"2xx, ERROR with details":  {chatstest.Status(200, envelope)},
		"2xx, ERROR, no details":   {chatstest.Malformed(`{"status":"ERROR"}`)},
		"2xx, OK and errors":       {chatstest.Malformed(strings.Replace(envelope, "ERROR", "OK", 1))},
	}
}

// retryTable reads the table out of the package documentation: failure, what the
// reads and Open make of it, what the sends do.
func retryTable(t *testing.T) map[string][2]string {
	t.Helper()
	text, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	table := map[string][2]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimPrefix(line, "//"), "|")
		if len(cells) == 3 && strings.TrimSpace(cells[0]) != "failure" {
			table[strings.TrimSpace(cells[0])] = [2]string{strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])}
		}
	}
	return table
}

func TestPackageDoc_RetryTable(t *testing.T) {
	t.Parallel()
	table := retryTable(t)
	require.Len(t, table, len(failures()))
	for name, promise := range table {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				require.NotEmpty(t, failures()[name], "the table has a row of which no fault is known")
				for _, fault := range failures()[name] {
					for _, op := range chats.Operations() {
						keeps(t, op, fault, promise[btoi(isSend(op))])
					}
				}
			})
		})
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

var sentinels = map[string]error{
	"ErrUnauthorized": chats.ErrUnauthorized, "ErrForbidden": chats.ErrForbidden, "ErrNotFound": chats.ErrNotFound,
	"ErrRateLimited": chats.ErrRateLimited, "ErrServer": chats.ErrServer, "ErrProtocol": chats.ErrProtocol,
	"ErrOutcomeUnknown": chats.ErrOutcomeUnknown,
}

func keeps(t *testing.T, op chats.Operation, fault chatstest.Fault, promise string) {
	t.Helper()
	s := newFixture(t)
	s.market.Fail(op, fault)
	err := s.call(t.Context(), op)
	if promise == "retried" {
		assert.NoError(t, err, op)
		assert.Equal(t, 2, s.market.Calls(op), op)
		return
	}
	assert.Equal(t, 1, s.market.Calls(op), op)
	var e *chats.Error
	require.ErrorAs(t, err, &e, op)
	for name, sentinel := range sentinels {
		assert.Equal(t, strings.Contains(promise, name), errors.Is(err, sentinel), "%s: %s: %v", op, name, err)
	}
}
