package chats_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// The text has something of everything that servers are known to change.
const sentText = "  Здравствуйте,\n\nЕле\u0301на! \"Заказ\" <b>123</b> & 5 > 3: https://t.example/?a=1&copy=2, +7 000 000-00-00...\u200b\a И\u0306од"

// storedForm is a way of storing what was sent.
type storedForm struct {
	name   string
	change func(string) string
	same   bool // the library takes it for the same text
}

func replace(old, with string) func(string) string {
	return func(text string) string { return strings.ReplaceAll(text, old, with) }
}

func remove(drop func(rune) bool) func(string) string {
	return func(text string) string {
		return strings.Map(func(r rune) rune {
			if drop(r) {
				return -1
			}
			return r
		}, text)
	}
}

// The number of forms is in the documentation.
func TestDocs_FormsOfConfirmedSends(t *testing.T) {
	t.Parallel()
	assert.Len(t, textForms(), 19)
	assert.Len(t, fileForms(), 16)
}

func textForms() []storedForm {
	return []storedForm{
		{"as sent", func(text string) string { return text }, true},
		{"trimmed", strings.TrimSpace, true},
		{"one line", replace("\n\n", " "), true},
		{"Windows line ends", replace("\n", "\r\n"), true},
		{"no control characters", remove(func(r rune) bool { return unicode.IsControl(r) && !unicode.IsSpace(r) }), true},
		{"no line ends", remove(unicode.IsControl), false},
		{"no zero-width characters", remove(func(r rune) bool { return unicode.Is(unicode.Cf, r) }), true},
		{"escaped", html.EscapeString, true},
		{"escaped twice", func(text string) string { return html.EscapeString(html.EscapeString(text)) }, true},
		{"a link repaired", replace("&copy=", "&copy;="), true},
		{"composed", replace("И\u0306", "Й"), false},
		{"typographic", replace(`"Заказ"`, "«Заказ»"), false},
		{"markup removed", func(text string) string { return replace("</b>", "")(replace("<b>", "")(text)) }, false},
		{"a link masked", replace("https://t.example/?a=1&copy=2", "[ссылка удалена]"), false},
		{"a number masked", replace("+7 000 000-00-00", "***"), false},
		{"cut", func(text string) string { return text[:20] }, false},
		{"upper case", strings.ToUpper, false},
		{"replaced", func(string) string { return "Сообщение скрыто" }, false},
		{"empty", func(string) string { return "" }, false},
	}
}

// fileForm is a way of storing a file.
type fileForm struct {
	name   string
	change func(chats.File) chats.File
	same   bool
}

func fileForms() []fileForm {
	named := func(name string) func(chats.File) chats.File {
		return func(file chats.File) chats.File { file.Name = name; return file }
	}
	sizedAs := func(size int64) func(chats.File) chats.File {
		return func(file chats.File) chats.File { file.Size = size; return file }
	}
	return []fileForm{
		{"as sent", func(file chats.File) chats.File { return file }, true},
		{"no size", sizedAs(0), true},
		{"a negative size", sizedAs(-1), true},
		{"compressed", sizedAs(3), false},
		{"larger", sizedAs(1000), false},
		{"no name", named(""), false},
		{"another name", named("file"), false},
		{"upper case", named("ФОТО.JPG"), false},
		{"composed", named("фотой.jpg"), false},
		{"escaped", named("%D1%84%D0%BE%D1%82%D0%BE.jpg"), false},
		{"transliterated", named("foto.jpg"), false},
		{"cut", named("фот.jpg"), false},
		{"another extension", named("фото.jpeg"), false},
		{"numbered", named("фото (1).jpg"), false},
		{"no name and no size", func(file chats.File) chats.File { return chats.File{URL: file.URL} }, false},
		{"trimmed", named("фото"), false},
	}
}

// confirmedSend is a cell of the table: what is sent and how it is stored.
type confirmedSend struct {
	name   string
	option chatstest.Option
	same   bool
	op     chats.Operation
	send   func(context.Context, *chats.Client, chats.ChatID, ...chats.ConfirmOption) (chats.Message, error)
}

