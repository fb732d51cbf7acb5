package chatstest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/ymchats/ymchats-go/chats/notify"
)

// notifyPeriod is how long Market retries before it switches the subscription off.
const notifyPeriod = 14 * 24 * time.Hour

// Notify delivers an event to a handler as Market does and returns the response
// that ended the delivery: 200 with the body that Market requires, or 400. After
// any other response, or if there is none within 10 seconds (1 second for a
// PING), Market sends the event again: every minute for an hour, every 15 minutes
// for a day, then hourly. After 14 days it switches the subscription off. Then, or when ctx is
// done, Notify returns the response to the last attempt, or nil if there was none. The next call
// starts over, as if the shop had switched the subscription on again.
//
// A chat event without a business gets the Market's business, and an event without a time gets the
// current time. Notify panics if event is nil or a pointer. While an event is being delivered,
// other calls to Notify wait. If the Market was created in a testing/synctest bubble, none of these
// waits takes real time.
//
// The request comes from one of Market's addresses and goes to the URL of
// [WithNotificationURL] with /notification appended. The response is in memory;
// its body need not be closed. A failed first attempt is logged with slog's
// default logger.
func (m *Market) Notify(ctx context.Context, handler http.Handler, event notify.Event) *http.Response {
	select {
	case m.notifying <- struct{}{}:
		defer func() { <-m.notifying }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil { // select chooses at random if both are ready
		return nil
	}
	n, url := m.notification(event)
	began := time.Now()
	for attempt := 1; ; attempt++ {
		resp, reason := n.post(ctx, handler, url)
		elapsed := time.Since(began)
		retryIn := notifyRetryDelay(elapsed)
		if isDelivered(resp) || elapsed+retryIn > notifyPeriod {
			return resp
		}
		if attempt == 1 {
			logUndelivered(ctx, url, reason, retryIn)
		}
		if sleep(ctx, retryIn) != nil {
			return resp
		}
	}
}

// notification returns the notification for an event and the URL to send it to.
func (m *Market) notification(event notify.Event) (n notification, url string) {
	m.lockAndCatchUp()
	defer m.mu.Unlock()
	return newNotification(event, m.settings.business), m.settings.notificationURL + "/notification"
}

func notifyRetryDelay(elapsed time.Duration) time.Duration {
	switch {
	case elapsed < time.Hour:
		return time.Minute
	case elapsed < 24*time.Hour:
		return 15 * time.Minute
	default:
		return time.Hour
	}
}

// logUndelivered logs why a test seems to hang.
func logUndelivered(ctx context.Context, url, reason string, retryIn time.Duration) {
	slog.WarnContext(ctx, "chatstest: notification not delivered", "url", url, "reason", reason, "retry_in", retryIn)
}

// post makes one attempt. If the handler panics or exits its goroutine, as FailNow of a test does,
// there is no response, because net/http would close the connection. reason says what happened, in
// case the response does not end the delivery.
func (n notification) post(ctx context.Context, handler http.Handler, url string) (resp *http.Response, reason string) {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(n.body))
	r.RemoteAddr = notify.MarketNetworks()[0].Addr().Next().String() + ":40000"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Traceparent", "00-0000000000000000000000000000002a-000000000000002a-01")

	type outcome struct {
		resp   *http.Response
		reason string
	}
	done := make(chan outcome, 1)
	go func() {
		o := outcome{reason: "the handler exited its goroutine"}
		defer func() {
			if value := recover(); value != nil {
				o.reason = fmt.Sprintf("the handler panicked: %v", value)
			}
			done <- o
		}()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		o.resp = w.Result()
		o.reason = "unexpected response: " + o.resp.Status
	}()
	select {
	case o := <-done:
		return o.resp, o.reason
	case <-ctx.Done():
		return nil, "no response in time"
	}
}
