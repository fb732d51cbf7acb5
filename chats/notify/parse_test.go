package notify_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats/internal/contract"
	"github.com/ymchats/ymchats-go/chats/notify"
)

func date(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	require.NoError(t, err)
	return at
}

func TestParse_DocumentedNotifications(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]notify.Event{
		pingBody:     notify.Ping{At: date(t, "2026-04-20T09:30:00.123456789Z")},
		createdBody:  notify.ChatCreated{Business: 7431, Chat: 9021, At: date(t, "2026-04-20T12:30:00.213+03:00")},
		sentBody:     notify.MessageSent{Business: 7431, Chat: 9021, Message: 1776677400213000, At: date(t, "2026-04-20T09:30:00.213Z")},
		startedBody:  notify.ArbitrageStarted{Business: 7431, Chat: 9021, At: date(t, "2026-04-20T09:31:00Z")},
		finishedBody: notify.ArbitrageFinished{Business: 7431, Chat: 9021, At: date(t, "2026-04-21T09:31:00Z")},
		otherBody:    notify.Other{Type: "ORDER_CREATED", Raw: []byte(otherBody)},
	} {
		require.NoError(t, contract.NotificationBody([]byte(body)))
		got, err := notify.Parse([]byte(body))
		require.NoError(t, err, body)
		assert.EqualExportedValues(t, want, got)
		assert.Equal(t, fmt.Sprint(want), fmt.Sprint(got))
	}
}

func TestParse_ContractExamples(t *testing.T) {
	t.Parallel()
	examples, err := contract.NotificationExamples()
	require.NoError(t, err)
	require.Len(t, examples, 6)
	for name, body := range examples {
		require.NoError(t, contract.NotificationBody(body), name)
		event, err := notify.Parse(body)
		require.NoError(t, err, name)
		_, other := event.(notify.Other)
		assert.Equal(t, name == "other", other, name)
	}
}

// What Market does not document but was seen to do, or may begin to do.
func TestParse_Tolerates(t *testing.T) {
	t.Parallel()
	sent := notify.MessageSent{Business: 1, Chat: 2, Message: 3, At: date(t, "2026-04-20T09:30:00Z")}
	for name, tc := range map[string]struct {
		body string
		want notify.Event
	}{
		"messageId as an integer": {
			`{"notificationType":"CHAT_MESSAGE_SENT","chatId":2,"messageId":3,"businessId":1,"sentAt":"2026-04-20T09:30:00Z"}`, sent,
		},
		"new fields": {
			`{"notificationType":"CHAT_MESSAGE_SENT","chatId":2,"messageId":"3","businessId":1,"sentAt":"2026-04-20T09:30:00Z","text":{"a":[]}}`, sent,
		},
		"a field twice": {
			`{"chatId":9,"notificationType":"CHAT_MESSAGE_SENT","chatId":2,"messageId":"3","businessId":1,"sentAt":"2026-04-20T09:30:00Z"}`, sent,
		},
		"fields in another case": {
			`{"notificationType":"CHAT_MESSAGE_SENT","chatId":2,"CHATID":"x","messageId":"3","businessId":1,"sentAt":"2026-04-20T09:30:00Z"}`, sent,
		},
		"white space": {
			"\r\n\t " + `{ "notificationType" : "CHAT_MESSAGE_SENT", "chatId" : 2 ,"messageId":"3","businessId":1,"sentAt":"2026-04-20T09:30:00Z"}` + " \n", sent,
		},
		"the largest id": {
			`{"notificationType":"CHAT_MESSAGE_SENT","chatId":2,"messageId":"9223372036854775807","businessId":1,"sentAt":"2026-04-20T09:30:00Z"}`,
			notify.MessageSent{Business: 1, Chat: 2, Message: 9223372036854775807, At: sent.At},
		},
		"an offset": {
			`{"notificationType":"CHAT_MESSAGE_SENT","chatId":2,"messageId":"3","businessId":1,"sentAt":"2026-04-20T02:30:00-07:00"}`, sent,
		},
		"more than nine digits": {
			`{"notificationType":"CHAT_MESSAGE_SENT","chatId":2,"messageId":"3","businessId":1,"sentAt":"2026-04-20T09:30:00.0000000001Z"}`, sent,
		},
		"ping without a time":   {`{"notificationType":"PING"}`, notify.Ping{}},
		"ping at no time":       {`{"notificationType":"PING","time":null}`, notify.Ping{}},
		"a type of the future":  {`{"notificationType":"CHAT_RENAMED"}`, notify.Other{Type: "CHAT_RENAMED", Raw: []byte(`{"notificationType":"CHAT_RENAMED"}`)}},
		"a type in lower case":  {`{"notificationType":"ping"}`, notify.Other{Type: "ping", Raw: []byte(`{"notificationType":"ping"}`)}},
		"an escaped known type": {`{"notificationType":"PIN\u0047"}`, notify.Ping{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := notify.Parse([]byte(tc.body))
			require.NoError(t, err)
			assert.IsType(t, tc.want, got)
			assert.Equal(t, fmt.Sprint(inUTC(tc.want)), fmt.Sprint(inUTC(got)))
		})
	}
}

