package chats_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// With several shops a failure must say whose it is, wherever it arises.
func TestErrors_NameTheBusiness(t *testing.T) {
	t.Parallel()
	unreadable := readerFunc(func([]byte) (int, error) { return 0, errDisk })
	for name, call := range map[string]func(context.Context, *fixture) error{
		"credential source": func(ctx context.Context, f *fixture) error {
			source := func(context.Context) (string, error) { return "", errDisk }
			client, err := chats.New(f.market.Business(), chats.APIKeySource(source))
			require.NoError(t, err)
			return client.SendText(ctx, f.chat, "Да")
		},
		"file": func(ctx context.Context, f *fixture) error {
			return f.client.SendFile(ctx, f.chat, "a.txt", unreadable)
		},
		"file with a size": func(ctx context.Context, f *fixture) error {
			return f.client.SendFile(ctx, f.chat, "a.txt", sized(unreadable, 7))
		},
		"History without an end": func(ctx context.Context, f *fixture) error {
			f.market.FailFunc(func(chats.Operation, int) chatstest.Fault { return chatstest.Malformed(historyPage("again", 1)) })
			_, err := collect(t, f.client.History(ctx, f.chat, 0))
			return err
		},
		"Chats": func(ctx context.Context, f *fixture) error {
			f.market.Fail(chats.OpGetChats, chatstest.Malformed("<html>"))
			_, err := collect(t, f.client.Chats(ctx, chats.Filter{}))
			return err
		},
		"confirmed send, unconfirmed": func(ctx context.Context, f *fixture) error {
			f.market.Fail(chats.OpSendMessageToChat, chatstest.Status(200, `{"status":"OK"}`))
			_, err := f.client.SendTextConfirmed(ctx, f.chat, "Да")
			return err
		},
		"confirmed send, history unreadable": func(ctx context.Context, f *fixture) error {
			f.market.Fail(chats.OpGetChatHistory, times(99, chatstest.Status(403, ""))...)
			_, err := f.client.SendTextConfirmed(ctx, f.chat, "Да")
			return err
		},
		"wait for another send": func(ctx context.Context, f *fixture) error {
			f.market.Fail(chats.OpSendMessageToChat, chatstest.Delay(10*time.Second))
			go func() { _ = f.client.SendText(ctx, f.chat, "Да") }()
			synctest.Wait()
			ended, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			err := f.client.SendText(ended, f.chat, "Нет")
			time.Sleep(time.Minute)
			return err
		},
		"download": func(ctx context.Context, f *fixture) error {
			_, err := f.client.Download(ctx, chats.File{URL: "https://files.example/none"})
			return err
		},
		"download, cut off": func(ctx context.Context, f *fixture) error {
			f.market.Fail(chatstest.OpDownload, chatstest.Truncate(3))
			attachment, err := f.client.Download(ctx, f.market.AddFile("a.txt", []byte("content")))
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, attachment)
			require.NoError(t, attachment.Close())
			return err
		},
		"local refusal": func(ctx context.Context, f *fixture) error {
			f.market.Fail(chats.OpGetChat, chatstest.RateLimitedHourly(time.Now().Add(late)))
			_ = f.call(ctx, chats.OpGetChat)
			return f.call(ctx, chats.OpGetChat)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t)
			err := call(t.Context(), f)
			var e *chats.Error
			require.ErrorAs(t, err, &e, name)
			assert.Equal(t, f.market.Business(), e.Business, "%s: %v", name, err)
			assert.NotContains(t, err.Error(), "1234567", "the text stays short")
		})
	}
}
