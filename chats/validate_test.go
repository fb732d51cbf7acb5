package chats_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
)

type argumentTest struct {
	name   string
	call   func(context.Context, *chats.Client) error
	field  string // of the ArgumentError
	reason string // part of the ArgumentError's Reason
}

func callChatsPage(filter chats.Filter, page chats.PageRequest) func(context.Context, *chats.Client) error {
	return func(ctx context.Context, c *chats.Client) error {
		_, err := c.ChatsPage(ctx, filter, page)
		return err
	}
}

func callHistoryPage(id chats.ChatID, since chats.MessageID, page chats.PageRequest) func(context.Context, *chats.Client) error {
	return func(ctx context.Context, c *chats.Client) error {
		_, err := c.HistoryPage(ctx, id, since, page)
		return err
	}
}

func callSendText(id chats.ChatID, text string) func(context.Context, *chats.Client) error {
	return func(ctx context.Context, c *chats.Client) error { return c.SendText(ctx, id, text) }
}

func callSendFile(id chats.ChatID, name string, content io.Reader) func(context.Context, *chats.Client) error {
	return func(ctx context.Context, c *chats.Client) error { return c.SendFile(ctx, id, name, content) }
}

func manySubjects(n int) []chats.Subject {
	subjects := make([]chats.Subject, n)
	for i := range subjects {
		subjects[i] = chats.AboutOrder(chats.OrderID(i + 1))
	}
	return subjects
}

func callOpenChat(about chats.Subject) func(context.Context, *chats.Client) error {
	return func(ctx context.Context, c *chats.Client) error {
		_, err := c.OpenChat(ctx, about)
		return err
	}
}

func callMessage(id chats.ChatID, message chats.MessageID) func(context.Context, *chats.Client) error {
	return func(ctx context.Context, c *chats.Client) error {
		_, err := c.Message(ctx, id, message)
		return err
	}
}