// inUTC returns the event with its time in UTC, for comparison.
func inUTC(event notify.Event) notify.Event {
	if sent, ok := event.(notify.MessageSent); ok {
		sent.At = sent.At.UTC()
		return sent
	}
	return event
}

func TestParse_OtherHasCopy(t *testing.T) {
	t.Parallel()
	body := []byte(otherBody)
	event, err := notify.Parse(body)
	require.NoError(t, err)
	clear(body)
	assert.True(t, bytes.Equal([]byte(otherBody), event.(notify.Other).Raw))
}

const (
	noID   = "is not an integer from 1 to 9223372036854775807"
	noTime = "is not an RFC 3339 time with an offset"
)

// with returns the notification of a message with one field replaced, or removed if
// value is empty.
func with(field, value string) string {
	fields := map[string]string{
		"notificationType": `"CHAT_MESSAGE_SENT"`, "chatId": `2`, "messageId": `"3"`, "businessId": `1`,
		"sentAt": `"2026-04-20T09:30:00Z"`,
	}
	fields[field] = value
	var parts []string
	for name, v := range fields {
		if v != "" {
			parts = append(parts, fmt.Sprintf("%q:%s", name, v))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

var malformed = map[string]struct {
	body                string
	kind, field, reason string
}{
	"nothing":                 {``, "", "", "body is not valid JSON"},
	"no JSON":                 {`ping`, "", "", "body is not valid JSON"},
	"cut off":                 {sentBody[:40], "", "", "body is not valid JSON"},
	"something behind":        {sentBody + "}", "", "", "body is not valid JSON"},
	"two notifications":       {sentBody + "\n" + sentBody, "", "", "body is not valid JSON"},
	"a byte order mark":       {"\ufeff" + sentBody, "", "", "body is not valid JSON"},
	"null":                    {`null`, "", "", "body is not a JSON object"},
	"a list":                  {`[` + sentBody + `]`, "", "", "body is not a JSON object"},
	"a string":                {`"PING"`, "", "", "body is not a JSON object"},
	"no type":                 {`{}`, "", "notificationType", "is missing"},
	"type in another case":    {`{"NotificationType":"PING"}`, "", "notificationType", "is missing"},
	"type null":               {with("notificationType", `null`), "", "notificationType", "is missing"},
	"type empty":              {with("notificationType", `""`), "", "notificationType", "is empty"},
	"type a number":           {with("notificationType", `1`), "", "notificationType", "is not a string"},
	"type an object":          {with("notificationType", `{"a":"PING"}`), "", "notificationType", "is not a string"},
	"no chat":                 {with("chatId", ``), "CHAT_MESSAGE_SENT", "chatId", "is missing"},
	"chat null":               {with("chatId", `null`), "CHAT_MESSAGE_SENT", "chatId", "is missing"},
	"chat zero":               {with("chatId", `0`), "CHAT_MESSAGE_SENT", "chatId", noID},
	"chat below zero":         {with("chatId", `-2`), "CHAT_MESSAGE_SENT", "chatId", noID},
	"chat a fraction":         {with("chatId", `2.5`), "CHAT_MESSAGE_SENT", "chatId", noID},
	"chat with an exponent":   {with("chatId", `2e3`), "CHAT_MESSAGE_SENT", "chatId", noID},
	"chat too large":          {with("chatId", `9223372036854775808`), "CHAT_MESSAGE_SENT", "chatId", noID},
	"chat a string":           {with("chatId", `"2"`), "CHAT_MESSAGE_SENT", "chatId", noID},
	"chat a list":             {with("chatId", `[2]`), "CHAT_MESSAGE_SENT", "chatId", noID},
	"no business":             {with("businessId", ``), "CHAT_MESSAGE_SENT", "businessId", "is missing"},
	"business zero":           {with("businessId", `0`), "CHAT_MESSAGE_SENT", "businessId", noID},
	"no message":              {with("messageId", ``), "CHAT_MESSAGE_SENT", "messageId", "is missing"},
	"message null":            {with("messageId", `null`), "CHAT_MESSAGE_SENT", "messageId", "is missing"},
	"message empty":           {with("messageId", `""`), "CHAT_MESSAGE_SENT", "messageId", noID},
	"message zero":            {with("messageId", `"0"`), "CHAT_MESSAGE_SENT", "messageId", noID},
	"message below zero":      {with("messageId", `"-3"`), "CHAT_MESSAGE_SENT", "messageId", noID},
	"message a word":          {with("messageId", `"three"`), "CHAT_MESSAGE_SENT", "messageId", noID},
	"message with a space":    {with("messageId", `" 3"`), "CHAT_MESSAGE_SENT", "messageId", noID},
	"message a fraction":      {with("messageId", `3.0`), "CHAT_MESSAGE_SENT", "messageId", noID},
	"message too large":       {with("messageId", `"9223372036854775808"`), "CHAT_MESSAGE_SENT", "messageId", noID},
	"message true":            {with("messageId", `true`), "CHAT_MESSAGE_SENT", "messageId", noID},
	"no time":                 {with("sentAt", ``), "CHAT_MESSAGE_SENT", "sentAt", "is missing"},
	"time empty":              {with("sentAt", `""`), "CHAT_MESSAGE_SENT", "sentAt", noTime},
	"time a number":           {with("sentAt", `1776677400`), "CHAT_MESSAGE_SENT", "sentAt", "is not a string"},
	"time without an offset":  {with("sentAt", `"2026-04-20T09:30:00"`), "CHAT_MESSAGE_SENT", "sentAt", noTime},
	"a date alone":            {with("sentAt", `"2026-04-20"`), "CHAT_MESSAGE_SENT", "sentAt", noTime},
	"the day that is not":     {with("sentAt", `"2026-02-30T09:30:00Z"`), "CHAT_MESSAGE_SENT", "sentAt", noTime},
	"ping at a number":        {`{"notificationType":"PING","time":5}`, "PING", "time", "is not a string"},
	"ping at an empty time":   {`{"notificationType":"PING","time":""}`, "PING", "time", noTime},
	"created without a time":  {strings.Replace(createdBody, "createdAt", "sentAt", 1), "CHAT_CREATED", "createdAt", "is missing"},
	"started without a time":  {strings.Replace(startedBody, "startedAt", "sentAt", 1), "CHAT_ARBITRAGE_STARTED", "startedAt", "is missing"},
	"finished without a time": {strings.Replace(finishedBody, "finishedAt", "sentAt", 1), "CHAT_ARBITRAGE_FINISHED", "finishedAt", "is missing"},
	"nested without end":      {strings.Repeat(`{"a":`, 12000) + "1" + strings.Repeat(`}`, 12000), "", "", "body is not valid JSON"},
}

func TestParse_Malformed(t *testing.T) {
	t.Parallel()
	for name, tc := range malformed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			event, err := notify.Parse([]byte(tc.body))
			assert.Nil(t, event)
			var parse *notify.ParseError
			require.ErrorAs(t, err, &parse)
			assert.Equal(t, notify.ParseError{Type: tc.kind, Field: tc.field, Reason: tc.reason}, *parse)
		})
	}
}

func TestParseError_Text(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		with("chatId", `0`): "notify: CHAT_MESSAGE_SENT: chatId " + noID,
		`{}`:                "notify: notificationType is missing",
		`[]`:                "notify: body is not a JSON object",
	} {
		_, err := notify.Parse([]byte(body))
		assert.EqualError(t, err, want)
	}
}