func confirmedSends() (all []confirmedSend) {
	for _, form := range textForms() {
		all = append(all, confirmedSend{
			"text " + form.name, chatstest.WithStoredText(form.change), form.same, chats.OpSendMessageToChat,
			func(ctx context.Context, c *chats.Client, id chats.ChatID, options ...chats.ConfirmOption) (chats.Message, error) {
				return c.SendTextConfirmed(ctx, id, sentText, options...)
			},
		})
	}
	for _, form := range fileForms() {
		all = append(all, confirmedSend{
			"file " + form.name, chatstest.WithStoredFile(form.change), form.same, chats.OpSendFileToChat,
			func(ctx context.Context, c *chats.Client, id chats.ChatID, options ...chats.ConfirmOption) (chats.Message, error) {
				return c.SendFileConfirmed(ctx, id, "фото.jpg", bytes.NewReader(randomBytes(100)), options...)
			},
		})
	}
	return all
}

// lostResponses are the fates of the responses to the sends, counted from 1.
var lostResponses = map[string]func(n int) bool{
	"kept":        func(int) bool { return false },
	"lost once":   func(n int) bool { return n == 1 },
	"always lost": func(int) bool { return true },
}

// outcomeOf names the way in which a confirmed send ended.
func outcomeOf(t *testing.T, err error) string {
	t.Helper()
	var e *chats.Error
	if err != nil {
		require.ErrorAs(t, err, &e)
	}
	unknown, unconfirmed := errors.Is(err, chats.ErrOutcomeUnknown), errors.Is(err, chats.ErrUnconfirmed)
	assert.False(t, unknown && unconfirmed, "%v", err)
	switch {
	case err == nil:
		return "Message"
	case unknown:
		return "ErrOutcomeUnknown"
	case unconfirmed:
		return "ErrUnconfirmed"
	}
	return "error"
}

// confirmedTable reads the table of the confirmed sends from the package documentation:
// what became of the send, what the history shows, how the call ends.
func confirmedTable(t *testing.T) map[string]string {
	t.Helper()
	table := map[string]string{}
	for line := range strings.Lines(readRepo(t, "chats/doc.go")) {
		row, isTable := strings.CutPrefix(line, "//\t")
		if cells := tableCells(row); isTable && len(cells) == 4 && cells[0] != "send" {
			for i, content := range []string{"text", "file"} {
				table[cells[0]+", "+cells[1]+", "+content] = cells[2+i]
			}
		}
	}
	require.Len(t, table, 2*2*3)
	return table
}

func TestDocs_ConfirmedTableIsThePackageDocumentations(t *testing.T) {
	t.Parallel()
	table := map[string]string{}
	for _, row := range readTable(t, "chats/docs/sending.md", "| send |") {
		table[row[0]+", "+row[1]+", text"], table[row[0]+", "+row[1]+", file"] = row[2], row[3]
	}
	assert.Equal(t, confirmedTable(t), table)
}

// row returns the key of the confirmedTable for a send that was posted.
func (s *confirmedSend) row(lost bool) string {
	fate, shown := "accepted", "other content"
	if lost {
		fate = "outcome unknown"
	}
	if s.same {
		shown = "the content sent"
	}
	return fate + ", " + shown + ", " + strings.Fields(s.name)[0]
}

// TestPackageDoc_ConfirmedTable makes a fresh call of every kind.
func TestPackageDoc_ConfirmedTable(t *testing.T) {
	t.Parallel()
	table := confirmedTable(t)
	for _, send := range confirmedSends() {
		for fate, isLost := range lostResponses {
			t.Run(send.name+", response "+fate, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					f := newFixtureOn(t, chatstest.NewMarket(send.option))
					f.market.FailFunc(func(op chats.Operation, n int) chatstest.Fault {
						if op == send.op && isLost(n) {
							return chatstest.DropAfter()
						}
						return chatstest.OK()
					})
					message, err := send.send(t.Context(), f.client, f.chat)
					assert.Equal(t, table[send.row(isLost(1))], outcomeOf(t, err), err)
					assert.Equal(t, 1, f.posted())
					if err == nil {
						assert.Equal(t, f.market.Messages(f.chat)[1].ID, message.ID)
					}
				})
			})
		}
	}
}

