package inbox

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ymchats/ymchats-go/chats"
)

func TestIsRefusal(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{400: true, 404: true, 403: false, 420: false, 500: false} {
		err := fmt.Errorf("wrapped: %w", &chats.Error{Operation: chats.OpGetChatHistory, StatusCode: status})
		assert.Equal(t, want, isRefusal(err, chats.OpGetChatHistory), status)
		assert.False(t, isRefusal(err, chats.OpGetChats), status)
	}
	assert.False(t, isRefusal(assert.AnError, chats.OpGetChatHistory))
}

// A poll that has read everything explains what was seen of the chat if a message is as new.
func TestPoll_WhatItExplains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		const s = time.Second
		for name, tt := range map[string]struct {
			seen      time.Duration // before the poll began
			explained bool          // before the poll
			poll      poll
			want      bool
			seenNow   bool // SeenAt is when the poll began or, if it found a message, when it ended
		}{
			"listed, nothing read":                       {seen: s},
			"listed, the message":                        {seen: s, poll: poll{found: true, newest: now}, want: true, seenNow: true},
			"explained, another one":                     {explained: true, poll: poll{found: true, newest: now}, want: true, seenNow: true},
			"pushed, the message":                        {seen: s, poll: poll{woken: true, found: true, newest: now, pushed: now}, want: true, seenNow: true},
			"pushed, an older message":                   {seen: s, poll: poll{woken: true, found: true, newest: now.Add(-3 * s), pushed: now}, seenNow: true},
			"pushed, nothing":                            {seen: s, poll: poll{woken: true, newest: now, pushed: now}, seenNow: true},
			"pushed after its message was found":         {seen: 59 * s, explained: true, poll: poll{woken: true, newest: now, pushed: now}, want: true, seenNow: true},
			"pushed a minute after that":                 {seen: 60 * s, explained: true, poll: poll{woken: true, newest: now, pushed: now}, seenNow: true},
			"listed, what was read before is as new":     {seen: s, poll: poll{newest: now}, want: true},
			"listed, what was read before is not as new": {seen: s, poll: poll{newest: now.Add(-2 * s)}},
		} {
			began := now.Add(-time.Hour)
			seenAt := began
			if tt.poll.found {
				seenAt = now
			}
			l := &tt.poll
			l.session, l.began = &session{Inbox: &Inbox{log: slog.New(slog.DiscardHandler)}}, began
			l.row = &ChatState{Read: true, UpdatedAt: now, SeenAt: began.Add(-tt.seen), Explained: tt.explained}
			l.row.Snapshot.UpdatedAt = now
			l.complete()
			assert.Equal(t, tt.want, l.row.Explained, name)
			assert.Equal(t, tt.seenNow, l.row.SeenAt.Equal(seenAt), name)
		}
	})
}

// The end of a failure is logged; that of a handler's is logged with the message.
func TestPoll_TheEndOfAFailure(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		row  ChatState
		want string
	}{
		"none":           {},
		"of the history": {row: ChatState{FailingSince: time.Now()}, want: "can be read again"},
		"of the handler": {row: ChatState{FailingSince: time.Now(), Attempts: 1, Head: 1}},
	} {
		l, log := newPoll(&tt.row)
		l.complete()
		assert.Contains(t, log.String(), tt.want, name)
		assert.Equal(t, tt.want == "", log.Len() == 0, name)
		assert.Zero(t, l.row.FailingSince, name)
	}
}

// A chat that was listed within the last minute is not read again before its message is delivered.
func TestPoll_ReadsTheChatUnlessItWasJustListed(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*poll)
		read   bool
	}{
		"just listed":        {func(*poll) {}, false},
		"a minute ago":       {func(l *poll) { l.row.SeenAt = l.began.Add(-time.Minute) }, true},
		"pushed":             {func(l *poll) { l.woken = true }, true},
		"for a recheck":      {func(l *poll) { l.row.Explained = true }, true},
		"read before":        {func(l *poll) { l.woken, l.checked = true, true }, false},
		"whatever its state": {func(l *poll) { l.woken, l.config.filter = true, chats.Filter{} }, false},
	} {
		l, _ := newPoll(&ChatState{})
		l.client = connect(t, func(*http.Response) {})
		l.row.SeenAt = l.began.Add(-time.Minute + 1)
		l.config.filter = chats.Filter{Statuses: []chats.Status{chats.StatusNew}}
		tt.change(l)
		err := l.match(t.Context())
		assert.Equal(t, tt.read, errors.Is(err, chats.ErrNotFound), name)
		assert.Equal(t, tt.read, err != nil, name)
	}
}
