package chats_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// outcome is what a fault leads to: the number of requests, the errors that the caller
// gets (nil for success) and, after a send, the number of messages posted.
type outcome struct {
	requests int
	errs     []error
	posted   int
}

const (
	attempts = 4
	soon     = 10 * time.Second
	late     = 30 * time.Minute
)

var policy = chats.RetryPolicy{MaxAttempts: attempts} // the defaults otherwise

// faultTable returns the outcome of every fault for reads and createChat, which are
// alike, and for the two sends.
func faultTable() []struct {
	name   string
	faults []chatstest.Fault
	read   outcome
	send   outcome
} {
	failed := []error{chats.ErrServer}
	unknown := []error{chats.ErrOutcomeUnknown}
	unknown5xx := []error{chats.ErrServer, chats.ErrOutcomeUnknown}
	broken := []error{chats.ErrProtocol}
	brokenSend := []error{chats.ErrProtocol, chats.ErrOutcomeUnknown}
	limited := []error{chats.ErrRateLimited}
	one := func(f chatstest.Fault) []chatstest.Fault { return []chatstest.Fault{f} }
	return []struct {
		name   string
		faults []chatstest.Fault
		read   outcome
		send   outcome
	}{
		{"none", nil, outcome{1, nil, 0}, outcome{1, nil, 1}},
		{"refused", one(chatstest.Refused()), outcome{2, nil, 0}, outcome{2, nil, 1}},
		{"refused every time", times(9, chatstest.Refused()), outcome{attempts, []error{errNoStatus}, 0}, outcome{attempts, []error{errNoStatus}, 0}},
		{"dropped before", one(chatstest.DropBefore()), outcome{2, nil, 0}, outcome{1, unknown, 0}},
		{"dropped before, every time", times(9, chatstest.DropBefore()), outcome{attempts, []error{errNoStatus}, 0}, outcome{1, unknown, 0}},
		{"dropped after", one(chatstest.DropAfter()), outcome{2, nil, 0}, outcome{1, unknown, 1}},
		{"processed late", one(chatstest.ProcessLate(time.Second)), outcome{2, nil, 0}, outcome{1, unknown, 1}},
		{"500 before", one(chatstest.Status(500, envelope)), outcome{2, nil, 0}, outcome{1, unknown5xx, 0}},
		{"500 after", one(chatstest.StatusAfter(500, envelope)), outcome{2, nil, 0}, outcome{1, unknown5xx, 1}},
		{"500 every time", times(9, chatstest.Status(500, envelope)), outcome{attempts, failed, 0}, outcome{1, unknown5xx, 0}},
		{"502 in HTML", one(chatstest.HTML(502)), outcome{2, nil, 0}, outcome{1, unknown5xx, 0}},
		{"503 every time", times(9, chatstest.HTML(503)), outcome{attempts, failed, 0}, outcome{1, unknown5xx, 0}},
		{"404", one(chatstest.Status(404, envelope)), outcome{1, []error{chats.ErrNotFound}, 0}, outcome{1, []error{chats.ErrNotFound}, 0}},
		{"404 in HTML", one(chatstest.HTML(404)), outcome{2, nil, 0}, outcome{1, brokenSend, 0}},
		{"404 in HTML, processed", one(chatstest.StatusAfter(404, "<html>")), outcome{2, nil, 0}, outcome{1, brokenSend, 1}},
		{"404 in HTML, every time", times(9, chatstest.HTML(404)), outcome{attempts, broken, 0}, outcome{1, brokenSend, 0}},
		{"404, empty", one(chatstest.Status(404, "")), outcome{2, nil, 0}, outcome{1, brokenSend, 0}},
		{"404 in JSON of a gateway", one(chatstest.Status(404, `{"status":404,"error":"Not Found","path":"/v2"}`)), outcome{2, nil, 0}, outcome{1, brokenSend, 0}},
		{"405", one(chatstest.Status(405, envelope)), outcome{1, []error{errStatus}, 0}, outcome{1, []error{errStatus}, 0}},
		{"401", one(chatstest.Status(401, envelope)), outcome{1, []error{chats.ErrUnauthorized}, 0}, outcome{1, []error{chats.ErrUnauthorized}, 0}},
		{"403", one(chatstest.Status(403, envelope)), outcome{1, []error{chats.ErrForbidden}, 0}, outcome{1, []error{chats.ErrForbidden}, 0}},
		{"423", one(chatstest.Status(423, envelope)), outcome{1, []error{errStatus}, 0}, outcome{1, []error{errStatus}, 0}},
		{"400 in HTML, processed", one(chatstest.StatusAfter(400, "<html>")), outcome{1, []error{errStatus}, 0}, outcome{1, unknown, 1}},
		{"409, empty, processed", one(chatstest.StatusAfter(409, "")), outcome{1, []error{errStatus}, 0}, outcome{1, unknown, 1}},
		{"425 in JSON of a gateway, processed", one(chatstest.StatusAfter(425, `{"status":425,"message":"Too Early"}`)), outcome{1, []error{errStatus}, 0}, outcome{1, unknown, 1}},
		{"413 in HTML", one(chatstest.HTML(413)), outcome{1, []error{errStatus}, 0}, outcome{1, []error{errStatus}, 0}},
		{"431", one(chatstest.Status(431, "")), outcome{1, []error{errStatus}, 0}, outcome{1, []error{errStatus}, 0}},
		{"408", one(chatstest.Status(408, "")), outcome{1, []error{errStatus}, 0}, outcome{1, unknown, 0}},
		{"499", one(chatstest.StatusAfter(499, "")), outcome{1, []error{errStatus}, 0}, outcome{1, unknown, 1}},
		{"302", one(chatstest.Status(302, "")), outcome{1, []error{errStatus}, 0}, outcome{1, unknown, 0}},
		{"303", one(chatstest.StatusAfter(303, "")), outcome{1, []error{errStatus}, 0}, outcome{1, unknown, 1}},
		{"308", one(chatstest.StatusAfter(308, "")), outcome{1, []error{errStatus}, 0}, outcome{1, unknown, 1}},
		{"101", one(chatstest.StatusAfter(101, "")), outcome{1, broken, 0}, outcome{1, brokenSend, 1}},
		{"status 000", one(chatstest.StatusAfter(0, "")), outcome{1, broken, 0}, outcome{1, brokenSend, 1}},
		{"status 999", one(chatstest.StatusAfter(999, "")), outcome{2, nil, 0}, outcome{1, unknown5xx, 1}},
		{"bad status line", one(chatstest.BadStatusLine("HTTP/1.1 OK")), outcome{2, nil, 0}, outcome{1, unknown, 1}},
		{"429", one(chatstest.Status(429, "")), outcome{2, nil, 0}, outcome{2, nil, 1}},
		{"429, Retry-After soon", one(retryLater(429, "10")), outcome{2, nil, 0}, outcome{2, nil, 1}},
		{"429, Retry-After later", one(retryLater(429, "1800")), outcome{1, limited, 0}, outcome{1, limited, 0}},
		{"503, Retry-After soon", one(retryLater(503, "10")), outcome{2, nil, 0}, outcome{1, unknown5xx, 0}},
		{"503, Retry-After later", one(retryLater(503, "1800")), outcome{1, failed, 0}, outcome{1, unknown5xx, 0}},
		{"420 without a body", one(chatstest.Status(420, "")), outcome{2, nil, 0}, outcome{2, nil, 1}},
		{"420 parallel", one(chatstest.RateLimitedParallel()), outcome{2, nil, 0}, outcome{2, nil, 1}},
		{"420 parallel, every time", times(9, chatstest.RateLimitedParallel()), outcome{attempts, limited, 0}, outcome{attempts, limited, 0}},
		{"420 hourly, reset soon", one(chatstest.RateLimitedHourly(time.Now().Add(soon))), outcome{2, nil, 0}, outcome{2, nil, 1}},
		{"420 hourly, reset late", one(chatstest.RateLimitedHourly(time.Now().Add(late))), outcome{1, limited, 0}, outcome{1, limited, 0}},
		{"slow, within the attempt timeout", one(chatstest.Delay(20 * time.Second)), outcome{1, nil, 0}, outcome{1, nil, 1}},
		{"slow headers", one(chatstest.SlowHeaders(time.Minute)), outcome{2, nil, 0}, outcome{1, unknown, 1}},
		{"slow body", one(chatstest.SlowBody(time.Minute)), outcome{2, nil, 0}, outcome{1, brokenSend, 1}},
		{"truncated", one(chatstest.Truncate(10)), outcome{2, nil, 0}, outcome{1, brokenSend, 1}},
		{"truncated every time", times(9, chatstest.Truncate(10)), outcome{attempts, broken, 0}, outcome{1, brokenSend, 1}},
		{"endless body", one(chatstest.EndlessBody()), outcome{1, broken, 0}, outcome{1, brokenSend, 1}},
		{"200 in HTML", one(chatstest.Malformed("<html>hello</html>")), outcome{1, broken, 0}, outcome{1, brokenSend, 1}},
		{"200, empty", one(chatstest.Malformed("")), outcome{1, broken, 0}, outcome{1, brokenSend, 1}},
		{"200, ERROR with details", one(chatstest.Status(200, envelope)), outcome{1, []error{errStatus}, 0}, outcome{1, []error{errStatus}, 0}},
		{"200, ERROR without details", one(chatstest.Malformed(`{"status":"ERROR"}`)), outcome{1, broken, 0}, outcome{1, brokenSend, 1}},
	}
}

