package live_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What no report may show.
const (
	customer = "Анна Смирнова"
	said     = "где мой заказ"
)

// shop is a Market with some chats, the longest of eleven messages.
func shop(t *testing.T, options ...chatstest.Option) *chatstest.Market {
	t.Helper()
	market := chatstest.NewServer(t, append(options, chatstest.WithPreciseTimes())...).Market
	for i := range 4 {
		id := market.AddChat(chats.Chat{Customer: chats.Customer{Name: customer}})
		for range 3*i + 2 {
			market.CustomerSays(id, said)
		}
	}
	return market
}

// behind puts the Market behind a handler that may change its answers.
func behind(t *testing.T, market http.Handler, change func(body []byte) []byte) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		market.ServeHTTP(answer, r)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.Header().Del("Content-Length")
		w.WriteHeader(answer.Code)
		_, _ = w.Write(change(answer.Body.Bytes()))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func config(market *chatstest.Market, address string) live.Config {
	return live.Config{BaseURL: address, Key: market.Key(), Business: market.Business()}
}

// ask runs the live test against the Market as it is.
func ask(t *testing.T, market *chatstest.Market) *live.Report {
	t.Helper()
	address := behind(t, market, func(body []byte) []byte { return body })
	report := live.Run(t, config(market, address))
	assert.NotContains(t, report.String(), customer)
	assert.NotContains(t, report.String(), said)
	return report
}

// failing is a test that may fail, and what it says then.
type failing struct {
	testing.TB
	errors []string
}

func (f *failing) Helper() {}

func (f *failing) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func (f *failing) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// fails runs the live test and gives what it failed with.
func fails(t *testing.T, c live.Config) string {
	t.Helper()
	f := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		live.Run(f, c)
	}()
	<-done
	require.NotEmpty(t, f.errors, "it should have failed")
	text := strings.Join(f.errors, "\n")
	assert.NotContains(t, text, customer)
	assert.NotContains(t, text, said)
	return text
}

func TestTheReportNamesTheOrderItMet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		order chatstest.Order
		want  string
	}{
		"oldest first":      {chatstest.OldestFirst, live.OldestFirst},
		"newest first":      {chatstest.NewestFirst, live.NewestFirst},
		"newest page first": {chatstest.NewestPageFirst, live.NewestPageFirst},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			report := ask(t, shop(t, chatstest.WithOrder(c.order)))
			t.Logf("\n%s", report)
			assert.Equal(t, c.want, report.Answer("order of messages"))
			assert.Equal(t, c.want, report.Answer("order of messages, with messageIdFrom"))
			assert.Equal(t, "newest first, by updatedAt", report.Answer("order of chats"))
			assert.Equal(t, "inclusive", report.Answer("messageIdFrom"))
			assert.Contains(t, report.Answer("fields and words outside the contract"), "none in ")
		})
	}
}

func TestTheReportTellsAnExclusiveStart(t *testing.T) {
	t.Parallel()
	market := shop(t, chatstest.WithExclusiveSince())
	client := market.Client()
	for range 3 { // each some time after the one before, so that there are numbers between them
		require.NoError(t, client.SendText(t.Context(), market.Chats()[0].ID, said))
	}
	report := ask(t, market)
	assert.Equal(t, "exclusive", report.Answer("messageIdFrom"))
	assert.Equal(t, "accepted: some later, none earlier", report.Answer("messageIdFrom that no message has"))
}

func TestTheReportTellsPageLimitsAndHeaders(t *testing.T) {
	t.Parallel()
	market := shop(t)
	for range 110 {
		market.CustomerSays(market.AddChat(chats.Chat{}), said)
		market.CustomerSays(market.Chats()[len(market.Chats())-1].ID, said)
	}
	report := ask(t, market)
	assert.Equal(t, "20: 200; 21: 400; none given: 10 a page", report.Answer("page limits of chats"))
	assert.Contains(t, report.Answer("page limits of messages"), "100: 200; 101: 400; none given: ")
	assert.Contains(t, report.Answer("hourly limits"), "getChatHistory 10000")
	assert.NotContains(t, report.Answer("hourly limits"), "the contract says")
	assert.NotContains(t, report.Answer("limit headers"), "missing")
	assert.Equal(t, "changes from answer to answer by -1", report.Answer("Remaining"))
	assert.Contains(t, report.Answer("Until"), "readable ")
}

func TestTheReportTellsAboutAttachments(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options []chatstest.Option
		want    string
	}{
		"closed": {nil, "without the credential: 403; with it: opens, size as told true"},
		"open":   {[]chatstest.Option{chatstest.WithOpenFiles()}, "without the credential: 200; with it: opens, size as told true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := chatstest.NewServer(t, c.options...)
			id := server.AddChat(chats.Chat{})
			server.CustomerSays(id, said, server.AddFile("photo.jpg", []byte("photo")))
			report := live.Run(t, config(server.Market, server.URL))
			assert.Contains(t, report.Answer("attachments"), c.want)
		})
	}
}

