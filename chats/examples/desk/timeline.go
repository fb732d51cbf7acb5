package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// clock converts real times to times in the showcase.
type clock struct {
	started time.Time // in real time
	shown   time.Time // the same moment in the showcase
	speed   int
}

func realTime() clock {
	now := time.Now()
	return clock{started: now, shown: now, speed: 1}
}

// scriptTime begins before noon in Moscow and turns a second into ten minutes, so that a
// demo of two seconds shows a conversation of twenty minutes.
func scriptTime() clock {
	now := time.Now()
	moscow := time.FixedZone("MSK", 3*60*60)
	year, month, day := now.In(moscow).Date()
	return clock{started: now, shown: time.Date(year, month, day, 11, 40, 0, 0, moscow), speed: 600}
}

func (c clock) at(t time.Time) time.Time {
	return c.shown.Add(t.Sub(c.started) * time.Duration(c.speed))
}

// timeline gives the messages of the showcase their times. The in-memory Market uses the
// time at which a message was added; the timeline rewrites its responses.
type timeline struct {
	market *chatstest.Market
	clock  clock

	mu    sync.Mutex
	times map[messageKey]time.Time // of the messages before the start
}

// messageKey identifies a message. IDs are unique within a chat only.
type messageKey struct {
	chat chats.ChatID
	id   chats.MessageID
}

func newTimeline(market *chatstest.Market, clock clock) *timeline {
	return &timeline{market: market, clock: clock, times: map[messageKey]time.Time{}}
}

// before returns the time that is the given duration before the start.
func (t *timeline) before(ago time.Duration) time.Time { return t.clock.shown.Add(-ago) }

func (t *timeline) set(key messageKey, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.times[key] = at
}

// at returns the time of a message. IDs are microseconds since 1970.
func (t *timeline) at(key messageKey) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, scripted := t.times[key]; scripted {
		return at
	}
	return t.clock.at(time.UnixMicro(int64(key.id)))
}

// rewrite replaces the times in a response of the Market. chat is the chat that the request
// names, or 0 if it names none.
func (t *timeline) rewrite(resp *http.Response, chat chats.ChatID) (*http.Response, error) {
	defer func() { _ = resp.Body.Close() }()
	decoder := json.NewDecoder(resp.Body)
	decoder.UseNumber()
	var body any
	if err := decoder.Decode(&body); err != nil {
		return nil, fmt.Errorf("response of the in-memory Market: %w", err)
	}
	t.rewriteTimes(body, chat)
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	resp.Header.Del("Content-Length")
	return resp, nil
}

func (t *timeline) rewriteTimes(value any, chat chats.ChatID) {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			t.rewriteTimes(element, chat)
		}
	case map[string]any:
		if id, ok := number(v["messageId"]); ok {
			t.replace(v, "createdAt", messageKey{chat, chats.MessageID(id)})
		}
		if id, ok := number(v["chatId"]); ok {
			listed := chats.ChatID(id)
			if messages := t.market.Messages(listed); len(messages) > 0 {
				t.replace(v, "updatedAt", messageKey{listed, messages[len(messages)-1].ID})
			}
		}
		for _, element := range v {
			t.rewriteTimes(element, chat)
		}
	}
}

// replace sets the field, if there is one, to the time of a message. It keeps the time zone.
func (t *timeline) replace(object map[string]any, field string, key messageKey) {
	text, _ := object[field].(string)
	if original, err := time.Parse(time.RFC3339, text); err == nil {
		object[field] = t.at(key).In(original.Location()).Format(time.RFC3339)
	}
}

func number(value any) (int64, bool) {
	n, ok := value.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}