// retryLater responds with a status and a Retry-After.
func retryLater(status int, after string) chatstest.Fault {
	return chatstest.Respond(status, http.Header{"Retry-After": {after}}, "")
}

// Placeholders for errors that match no sentinel: a response with another status, and
// no response at all.
var (
	errStatus   = errors.New("an *Error with a status")
	errNoStatus = errors.New("an *Error without a status")
)

func TestRetry_EveryFaultOfEveryOperation(t *testing.T) {
	t.Parallel()
	for _, op := range chats.Operations() {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			for i := range faultCount {
				synctest.Test(t, func(t *testing.T) {
					row := faultTable()[i] // built here, because its times are the bubble's
					f := newFixture(t, chats.WithRetry(policy))
					f.market.Fail(op, row.faults...)
					err := f.call(t.Context(), op)

					want := row.read
					if isSend(op) {
						want = row.send
					}
					assert.Equal(t, want.requests, f.market.Calls(op), "requests after: %s", row.name)
					assertOutcome(t, row.name, err, want)
					time.Sleep(time.Minute) // until late requests are processed
					assert.Equal(t, want.posted, f.posted(), "messages posted after: %s", row.name)
					if err != nil && !errors.Is(err, chats.ErrOutcomeUnknown) {
						assert.Zero(t, f.posted(), "every other error means that nothing was posted: %s", row.name)
					}
				})
			}
		})
	}
}