// What was not posted is sent again after an unknown outcome, and never after it was
// accepted.
func TestPackageDoc_ConfirmedTableNothingNew(t *testing.T) {
	t.Parallel()
	table := confirmedTable(t)
	for _, send := range confirmedSends() {
		content := strings.Fields(send.name)[0]
		if !strings.HasSuffix(send.name, "as sent") {
			continue
		}
		for key, fault := range map[string]chatstest.Fault{
			"accepted": chatstest.Status(200, `{"status":"OK"}`), "outcome unknown": chatstest.DropBefore(),
		} {
			synctest.Test(t, func(t *testing.T) {
				f := newFixtureOn(t, chatstest.NewMarket(send.option))
				f.market.Fail(send.op, fault)
				_, err := send.send(t.Context(), f.client, f.chat)
				promise, posted := table[key+", no new message, "+content], 0
				if promise == "sent again" {
					promise, posted = "Message", 1
				}
				assert.Equal(t, promise, outcomeOf(t, err), "%s, %s", key, content)
				assert.Equal(t, posted, f.posted())
			})
		}
	}
}

// crash is the end of a process at its n-th request: before the request is processed, or
// after.
type crash struct {
	n     int
	after bool
	kill  func()
}

// faults returns the faults of a Market under which the process crashes and the responses
// to some sends are lost.
func (c *crash) faults(send chats.Operation, isLost func(int) bool) func(chats.Operation, int) chatstest.Fault {
	requests := 0
	return func(op chats.Operation, n int) chatstest.Fault {
		switch requests++; {
		case requests == c.n && c.after:
			time.AfterFunc(time.Second, c.kill)
			return chatstest.SlowHeaders(2 * time.Second)
		case requests == c.n:
			c.kill()
			return chatstest.DropBefore()
		case op == send && isLost(n):
			return chatstest.DropAfter()
		}
		return chatstest.OK()
	}
}

// The process dies at any request of the call, and another one makes the same call again.
// The message is never posted twice, and the outcome is that of the table.
func TestConfirmed_CallAfterCrashNeverPostsTwice(t *testing.T) {
	t.Parallel()
	table := confirmedTable(t)
	for _, send := range confirmedSends() {
		for _, resume := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, resume %v", send.name, resume), func(t *testing.T) {
				t.Parallel()
				for _, isLost := range lostResponses {
					for _, after := range []bool{false, true} {
						for n, crashed := 1, true; crashed; n++ {
							synctest.Test(t, func(t *testing.T) {
								crashed = callAfterCrash(t, table, send, isLost, crash{n: n, after: after}, resume)
							})
							require.Less(t, n, 100)
						}
					}
				}
			})
		}
	}
}

func callAfterCrash(
	t *testing.T, table map[string]string, send confirmedSend, isLost func(int) bool, at crash, resume bool,
) (crashed bool) {
	t.Helper()
	f := newFixtureOn(t, chatstest.NewMarket(send.option))
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	at.kill = kill
	f.market.FailFunc(at.faults(send.op, isLost))
	began, options := time.Now(), []chats.ConfirmOption{chats.ConfirmAfter(f.first)}
	_, _ = send.send(ctx, f.client, f.chat, options...)
	crashed = ctx.Err() != nil
	time.Sleep(time.Second)
	posted, sends := f.posted(), f.market.Calls(send.op)

	if resume {
		options = append(options, chats.ConfirmResume(began))
	}
	restarted := newClient(t, f.market)
	message, err := send.send(t.Context(), restarted, f.chat, options...)
	want := table[send.row(posted > 0 || isLost(sends+1))]
	assert.Equal(t, want, outcomeOf(t, err), "crash at request %d, after it: %v, resume: %v: %v", at.n, at.after, resume, err)
	assert.Equal(t, 1, f.posted())
	if err == nil {
		assert.Equal(t, f.market.Messages(f.chat)[1].ID, message.ID)
	}
	return crashed
}
