package inbox

import (
	"bytes"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// newPoll returns a poll of a chat that has been read before, and its log.
func newPoll(row *ChatState) (*poll, *bytes.Buffer) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	client := chatstest.NewMarket().Client()
	row.Chat, row.Snapshot.ID = 7, 7
	l := &poll{row: row, began: time.Now(), session: &session{
		Inbox: &Inbox{client: client, log: logger}, quota: newQuota(client, 0.5, nil),
		reads: newBreaker("reading", BreakerState{}, logger), handlers: newBreaker("handler", BreakerState{}, logger),
		refusals: &refusals{end: func(error) {}},
	}}
	l.start.Store(&time.Time{})
	return l, &log
}

func unreadable(status int) *chats.Error {
	return &chats.Error{Operation: chats.OpGetChatHistory, StatusCode: status}
}

func TestPoll_AChatThatIsGone(t *testing.T) {
	t.Parallel()
	for status, isGone := range map[int]bool{404: true, 403: true, 400: false, 500: false} {
		for past, over := range map[time.Duration]bool{goneAfter: false, goneAfter + 1: true} {
			synctest.Test(t, func(t *testing.T) {
				now := time.Now()
				l, _ := newPoll(&ChatState{FailingSince: now.Add(-past), RefusedSince: now.Add(-past)})
				l.unread(t.Context(), unreadable(status), now)
				assert.Equal(t, isGone && over, l.row.DueAt.IsZero(), "%d after %s", status, past)
			})
		}
	}
}

// A message whose handler has failed keeps its slower retries when its chat cannot be read.
func TestPoll_RetriesOfAChatThatCannotBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for name, tt := range map[string]struct {
			row     ChatState
			status  int
			longest time.Duration
			message bool
		}{
			"by the server's fault":        {row: ChatState{}, status: 500, longest: maxHandlerBackoff},
			"refused":                      {row: ChatState{}, status: 404, longest: maxRefusedBackoff},
			"refused, and a message fails": {row: ChatState{Attempts: 9, Head: 5}, status: 404, longest: maxHandlerBackoff, message: true},
		} {
			tt.row.FailingSince, tt.row.RefusedSince = now.Add(-48*time.Hour), now.Add(-48*time.Hour)
			l, log := newPoll(&tt.row)
			l.unread(t.Context(), unreadable(tt.status), now)
			assert.Equal(t, now.Add(tt.longest), l.row.DueAt, name)
			assert.Equal(t, tt.message, bytes.Contains(log.Bytes(), []byte("message=5 attempts=9")), log.String())
			assert.Equal(t, tt.message, bytes.Contains(log.Bytes(), []byte("attempts=")), log.String())
		}
	})
}

// A chat counts once for the breaker while it cannot be read, but again after its handler has failed.
func TestPoll_WhatOpensTheBreakerOfReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for name, tt := range map[string]struct {
			row  ChatState
			want int
		}{
			"its first failure":           {want: 1},
			"it has not been read before": {row: ChatState{FailingSince: now}},
			"its handler has failed":      {row: ChatState{FailingSince: now, Attempts: 1}, want: 1},
		} {
			l, _ := newPoll(&tt.row)
			l.unread(t.Context(), unreadable(500), now)
			assert.Equal(t, tt.want, l.reads.snapshot().Failures, name)
		}
	})
}

// After an hourly 420 for histories, the chat stays due as it was: all chats wait, not this one.
func TestPoll_RateLimits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for name, tt := range map[string]struct {
			op       chats.Operation
			kind     chats.LimitKind
			due      time.Duration
			failures int
		}{
			"history, hourly":   {op: chats.OpGetChatHistory, kind: chats.LimitHourly},
			"history, parallel": {op: chats.OpGetChatHistory, kind: chats.LimitParallel, due: time.Second, failures: 1},
			"getChat, hourly":   {op: chats.OpGetChat, kind: chats.LimitHourly, due: time.Minute},
			"getChat, parallel": {op: chats.OpGetChat, kind: chats.LimitParallel, due: time.Second},
		} {
			l, _ := newPoll(&ChatState{DueAt: now})
			err := &chats.Error{Operation: tt.op, StatusCode: 420, Limit: &chats.Limit{Kind: tt.kind}}
			l.unread(t.Context(), err, now)
			assert.Equal(t, now.Add(tt.due), l.row.DueAt, name)
			assert.Equal(t, tt.failures, l.reads.snapshot().Failures, name)
			assert.Zero(t, l.row.FailingSince, name)
		}
	})
}