var faultCount = len(faultTable())

// assertOutcome asserts that err is an *Error that matches exactly the wanted sentinels.
func assertOutcome(t *testing.T, name string, err error, want outcome) {
	t.Helper()
	if want.errs == nil {
		assert.NoError(t, err, name)
		return
	}
	var e *chats.Error
	if !assert.ErrorAs(t, err, &e, name) {
		return
	}
	assert.Equal(t, want.requests, e.Attempts, name)
	for _, sentinel := range []error{
		chats.ErrInvalidArgument, chats.ErrUnauthorized, chats.ErrForbidden, chats.ErrNotFound,
		chats.ErrRateLimited, chats.ErrServer, chats.ErrProtocol, chats.ErrOutcomeUnknown,
	} {
		wanted := false
		for _, w := range want.errs {
			wanted = wanted || w == sentinel
		}
		assert.Equal(t, wanted, errors.Is(err, sentinel), "%s: errors.Is %q: %v", name, sentinel, err)
	}
	assert.Equal(t, chatstest.NewMarket().Business(), e.Business, name)
	for _, w := range want.errs {
		switch w {
		case errStatus:
			assert.NotZero(t, e.StatusCode, name)
		case errNoStatus:
			assert.Zero(t, e.StatusCode, name)
		}
	}
	if errors.Is(err, chats.ErrRateLimited) {
		require.NotNil(t, e.Limit, name)
	}
}

func TestSendFile_ReaderWithOnlyLenIsSentOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, chats.WithRetry(chats.RetryPolicy{BaseDelay: time.Nanosecond}))
	content := sized(strings.NewReader("content"), 7)
	f.market.Fail(chats.OpSendFileToChat, chatstest.RateLimitedParallel())
	err := f.client.SendFile(t.Context(), f.chat, "a.txt", content)
	require.ErrorIs(t, err, chats.ErrRateLimited)
	assert.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
	assert.Equal(t, 1, f.market.Calls(chats.OpSendFileToChat))
	assert.Zero(t, f.posted())
}