func TestTheKeyGoesToNoHostThatWasNotNamed(t *testing.T) {
	t.Parallel()
	shown := ""
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown += r.Header.Get("Api-Key")
		w.WriteHeader(http.StatusForbidden)
	}))
	defer files.Close()
	server := chatstest.NewServer(t)
	server.CustomerSays(server.AddChat(chats.Chat{}), "", chats.File{Name: "a.jpg", URL: files.URL + "/a.jpg", Size: 1})
	report := live.Run(t, config(server.Market, server.URL))
	assert.Contains(t, report.Answer("attachments"), "on another host; without the credential: 403; with it: not tried")
	assert.Empty(t, shown)
}

func TestATestOrderIsWrittenTo(t *testing.T) {
	t.Parallel()
	market := shop(t, chatstest.WithTrimmedTexts())
	c := config(market, behind(t, market, func(body []byte) []byte { return body }))
	before := len(market.Chats())
	assert.NotContains(t, live.Run(t, c).String(), "a text comes back")
	assert.Len(t, market.Chats(), before)
	assert.Zero(t, market.Calls(chats.OpSendMessageToChat)+market.Calls(chats.OpSendFileToChat)+market.Calls(chats.OpCreateChat))

	c.Order = 77
	report := live.Run(t, c)
	assert.Equal(t, "the same chat: true", report.Answer("opening a chat twice"))
	assert.Equal(t, "without the spaces at its edges", report.Answer("a text comes back"))
	assert.Equal(t, "at once, name kept: true", report.Answer("a file comes back"))
}

func TestWhatTheContractDoesNotKnowFailsByName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ old, new, want string }{
		"a field":           {`"messageId":`, `"mood":"` + said + `","messageId":`, "getChatHistory: result.messages[].mood: the contract has no such field"},
		"a field of a chat": {`"chatId":`, `"unread":3,"chatId":`, "getChats: result.chats[].unread: the contract has no such field"},
		"a word":            {`"sender":"CUSTOMER"`, `"sender":"BOT"`, "getChatHistory: result.messages[].sender: the contract has no word BOT"},
		"a missing field":   {`"updatedAt":`, `"changedAt":`, `/result/chats/[]/updatedAt: property "updatedAt" is missing`},
		"a wrong type":      {`"message":"` + said + `"`, `"message":["` + said + `"]`, `/result/messages/[]/message: value must be a string`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			market := shop(t)
			address := behind(t, market, func(body []byte) []byte {
				return bytes.ReplaceAll(body, []byte(c.old), []byte(c.new))
			})
			assert.Contains(t, fails(t, config(market, address)), c.want)
		})
	}
}

func TestAWrongKeyEndsTheRun(t *testing.T) {
	t.Parallel()
	market := shop(t)
	c := config(market, behind(t, market, func(body []byte) []byte { return body }))
	c.Key = "wrong"
	assert.Contains(t, fails(t, c), "the list of chats: 401")
}

func TestTooFewMessagesAreSaidToBeTooFew(t *testing.T) {
	t.Parallel()
	server := chatstest.NewServer(t)
	report := live.Run(t, config(server.Market, server.URL))
	for _, question := range []string{"order of chats", "order of messages", "messageIdFrom", "page limits of messages"} {
		assert.Equal(t, live.TooFew, report.Answer(question), question)
	}
	assert.Equal(t, "unknown: none was met", report.Answer("attachments"))
}

func TestTheEnvironment(t *testing.T) {
	t.Parallel()
	from := func(env map[string]string) (live.Config, error) {
		return live.FromEnv(func(name string) string { return env[name] })
	}
	_, err := from(nil)
	require.ErrorIs(t, err, live.ErrNotAsked)
	_, err = from(map[string]string{"YANDEX_MARKET_API_KEY": "k"})
	require.ErrorContains(t, err, "YANDEX_MARKET_BUSINESS_ID")
	require.NotErrorIs(t, err, live.ErrNotAsked)
	c, err := from(map[string]string{
		"YANDEX_MARKET_API_KEY": "k", "YANDEX_MARKET_BUSINESS_ID": "7", "YANDEX_MARKET_TEST_ORDER": "8",
		"YANDEX_MARKET_FILE_HOST": "files.example", "YANDEX_MARKET_BASE_URL": "http://127.0.0.1:1",
	})
	require.NoError(t, err)
	assert.Equal(t, live.Config{BaseURL: "http://127.0.0.1:1", Key: "k", Business: 7, Order: 8, FileHost: "files.example"}, c)
}