func argumentTests() []argumentTest {
	file := func() io.Reader { return strings.NewReader("content") }
	return []argumentTest{
		{"chat 0", func(ctx context.Context, c *chats.Client) error { _, err := c.Chat(ctx, 0); return err }, "chat", "0, must be greater than 0"},
		{"negative chat", func(ctx context.Context, c *chats.Client) error { _, err := c.Chat(ctx, -5); return err }, "chat", "-5, must be greater than 0"},
		{"message, chat 0", callMessage(0, 1), "chat", "greater than 0"},
		{"message 0", callMessage(1, 0), "message", "greater than 0"},
		{"history, chat 0", callHistoryPage(0, 0, chats.PageRequest{}), "chat", "greater than 0"},
		{"history, negative since", callHistoryPage(1, -1, chats.PageRequest{}), "since", "must not be negative"},
		{"history, negative size", callHistoryPage(1, 0, chats.PageRequest{Size: -1}), "page size", "1 to 100"},
		{"history, size too large", callHistoryPage(1, 0, chats.PageRequest{Size: 101}), "page size", "1 to 100"},
		{"chats, negative size", callChatsPage(chats.Filter{}, chats.PageRequest{Size: -1}), "page size", "1 to 20"},
		{"chats, size too large", callChatsPage(chats.Filter{}, chats.PageRequest{Size: 21}), "page size", "1 to 20"},
		{"filter, negative size", callChatsPage(chats.Filter{PageSize: -1}, chats.PageRequest{}), "filter: page size", "1 to 20"},
		{"filter, size too large", callChatsPage(chats.Filter{PageSize: 21}, chats.PageRequest{Size: 3}), "filter: page size", "1 to 20"},
		{"filter, order 0", callChatsPage(chats.Filter{Subjects: []chats.Subject{chats.AboutOrder(0)}}, chats.PageRequest{}), "filter: subjects: order", "greater than 0"},
		{"filter, return 0", callChatsPage(chats.Filter{Subjects: []chats.Subject{chats.AboutOrder(1), chats.AboutReturn(0)}}, chats.PageRequest{}), "filter: subjects: return", "greater than 0"},
		{"filter, DIRECT", callChatsPage(chats.Filter{Subjects: []chats.Subject{{Kind: chats.SubjectDirect}}}, chats.PageRequest{}), "filter: subjects", "DIRECT"},
		{"filter, empty subject kind", callChatsPage(chats.Filter{SubjectKinds: []chats.SubjectKind{chats.SubjectOrder, ""}}, chats.PageRequest{}), "filter: subject kinds", "empty"},
		{"filter with too many values", callChatsPage(chats.Filter{Subjects: manySubjects(20_000)}, chats.PageRequest{}), "request body", "at most 524288 allowed"},
		{"filter, empty type", callChatsPage(chats.Filter{Types: []chats.ChatType{""}}, chats.PageRequest{}), "filter: types", "empty"},
		{"filter, empty status", callChatsPage(chats.Filter{Statuses: []chats.Status{""}}, chats.PageRequest{}), "filter: statuses", "empty"},

		{"open DIRECT", callOpenChat(chats.Subject{Kind: chats.SubjectDirect}), "about", "DIRECT"},
		{"open empty subject", callOpenChat(chats.Subject{}), "about", "AboutOrder"},
		{"open without a kind", callOpenChat(chats.Subject{Order: 5}), "about", "AboutOrder"},
		{"open an unknown kind", callOpenChat(chats.Subject{Kind: "GIFT", Order: 5}), "about", `"GIFT"`},
		{"open order 0", callOpenChat(chats.AboutOrder(0)), "about: order", "greater than 0"},
		{"open negative return", callOpenChat(chats.AboutReturn(-1)), "about: return", "-1, must be greater than 0"},
		{"open a return with an order only", callOpenChat(chats.Subject{Kind: chats.SubjectReturn, Order: 5}), "about: return", "greater than 0"},

		{"text, negative chat", callSendText(-1, "a"), "chat", "greater than 0"},
		{"text empty", callSendText(1, ""), "text", "is empty"},
		{"text too long", callSendText(1, strings.Repeat("a", 4097)), "text", "4097 characters, at most 4096"},
		{"Cyrillic too long", callSendText(1, strings.Repeat("Ж", 4097)), "text", "4097 characters, at most 4096"},
		{"emoji too long", callSendText(1, strings.Repeat("👍", 4097)), "text", "4097 characters, at most 4096"},
		{"text is not UTF-8", callSendText(1, "caf\xe9"), "text", "not valid UTF-8"},
		{"text ends in the middle of a character", callSendText(1, "Ж"[:1]), "text", "not valid UTF-8"},

		{"file, chat 0", callSendFile(0, "a.jpg", file()), "chat", "greater than 0"},
		{"file without a name", callSendFile(1, "", file()), "file name", "is empty"},
		{"file name is not UTF-8", callSendFile(1, "\xff.jpg", file()), "file name", "not valid UTF-8"},
		{"file name is a path", callSendFile(1, "photos/a.jpg", file()), "file name", "without a path"},
		{"file name is a Windows path", callSendFile(1, `C:\a.jpg`, file()), "file name", "without a path"},
		{"file name breaks the header", callSendFile(1, "a\r\nX: y.jpg", file()), "file name", "control character"},
		{"file name has a DEL", callSendFile(1, "a\x7f.jpg", file()), "file name", "control character"},
		{"file name has a C1 control", callSendFile(1, "a\u0085.jpg", file()), "file name", "control character"},
		{"file name of 10 MiB", callSendFile(1, strings.Repeat("a", 10<<20), file()), "file name", "10485760 bytes, at most 255"},
		{"file name of 256 bytes", callSendFile(1, strings.Repeat("ж", 128), file()), "file name", "256 bytes, at most 255"},
		{"nil content", callSendFile(1, "a.jpg", nil), "file content", "is nil"},
		{"a nil file", callSendFile(1, "a.jpg", (*os.File)(nil)), "file content", "is nil"},
		{"a nil reader", callSendFile(1, "a.jpg", (*bytes.Reader)(nil)), "file content", "is nil"},
		{"a nil function", callSendFile(1, "a.jpg", readerFunc(nil)), "file content", "is nil"},
		{"empty content", callSendFile(1, "a.jpg", strings.NewReader("")), "file content", "is empty"},
		{"empty content of unknown size", callSendFile(1, "a.jpg", io.MultiReader()), "file content", "is empty"},
		{"too large", callSendFile(1, "a.jpg", bytes.NewReader(make([]byte, chats.MaxFileSize+1))), "file content", "larger than 5242880 bytes"},
		{"too large, with Len only", callSendFile(1, "a.jpg", bytes.NewBuffer(make([]byte, chats.MaxFileSize+1))), "file content", "larger than 5242880 bytes"},
		{"too large, of unknown size", callSendFile(1, "a.jpg", io.LimitReader(zeros{}, chats.MaxFileSize+1)), "file content", "larger than 5242880 bytes"},
		{"endless", callSendFile(1, "a.jpg", zeros{}), "file content", "larger than 5242880 bytes"},

		{"download without a URL", callDownload(""), "file", "must be absolute (http or https)"},
		{"download of a path", callDownload("/files/1"), "file", "must be absolute (http or https)"},
		{"download of a local file", callDownload("file:///etc/passwd"), "file", "must be absolute (http or https)"},
		{"download without a host", callDownload("https:///a"), "file", "must be absolute (http or https)"},
		{"download with a port only", callDownload("https://:443/a"), "file", "must be absolute (http or https)"},
		{"download of another scheme", callDownload("ftp://host/a"), "file", "must be absolute (http or https)"},
		{"download of an invalid URL", callDownload("http://[::1"), "file", "must be absolute (http or https)"},
		{"download with a control character", callDownload("https://host/\x00"), "file", "must be absolute (http or https)"},
	}
}

func callDownload(url string) func(context.Context, *chats.Client) error {
	return func(ctx context.Context, c *chats.Client) error {
		body, err := c.Download(ctx, chats.File{URL: url})
		if err == nil {
			_ = body.Close()
		}
		return err
	}
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestArguments_InvalidOnesAreRefusedBeforeSending(t *testing.T) {
	t.Parallel()
	for _, tt := range argumentTests() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, chats.WithHTTPClient(forbidRequests(t)))
			err := tt.call(t.Context(), f.client)
			require.ErrorIs(t, err, chats.ErrInvalidArgument)
			var bad *chats.ArgumentError
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, tt.field, bad.Field)
			assert.Contains(t, bad.Reason, tt.reason)
			assert.Equal(t, "chats: "+bad.Field+": "+bad.Reason, err.Error())
			assert.NotErrorIs(t, err, chats.ErrOutcomeUnknown)
		})
	}
}

func TestArguments_LargestAreAccepted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, text := range []string{"a", strings.Repeat("Ж", 4096), strings.Repeat("👍", 4096), strings.Repeat(`"`, 4096), "\u0000 <&>  "} {
		require.NoError(t, f.client.SendText(t.Context(), f.chat, text))
		messages := f.market.Messages(f.chat)
		assert.Equal(t, text, messages[len(messages)-1].Text)
	}
	_, err := f.client.HistoryPage(t.Context(), f.chat, 0, chats.PageRequest{Size: chats.MaxHistoryPage})
	require.NoError(t, err)
	_, err = f.client.ChatsPage(t.Context(), chats.Filter{PageSize: chats.MaxChatsPage}, chats.PageRequest{Size: chats.MaxChatsPage})
	require.NoError(t, err)
}
