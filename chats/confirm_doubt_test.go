package chats_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// lateSend is a call that sends long after it began, and whose request the server processes
// after the connection broke.
type lateSend struct {
	name     string
	options  []chats.Option
	faults   []chatstest.Fault // of sends
	isFile   bool
	deadline time.Duration // of the call's context; 0: none
	call     func(context.Context, *chats.Client, chats.ChatID, chats.MessageID) error
}

var lateFile = bytes.Repeat([]byte("x"), 320<<10)

// pausing is a reader that takes two seconds for each Read.
type pausing struct{ *bytes.Reader }

func (p pausing) Read(b []byte) (int, error) {
	time.Sleep(2 * time.Second)
	return p.Reader.Read(b)
}

func lateSends() []lateSend {
	sendText := func(ctx context.Context, c *chats.Client, id chats.ChatID, _ chats.MessageID) error {
		return c.SendText(ctx, id, "Завтра")
	}
	waits := 0
	limiter := &countingLimiter{wait: func(context.Context) error {
		if waits++; waits == 1 {
			time.Sleep(20 * time.Second)
		}
		return nil
	}}
	late := chatstest.ProcessLate(8 * time.Second)
	return []lateSend{
		{name: "limiter", options: []chats.Option{chats.WithLimiter(limiter)}, faults: []chatstest.Fault{late}, call: sendText},
		{
			name: "retries", call: sendText,
			faults: []chatstest.Fault{chatstest.Respond(429, http.Header{"Retry-After": {"20"}}, ""), late},
		},
		{
			name: "slow upload", faults: []chatstest.Fault{late}, isFile: true,
			call: func(ctx context.Context, c *chats.Client, id chats.ChatID, _ chats.MessageID) error {
				return c.SendFile(ctx, id, "a.txt", pausing{bytes.NewReader(lateFile)})
			},
		},
		{
			name: "another send to the chat", faults: []chatstest.Fault{chatstest.DropBefore(), chatstest.OK(), late},
			call: func(ctx context.Context, c *chats.Client, id chats.ChatID, last chats.MessageID) error {
				var first sync.WaitGroup
				first.Go(func() { _, _ = c.SendTextConfirmed(ctx, id, "Здравствуйте") })
				synctest.Wait()
				defer first.Wait()
				return sendText(ctx, c, id, last)
			},
		},
		{
			name: "second send of a confirmed one", faults: []chatstest.Fault{chatstest.DropBefore(), late}, deadline: 17 * time.Second,
			call: func(ctx context.Context, c *chats.Client, id chats.ChatID, last chats.MessageID) error {
				_, err := c.SendTextConfirmed(ctx, id, "Завтра", chats.ConfirmAfter(last))
				return err
			},
		},
	}
}

func (l *lateSend) confirm(t *testing.T, c *chats.Client, id chats.ChatID, options ...chats.ConfirmOption) (chats.Message, error) {
	t.Helper()
	if l.isFile {
		return c.SendFileConfirmed(t.Context(), id, "a.txt", bytes.NewReader(lateFile), options...)
	}
	return c.SendTextConfirmed(t.Context(), id, "Завтра", options...)
}

// remedies are the calls that the documentation names for an unknown outcome.
var remedies = []struct {
	name        string
	otherClient bool
	options     func(last chats.MessageID, failed *chats.Error, began, returned time.Time) []chats.ConfirmOption
}{
	{"SentAt", false, func(last chats.MessageID, failed *chats.Error, _, _ time.Time) []chats.ConfirmOption {
		return []chats.ConfirmOption{chats.ConfirmAfter(last), chats.ConfirmResume(failed.SentAt)}
	}},
	{"SentAt, another process", true, func(last chats.MessageID, failed *chats.Error, _, _ time.Time) []chats.ConfirmOption {
		return []chats.ConfirmOption{chats.ConfirmAfter(last), chats.ConfirmResume(failed.SentAt)}
	}},
	{"the same call", false, func(last chats.MessageID, _ *chats.Error, _, _ time.Time) []chats.ConfirmOption {
		return []chats.ConfirmOption{chats.ConfirmAfter(last)}
	}},
	{"both times, without ConfirmAfter", true, func(_ chats.MessageID, _ *chats.Error, began, returned time.Time) []chats.ConfirmOption {
		return []chats.ConfirmOption{chats.ConfirmResume(returned), chats.ConfirmResume(began)}
	}},
}

func TestErrOutcomeUnknown_RemedyAfterALateSendPostsOnce(t *testing.T) {
	t.Parallel()
	for n := range lateSends() {
		for _, remedy := range remedies {
			t.Run(lateSends()[n].name+", "+remedy.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					send := lateSends()[n]
					f := newFixture(t, send.options...)
					f.market.Fail(chats.OpSendMessageToChat, send.faults...)
					f.market.Fail(chats.OpSendFileToChat, send.faults...)
					ctx, began := t.Context(), time.Now()
					if send.deadline > 0 {
						limited, cancel := context.WithTimeout(ctx, send.deadline)
						defer cancel()
						ctx = limited
					}
					err := send.call(ctx, f.client, f.chat, f.first)
					var failed *chats.Error
					require.ErrorAs(t, err, &failed)
					require.ErrorIs(t, err, chats.ErrOutcomeUnknown)
					before := f.posted()
					last := f.market.Messages(f.chat)[before].ID

					client := f.client
					if remedy.otherClient {
						client = newClient(t, f.market)
					}
					message, err := send.confirm(t, client, f.chat, remedy.options(last, failed, began, time.Now())...)
					require.NoError(t, err)
					time.Sleep(time.Minute) // until late requests are processed
					assert.Equal(t, before+1, f.posted())
					assert.Equal(t, f.market.Messages(f.chat)[before+1].ID, message.ID)
				})
			})
		}
	}
}

// Every ErrOutcomeUnknown has a time for ConfirmResume.
func TestError_SentAt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		sentAt := func(err error) time.Time {
			var failed *chats.Error
			require.ErrorAs(t, err, &failed)
			return failed.SentAt
		}
		f.market.Fail(chats.OpSendMessageToChat, chatstest.Respond(500, nil, ""), chatstest.Status(400, envelope), chatstest.Status(200, `{"status":"OK"}`))
		began := time.Now()
		assert.Equal(t, began, sentAt(f.client.SendText(t.Context(), f.chat, "Завтра")))
		assert.Zero(t, sentAt(f.client.SendText(t.Context(), f.chat, "Завтра")))
		_, err := f.client.SendTextConfirmed(t.Context(), f.chat, "Завтра")
		require.ErrorIs(t, err, chats.ErrUnconfirmed)
		assert.Equal(t, began, sentAt(err), "the send, not the end of the search")

		f.market.AddMessage(f.chat, chats.SenderPartner, "Другой оператор")
		_, err = newClient(t, f.market).SendTextConfirmed(t.Context(), f.chat, "Нет", chats.ConfirmAfter(f.first))
		require.ErrorIs(t, err, chats.ErrAmbiguous)
		assert.Equal(t, time.Now(), sentAt(err), "an earlier call may have sent it until now")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = f.client.SendTextConfirmed(ended, f.chat, "Нет", chats.ConfirmResume(began))
		require.True(t, errors.Is(err, chats.ErrOutcomeUnknown))
		assert.Equal(t, began, sentAt(err))
	})
}
