package notify_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
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

// What Market does not document but has been seen to do, or may begin to do.
func utf16Of(text string, order binary.AppendByteOrder) string {
	var encoded []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		encoded = order.AppendUint16(encoded, unit)
	}
	return string(encoded)
}

func TestParse_Tolerates(t *testing.T) {
	t.Parallel()
	sent := notify.MessageSent{Business: 1, Chat: 2, Message: 3, At: date(t, "2026-04-20T09:30:00Z")}
	for name, tc := range map[string]struct {
		body string
		want notify.Event
	}{
		"messageId as an integer": {with("messageId", `3`), sent},
		"ids as strings":          {`{"notificationType":"CHAT_MESSAGE_SENT","chatId":"2","messageId":"3","businessId":"1","sentAt":"2026-04-20T09:30:00Z"}`, sent},
		"an id with a fraction":   {with("chatId", `2.0`), sent},
		"an id with an exponent":  {with("chatId", `0.2e1`), sent},
		"an id with spaces":       {with("chatId", `" 2\n"`), sent},
		"an id with an escape":    {with("chatId", `"\u0032"`), sent},
		"a large id with an exponent": {
			with("messageId", `1.776677400213e15`), notify.MessageSent{Business: 1, Chat: 2, Message: 1776677400213000, At: sent.At},
		},
		"the largest id": {
			with("messageId", `"9223372036854775807"`), notify.MessageSent{Business: 1, Chat: 2, Message: 9223372036854775807, At: sent.At},
		},
		"new fields":              {strings.Replace(sentAs3, "{", `{"text":{"a":[]},"b":"}","c":"\"{","d":[{"e":"]"}],`, 1), sent},
		"a field nested deeply":   {strings.Replace(sentAs3, "{", `{"a":`+deep+`,`, 1), sent},
		"a huge field":            {strings.Replace(sentAs3, "{", `{"a":"`+strings.Repeat("a", 1<<19)+`",`, 1), sent},
		"many fields":             {strings.Replace(sentAs3, "{", `{`+strings.Repeat(`"a":1,`, 1<<16), 1), sent},
		"a field that is no JSON": {strings.Replace(sentAs3, "{", `{"a":NaN,"b":[undefined],"c":"\q",`, 1), sent},
		"a field with quotes":     {strings.Replace(sentAs3, "{", `{"a":"he said "yes", then "no"","b":"a 55" screen",`, 1), sent},
		"a field with spaces":     {strings.Replace(sentAs3, "{", `{"a":new Date(5),"b":5 KB,`, 1), sent},
		"a time without quotes":   {with("sentAt", `2026-04-20 09:30:00`), withoutTime(sent)},
		"a key that is no JSON":   {strings.Replace(sentAs3, "{", `{"\q":1,`, 1), sent},
		"a field twice":           {strings.Replace(sentAs3, "{", `{"chatId":9,`, 1), sent},
		"a field twice, the last one unusable": {
			`{"chatId":2,"chatId":null,"notificationType":"CHAT_MESSAGE_SENT","notificationType":7,"messageId":"3",` +
				`"messageId":[],"businessId":1,"businessId":"one","sentAt":"2026-04-20T09:30:00Z","sentAt":""}`, sent,
		},
		"a field in another case":     {strings.Replace(sentAs3, "{", `{"CHATID":"x",`, 1), sent},
		"white space":                 {"\r\n\t " + strings.NewReplacer(":", " : ", ",", " ,\n").Replace(with("sentAt", "")) + " \n", withoutTime(sent)},
		"a byte order mark":           {"\ufeff" + sentAs3, sent},
		"UTF-16":                      {utf16Of("\ufeff"+sentAs3, binary.BigEndian), sent},
		"UTF-16, little-endian":       {utf16Of("\ufeff"+sentAs3, binary.LittleEndian), sent},
		"UTF-16 without a mark":       {utf16Of(strings.Replace(sentAs3, "{", `{"a":"Ж😀",`, 1), binary.LittleEndian) + "\x00", sent},
		"UTF-16, big-endian, no mark": {utf16Of(sentAs3, binary.BigEndian), sent},
		"two byte order marks":        {"\ufeff \ufeff" + sentAs3, sent},
		"something behind":            {sentAs3 + "}", sent},
		"two notifications":           {sentAs3 + "\n" + pingBody, sent},
		"zero bytes behind":           {sentAs3 + "\x00\x00", sent},
		"no time's value":             {with("sentAt", ` `), withoutTime(sent)},
		"no value at the end":         {`{"businessId":1,"chatId":2,"messageId":"3","notificationType":"CHAT_MESSAGE_SENT","sentAt":}`, withoutTime(sent)},
		"no value in a nested object": {strings.Replace(sentAs3, "{", `{"a":{"b":},`, 1), sent},
		"commas at the end":           {strings.TrimSuffix(sentAs3, "}") + ",,}", sent},
		"commas at the beginning":     {strings.Replace(sentAs3, "{", "{ , ,", 1), sent},
		"two commas":                  {strings.ReplaceAll(sentAs3, ",", ",\n,"), sent},
		"no commas":                   {strings.ReplaceAll(sentAs3, ",", " "), sent},
		"ping without a value":        {`{"notificationType":"PING","time":}`, notify.Ping{}},
		"an offset":                   {with("sentAt", `"2026-04-20T02:30:00-07:00"`), sent},
		"more than nine digits":       {with("sentAt", `"2026-04-20T09:30:00.0000000001Z"`), sent},
		"no business":                 {with("businessId", ``), withoutBusiness(sent)},
		"business null":               {with("businessId", `null`), withoutBusiness(sent)},
		"business zero":               {with("businessId", `0`), withoutBusiness(sent)},
		"business below zero":         {with("businessId", `-1`), withoutBusiness(sent)},
		"business a fraction":         {with("businessId", `1.5`), withoutBusiness(sent)},
		"business an object":          {with("businessId", `{"id":1}`), withoutBusiness(sent)},
		"no message":                  {with("messageId", ``), withoutMessage(sent)},
		"message null":                {with("messageId", `null`), withoutMessage(sent)},
		"message empty":               {with("messageId", `""`), withoutMessage(sent)},
		"message a UUID":              {with("messageId", `"5f0c9a0e-3d1b-4d5e-9f2a-0c1d2e3f4a5b"`), withoutMessage(sent)},
		"message too large":           {with("messageId", `"9223372036854775808"`), withoutMessage(sent)},
		"message true":                {with("messageId", `true`), withoutMessage(sent)},
		"no time":                     {with("sentAt", ``), withoutTime(sent)},
		"time null":                   {with("sentAt", `null`), withoutTime(sent)},
		"time empty":                  {with("sentAt", `""`), withoutTime(sent)},
		"time a number":               {with("sentAt", `1776677400`), withoutTime(sent)},
		"time an object":              {with("sentAt", `{"seconds":1776677400}`), withoutTime(sent)},
		"time without an offset":      {with("sentAt", `"2026-04-20T09:30:00"`), withoutTime(sent)},
		"a date alone":                {with("sentAt", `"2026-04-20"`), withoutTime(sent)},
		"a day that does not exist":   {with("sentAt", `"2026-02-30T09:30:00Z"`), withoutTime(sent)},
		"a day as an offset":          {with("sentAt", `"2026-04-20T09:30:00+24:00"`), withoutTime(sent)}, // encoding/json could not write the event
		"the chat alone":              {`{"notificationType":"CHAT_MESSAGE_SENT","chatId":2}`, notify.MessageSent{Chat: 2}},
		"a new chat alone":            {`{"notificationType":"CHAT_CREATED","chatId":2}`, notify.ChatCreated{Chat: 2}},
		"a new dispute alone":         {`{"notificationType":"CHAT_ARBITRAGE_STARTED","chatId":2}`, notify.ArbitrageStarted{Chat: 2}},
		"a closed dispute alone":      {`{"notificationType":"CHAT_ARBITRAGE_FINISHED","chatId":2}`, notify.ArbitrageFinished{Chat: 2}},
		"ping without a time":         {`{"notificationType":"PING"}`, notify.Ping{}},
		"ping with a null time":       {`{"notificationType":"PING","time":null}`, notify.Ping{}},
		"ping with a number as time":  {`{"notificationType":"PING","time":5}`, notify.Ping{}},
		"ping with an empty time":     {`{"notificationType":"PING","time":""}`, notify.Ping{}},
		"ping nested deeply":          {`{"notificationType":"PING","a":` + deep + `}`, notify.Ping{}},
		"an escaped known type":       {`{"notificationType":"PIN\u0047"}`, notify.Ping{}},
		"an escaped field":            {`{"notification\u0054ype":"PING"}`, notify.Ping{}},
		"a type of the future":        {`{"notificationType":"CHAT_RENAMED"}`, other("CHAT_RENAMED", `{"notificationType":"CHAT_RENAMED"}`)},
		"a type in lower case":        {`{"notificationType":"ping"}`, other("ping", `{"notificationType":"ping"}`)},
		"another type, marked":        {"\ufeff" + otherBody + "\x00", other("ORDER_CREATED", otherBody)},
		"another type without a chat": {`{"notificationType":"ORDER_CREATED","chatId":null}`, other("ORDER_CREATED", `{"notificationType":"ORDER_CREATED","chatId":null}`)},
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

const sentAs3 = `{"notificationType":"CHAT_MESSAGE_SENT","chatId":2,"messageId":"3","businessId":1,"sentAt":"2026-04-20T09:30:00Z"}`

func TestChatOf(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]chats.ChatID{createdBody: 9021, sentBody: 9021, startedBody: 9021, finishedBody: 9021, pingBody: 0, otherBody: 0} {
		event, err := notify.Parse([]byte(body))
		require.NoError(t, err)
		business, chat := notify.ChatOf(event)
		assert.Equal(t, want, chat, body)
		assert.Equal(t, chat != 0, business == 7431, body)
	}
	_, chat := notify.ChatOf(nil)
	assert.Zero(t, chat)
}

func withoutTime(e notify.MessageSent) notify.Event     { e.At = time.Time{}; return e }
func withoutBusiness(e notify.MessageSent) notify.Event { e.Business = 0; return e }
func withoutMessage(e notify.MessageSent) notify.Event  { e.Message = 0; return e }

func other(kind, raw string) notify.Event { return notify.Other{Type: kind, Raw: []byte(raw)} }

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

const noID = "must be an integer from 1 to 9223372036854775807"

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
	business            chats.BusinessID
}{
	"nothing":                 {``, "", "", noObject, 0},
	"white space":             {" \r\n\t", "", "", noObject, 0},
	"no JSON":                 {`ping`, "", "", noObject, 0},
	"a form":                  {`notificationType=PING`, "", "", noObject, 0},
	"UTF-16, cut off":         {"\xff\xfe{\x00}", "", "", noObject, 0},
	"UTF-32":                  {"\xff\xfe\x00\x00{\x00\x00\x00}\x00\x00\x00", "", "", noObject, 0},
	"null":                    {`null`, "", "", noObject, 0},
	"a list":                  {`[` + sentBody + `]`, "", "", noObject, 0},
	"a string":                {`"PING"`, "", "", noObject, 0},
	"an object in a string":   {`"{\"notificationType\":\"PING\"}"`, "", "", noObject, 0},
	"cut off in a key":        {sentBody[:4], "", "", noObject, 0},
	"cut off in a string":     {sentBody[:30], "", "", noObject, 0},
	"cut off in an escape":    {`{"notificationType":"PING\`, "", "", noObject, 0},
	"cut off in a number":     {sentBody[:strings.Index(sentBody, "21")], "", "", noObject, 0}, //nolint:gocritic // it contains "21"
	"cut off before a value":  {`{"notificationType":`, "", "", noObject, 0},
	"cut off after a value":   {`{"notificationType":"PING"`, "", "", noObject, 0},
	"cut off in a list":       {`{"notificationType":"PING","a":[1,`, "", "", noObject, 0},
	"cut off in nested text":  {`{"notificationType":"PING","a":["b`, "", "", noObject, 0},
	"no colon":                {`{"notificationType" "PING"}`, "", "", noObject, 0},
	"no colon but a comma":    {`{"notificationType","PING"}`, "", "", noObject, 0},
	"no type's value":         {`{"notificationType":,"a":1}`, "", "notificationType", noType, 0},
	"no chat's value":         {with("chatId", ` `), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"other with no value":     {`{"notificationType":"ORDER_CREATED","a":}`, "", "", noJSON, 0},
	"a key without quotes":    {`{notificationType:"PING"}`, "", "", noObject, 0},
	"no type":                 {`{}`, "", "notificationType", noType, 0},
	"no type but a business":  {`{"businessId":7431,"chatId":9021}`, "", "notificationType", noType, 7431},
	"type in another case":    {`{"NotificationType":"PING"}`, "", "notificationType", noType, 0},
	"type null":               {with("notificationType", `null`), "", "notificationType", noType, 1},
	"type empty":              {with("notificationType", `""`), "", "notificationType", noType, 1},
	"type a number":           {with("notificationType", `1`), "", "notificationType", noType, 1},
	"type an object":          {with("notificationType", `{"value":"PING"}`), "", "notificationType", noType, 1},
	"type with a bad escape":  {with("notificationType", `"PIN\q"`), "", "notificationType", noType, 1},
	"no chat":                 {with("chatId", ``), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat null":               {with("chatId", `null`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat zero":               {with("chatId", `0`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat below zero":         {with("chatId", `-2`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat a fraction":         {with("chatId", `2.5`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat too large":          {with("chatId", `9223372036854775808`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat far too large":      {with("chatId", `1e400`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat inexact":            {with("chatId", `1.8e16`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat empty":              {with("chatId", `""`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat a word":             {with("chatId", `"two"`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat hexadecimal":        {with("chatId", `"0x1p4"`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat with underscores":   {with("chatId", `"0x_1p4"`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat infinite":           {with("chatId", `"Inf"`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat not a number":       {with("chatId", `NaN`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat a list":             {with("chatId", `[2]`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat true":               {with("chatId", `true`), "CHAT_MESSAGE_SENT", "chatId", noID, 1},
	"chat in another case":    {`{"notificationType":"CHAT_CREATED","chatID":2}`, "CHAT_CREATED", "chatId", noID, 0},
	"created without a chat":  {`{"notificationType":"CHAT_CREATED","businessId":"7431"}`, "CHAT_CREATED", "chatId", noID, 7431},
	"started without a chat":  {`{"notificationType":"CHAT_ARBITRAGE_STARTED"}`, "CHAT_ARBITRAGE_STARTED", "chatId", noID, 0},
	"finished without a chat": {`{"notificationType":"CHAT_ARBITRAGE_FINISHED"}`, "CHAT_ARBITRAGE_FINISHED", "chatId", noID, 0},
	"other with no JSON":      {`{"notificationType":"ORDER_CREATED","businessId":7431,"items":[NaN]}`, "", "", noJSON, 7431},
	"other nested too deeply": {`{"notificationType":"ORDER_CREATED","items":` + deep + `}`, "", "", noJSON, 0},
}

const (
	noObject = "body is not a JSON object"
	noJSON   = "body is not valid JSON"
	noType   = "must be a string that is not empty"
)

// deep is valid JSON that encoding/json refuses to read.
var deep = strings.Repeat(`{"a":[`, 12000) + "1" + strings.Repeat(`]}`, 12000)

func TestParse_Malformed(t *testing.T) {
	t.Parallel()
	for name, tc := range malformed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			event, err := notify.Parse([]byte(tc.body))
			assert.Nil(t, event)
			var parse *notify.ParseError
			require.ErrorAs(t, err, &parse)
			assert.Equal(t, notify.ParseError{Business: tc.business, Type: tc.kind, Field: tc.field, Reason: tc.reason}, *parse)
		})
	}
}

func TestParseError_Text(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		with("chatId", `0`): "notify: CHAT_MESSAGE_SENT: chatId " + noID,
		`{}`:                "notify: notificationType " + noType,
		`[]`:                "notify: body is not a JSON object",
	} {
		_, err := notify.Parse([]byte(body))
		assert.EqualError(t, err, want)
	}
}
