package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/gen/notification"
)

// Parse parses the body of a notification. A type that this package does not define
// is returned as [Other]. Unknown fields are ignored; of a duplicate field the last
// one counts.
//
// The error is a [ParseError] that names the field: the body is not a single JSON
// object, notificationType is missing, or a field of a known type is missing or
// invalid. IDs are integers greater than 0, messageId may be one as a string; times
// are RFC 3339 with an offset. The time of a [Ping] may be missing.
func Parse(body []byte) (Event, error) {
	event, err := parse(body)
	if err != nil {
		return nil, err
	}
	return event, nil
}

func parse(body []byte) (Event, *ParseError) {
	r, err := newReader(body)
	if err != nil {
		return nil, err
	}
	kind := r.text("notificationType", true)
	if r.err == nil && kind == "" {
		r.fail("notificationType", "is empty")
	}
	if r.err != nil {
		return nil, r.err
	}
	event, known := r.event(notification.Type(kind))
	if !known {
		return Other{Type: kind, Raw: bytes.Clone(body)}, nil
	}
	if r.err != nil {
		r.err.Type = kind
		return nil, r.err
	}
	return event, nil
}

// reader reads the fields of a notification one by one and keeps the first error.
type reader struct {
	fields map[string]json.RawMessage
	err    *ParseError
}

// newReader decodes into a map, because a struct would match the names of fields
// case-insensitively.
func newReader(body []byte) (*reader, *ParseError) {
	r := &reader{}
	err := json.Unmarshal(body, &r.fields)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, &ParseError{Reason: "body is not valid JSON"}
	case err != nil || r.fields == nil:
		return nil, &ParseError{Reason: "body is not a JSON object"}
	}
	return r, nil
}

func (r *reader) event(kind notification.Type) (event Event, known bool) {
	switch kind {
	case notification.TypePing:
		return Ping{At: r.time("time", false)}, true
	case notification.TypeChatCreated:
		return ChatCreated(r.chatEvent("createdAt")), true
	case notification.TypeChatMessageSent:
		e := r.chatEvent("sentAt")
		return MessageSent{Business: e.Business, Chat: e.Chat, Message: r.messageID(), At: e.At}, true
	case notification.TypeChatArbitrageStarted:
		return ArbitrageStarted(r.chatEvent("startedAt")), true
	case notification.TypeChatArbitrageFinished:
		return ArbitrageFinished(r.chatEvent("finishedAt")), true
	}
	return nil, false
}

// chatEvent has the fields that all notifications of chats have.
type chatEvent struct {
	Business chats.BusinessID
	Chat     chats.ChatID
	At       time.Time
}

func (r *reader) chatEvent(timeField string) chatEvent {
	return chatEvent{
		Business: chats.BusinessID(r.id("businessId", string(r.value("businessId", true)))),
		Chat:     chats.ChatID(r.id("chatId", string(r.value("chatId", true)))),
		At:       r.time(timeField, true),
	}
}

// messageID accepts both forms: the contract has a string here and an integer
// everywhere else.
func (r *reader) messageID() chats.MessageID {
	value := r.value("messageId", true)
	digits := string(value)
	if isString(value) {
		digits = r.text("messageId", true)
	}
	return chats.MessageID(r.id("messageId", digits))
}

func (r *reader) id(field, digits string) int64 {
	id, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || id <= 0 {
		r.fail(field, "is not an integer from 1 to 9223372036854775807")
	}
	return id
}

// time accepts fractions of nine digits, and of longer ones the first nine.
func (r *reader) time(field string, required bool) time.Time {
	text := r.text(field, required)
	if text == "" && r.value(field, false) == nil {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		r.fail(field, "is not an RFC 3339 time with an offset")
	}
	return at
}

func (r *reader) text(field string, required bool) string {
	value := r.value(field, required)
	if value == nil {
		return ""
	}
	var text string
	if !isString(value) || json.Unmarshal(value, &text) != nil {
		r.fail(field, "is not a string")
	}
	return text
}

// value returns nil if the field is missing or null.
func (r *reader) value(field string, required bool) json.RawMessage {
	value := r.fields[field]
	if value != nil && string(value) != "null" {
		return value
	}
	if required {
		r.fail(field, "is missing")
	}
	return nil
}

func (r *reader) fail(field, reason string) {
	if r.err == nil {
		r.err = &ParseError{Field: field, Reason: reason}
	}
}

func isString(value json.RawMessage) bool { return len(value) > 0 && value[0] == '"' }
