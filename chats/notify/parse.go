package notify

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/gen/notification"
)

// fieldNames are the fields that this package reads.
var fieldNames = map[string]bool{
	"notificationType": true, "businessId": true, "chatId": true, "messageId": true,
	"time": true, "createdAt": true, "sentAt": true, "startedAt": true, "finishedAt": true,
}

// Parse parses the body of a notification. A notification of a type that this package
// does not define is returned as an [Other].
//
// Parse returns a [ParseError] only if there is nothing to act on:
//
//   - the body is not a JSON object,
//   - notificationType is not a string, or is empty,
//   - a notification about a chat has no usable chatId,
//   - the notification is of a type that this package does not define, and the body is not
//     valid JSON, which would make [Other].Raw useless.
//
// Everything else is optional: businessId, messageId and the times are zero if they are
// missing or unusable. An ID is usable if it is an integer greater than 0, as a number
// or a string. A time is usable if it is in RFC 3339 format with an offset. Unknown fields are
// ignored, whatever they contain. If a field is duplicated, its last usable value counts. A byte
// order mark before the object, extra or missing commas, and anything after the object are ignored.
// The body may be in UTF-16.
func Parse(body []byte) (Event, error) {
	event, _, err := parse(body)
	if err != nil {
		return nil, err
	}
	return event, nil
}

// parse also returns the business, which a Ping or an Other may have as well.
func parse(body []byte) (Event, chats.BusinessID, *ParseError) {
	fields, text, ok := scanObject(body, fieldNames)
	if !ok {
		return nil, 0, &ParseError{Reason: "body is not a JSON object"}
	}
	business := chats.BusinessID(fields.id("businessId"))
	event, err := fields.event(business, text)
	if err != nil {
		err.Business = business
		return nil, 0, err
	}
	return event, business, nil
}

func (o object) event(business chats.BusinessID, text []byte) (Event, *ParseError) {
	kind := o.text("notificationType")
	chat := chats.ChatID(o.id("chatId"))
	var event Event
	switch notification.Type(kind) {
	case "":
		return nil, &ParseError{Field: "notificationType", Reason: "must be a string that is not empty"}
	case notification.TypePing:
		return Ping{At: o.time("time")}, nil
	case notification.TypeChatCreated:
		event = ChatCreated{business, chat, o.time("createdAt")}
	case notification.TypeChatMessageSent:
		event = MessageSent{business, chat, chats.MessageID(o.id("messageId")), o.time("sentAt")}
	case notification.TypeChatArbitrageStarted:
		event = ArbitrageStarted{business, chat, o.time("startedAt")}
	case notification.TypeChatArbitrageFinished:
		event = ArbitrageFinished{business, chat, o.time("finishedAt")}
	default:
		if !json.Valid(text) {
			return nil, &ParseError{Reason: "body is not valid JSON"}
		}
		return Other{Type: kind, Raw: bytes.Clone(text)}, nil
	}
	if chat == 0 {
		return nil, &ParseError{Type: kind, Field: "chatId", Reason: "must be an integer from 1 to 9223372036854775807"}
	}
	return event, nil
}

// id returns the last usable value of a field, or 0.
func (o object) id(field string) int64 {
	for _, value := range slices.Backward(o[field]) {
		if id := parseID(value); id > 0 {
			return id
		}
	}
	return 0
}

// parseID accepts numbers and strings: in the contract, messageId is a string in
// notifications and an integer everywhere else.
func parseID(value json.RawMessage) int64 {
	text := string(value)
	if isString(value) {
		text = strings.TrimSpace(parseString(value))
	}
	if id, err := strconv.ParseInt(text, 10, 64); err == nil {
		return id
	}
	// 9021.0 and 9.021e3 are integers in JSON, too. Above 2^53 a float is not exact.
	number, err := strconv.ParseFloat(text, 64)
	isExact := number == math.Trunc(number) && number >= 1 && number <= 1<<53
	if err != nil || !isExact || strings.ContainsAny(text, "xX") {
		return 0
	}
	return int64(number)
}

// time returns the last usable value of a field, or the zero time. Digits of a fraction
// after the ninth are ignored.
func (o object) time(field string) time.Time {
	for _, value := range slices.Backward(o[field]) {
		at, err := time.Parse(time.RFC3339, parseString(value))
		if _, invalid := at.MarshalText(); err == nil && invalid == nil { // Parse accepts offsets of a day
			return at
		}
	}
	return time.Time{}
}

// text returns the last usable value of a field, or "".
func (o object) text(field string) string {
	for _, value := range slices.Backward(o[field]) {
		if text := parseString(value); text != "" {
			return text
		}
	}
	return ""
}

// parseString returns "" if value is not a string.
func parseString(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) != nil {
		return ""
	}
	return text
}
