package chatstest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/notify"
)

// How long Market waits for the answer to a notification.
const (
	answerWithin = 10 * time.Second
	pingWithin   = time.Second
)

// switchedOffAfter is how long Market keeps trying.
const switchedOffAfter = 14 * 24 * time.Hour

// Notify delivers an event to a handler as Market does and returns the answer that
// ended the delivery: 200 with the body that Market asks for, or 400. Any other
// answer, and none within 10 seconds (1 second for a PING), makes Market send the
// event again: each minute for an hour, each quarter of an hour for a day, then
// each hour. After 14 days the subscription is switched off, and Notify returns the
// last answer, or nil where there was none. The next call begins anew, as if the shop
// had switched it on again.
//
// Until one event is delivered no other one is: calls from several goroutines wait
// for each other. Inside testing/synctest, where the Market must have been made, too,
// none of this takes real time.
//
// The answer is in memory; its body need not be closed. The request comes from an
// address of Market's, for the address of [WithNotificationURL] with /notification
// behind it. That the first try has failed is logged, by slog's default logger.
func (m *Market) Notify(handler http.Handler, event notify.Event) *http.Response {
	m.pushing <- struct{}{}
	defer func() { <-m.pushing }()
	body, within := notification(event)
	tries := 0
	for began := time.Now(); ; {
		answer := push(handler, m.settings.notifications+"/notification", body, within)
		trying := time.Since(began)
		pause := untilNextTry(trying)
		if isDelivered(answer) || trying+pause > switchedOffAfter {
			return answer
		}
		if tries++; tries == 1 {
			warn(m.settings.notifications, answer, pause)
		}
		<-time.After(pause)
	}
}

func untilNextTry(trying time.Duration) time.Duration {
	switch {
	case trying < time.Hour:
		return time.Minute
	case trying < 24*time.Hour:
		return 15 * time.Minute
	default:
		return time.Hour
	}
}

// warn says why a test seems to hang.
func warn(address string, answer *http.Response, pause time.Duration) {
	status := "no answer in time"
	if answer != nil {
		status = "not the answer of the contract: " + answer.Status
	}
	slog.Warn("chatstest: the notification is not delivered", "url", address+"/notification", "reason", status, "again in", pause)
}

// push makes one try. A handler that panics breaks its connection, as it does under
// net/http, and gives no answer.
func push(handler http.Handler, url string, body []byte, within time.Duration) *http.Response {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	r.RemoteAddr = notify.MarketNetworks()[0].Addr().Next().String() + ":40000"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Traceparent", "00-0000000000000000000000000000002a-000000000000002a-01")

	answered := make(chan *http.Response, 1)
	go func() {
		var answer *http.Response
		defer func() {
			_ = recover()
			answered <- answer
		}()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		answer = w.Result()
	}()
	select {
	case answer := <-answered:
		return answer
	case <-ctx.Done():
		return nil
	}
}

// isDelivered: 400 says that sending it again is of no use; a 200 counts with the
// body that Market asks for. The body can still be read afterwards.
func isDelivered(answer *http.Response) bool {
	if answer == nil {
		return false
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body = io.NopCloser(bytes.NewReader(body))
	switch answer.StatusCode {
	case http.StatusBadRequest:
		return true
	case http.StatusOK:
		return err == nil && isAnswer(answer.Header.Get("Content-Type"), body)
	default:
		return false
	}
}

// isAnswer holds a body against the contract: version and name of 1 to 100
// characters, and a time in UTC. The names of a map's fields are taken as they are,
// those of a struct's in any case.
func isAnswer(contentType string, body []byte) bool {
	var told map[string]string
	media, _, _ := mime.ParseMediaType(contentType)
	if media != "application/json" || json.Unmarshal(body, &told) != nil {
		return false
	}
	at, err := time.Parse(time.RFC3339, told["time"])
	_, offset := at.Zone()
	return err == nil && offset == 0 && isNamed(told["version"]) && isNamed(told["name"])
}

func isNamed(text string) bool {
	n := utf8.RuneCountInString(text)
	return n >= 1 && n <= 100
}

// notification is the body in which Market tells of an event.
func notification(event notify.Event) (body []byte, within time.Duration) {
	within = answerWithin
	var fields map[string]any
	switch e := event.(type) {
	case notify.Ping:
		within = pingWithin
		fields = map[string]any{"notificationType": "PING", "time": instant(e.At)}
	case notify.ChatCreated:
		fields = about("CHAT_CREATED", e.Business, e.Chat, "createdAt", e.At)
	case notify.MessageSent:
		fields = about("CHAT_MESSAGE_SENT", e.Business, e.Chat, "sentAt", e.At)
		fields["messageId"] = strconv.FormatInt(int64(e.Message), 10) // a number everywhere but here
	case notify.ArbitrageStarted:
		fields = about("CHAT_ARBITRAGE_STARTED", e.Business, e.Chat, "startedAt", e.At)
	case notify.ArbitrageFinished:
		fields = about("CHAT_ARBITRAGE_FINISHED", e.Business, e.Chat, "finishedAt", e.At)
	case notify.Other:
		if e.Raw != nil {
			return e.Raw, within
		}
		fields = map[string]any{"notificationType": e.Type}
	}
	body, _ = json.Marshal(fields) //nolint:errchkjson // strings and numbers
	return body, within
}

func about(kind string, business chats.BusinessID, chat chats.ChatID, when string, at time.Time) map[string]any {
	return map[string]any{"notificationType": kind, "businessId": business, "chatId": chat, when: instant(at)}
}

// instant is a time as Market writes it into notifications. An event without one
// happened now.
func instant(at time.Time) string {
	if at.IsZero() {
		at = time.Now()
	}
	return at.UTC().Format(time.RFC3339Nano)
}
