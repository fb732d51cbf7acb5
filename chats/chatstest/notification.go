package chatstest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/notify"
)

// How long Market waits for the response to a notification.
const (
	notifyTimeout = 10 * time.Second
	pingTimeout   = time.Second
)

// notification is an event as Market sends it.
type notification struct {
	body    []byte
	timeout time.Duration
}

func newNotification(event notify.Event, business chats.BusinessID) notification {
	n := notification{timeout: notifyTimeout}
	fields := map[string]any{}
	chat := func(kind string, of chats.BusinessID, chat chats.ChatID, field string, at time.Time) {
		fields["notificationType"], fields["businessId"] = kind, cmp.Or(of, business)
		fields["chatId"], fields[field] = chat, notificationTime(at)
	}
	switch e := event.(type) {
	case notify.Ping:
		n.timeout = pingTimeout
		fields["notificationType"], fields["time"] = "PING", notificationTime(e.At)
	case notify.ChatCreated:
		chat("CHAT_CREATED", e.Business, e.Chat, "createdAt", e.At)
	case notify.MessageSent:
		chat("CHAT_MESSAGE_SENT", e.Business, e.Chat, "sentAt", e.At)
		fields["messageId"] = strconv.FormatInt(int64(e.Message), 10) // a number everywhere else
	case notify.ArbitrageStarted:
		chat("CHAT_ARBITRAGE_STARTED", e.Business, e.Chat, "startedAt", e.At)
	case notify.ArbitrageFinished:
		chat("CHAT_ARBITRAGE_FINISHED", e.Business, e.Chat, "finishedAt", e.At)
	case notify.Other:
		if e.Raw != nil {
			n.body = e.Raw
			return n
		}
		fields["notificationType"] = e.Type
	default: // the interface is also implemented by pointers, which a handler never gets
		panic(fmt.Sprintf("chatstest: Notify: the event is a %T; pass a value of one of notify's types", event))
	}
	n.body, _ = json.Marshal(fields) //nolint:errchkjson // strings and numbers
	return n
}

func notificationTime(at time.Time) string {
	if at.IsZero() {
		at = time.Now()
	}
	return at.UTC().Format(time.RFC3339Nano)
}

// isDelivered reports whether a response ends a delivery: a 400, which means that a retry
// would not help, or a 200 with the required body. The body can still be read afterwards.
func isDelivered(resp *http.Response) bool {
	if resp == nil {
		return false
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	switch resp.StatusCode {
	case http.StatusBadRequest:
		return true
	case http.StatusOK:
		return err == nil && isConfirmation(resp.Header.Get("Content-Type"), body)
	default:
		return false
	}
}

// isConfirmation checks the body of a 200: version and name of 1 to 100 characters
// and a time in UTC. It decodes into a map because the fields of a struct match
// names case-insensitively.
func isConfirmation(contentType string, body []byte) bool {
	var fields map[string]string
	mediaType, _, _ := mime.ParseMediaType(contentType)
	if mediaType != "application/json" || json.Unmarshal(body, &fields) != nil {
		return false
	}
	at, err := time.Parse(time.RFC3339, fields["time"])
	_, offset := at.Zone()
	return err == nil && offset == 0 && isName(fields["version"]) && isName(fields["name"])
}

func isName(text string) bool {
	n := utf8.RuneCountInString(text)
	return n >= 1 && n <= 100
}
