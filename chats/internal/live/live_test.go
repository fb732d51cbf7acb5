package live_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/live"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// No report may contain these.
const (
	customer = "Анна Смирнова"
	said     = "где мой заказ"
)

// newMarket returns a Market with some chats, the longest of eleven messages. Their times are set,
// because on Windows the clock advances in steps that are longer than this function.
func newMarket(t *testing.T, options ...chatstest.Option) *chatstest.Market {
	t.Helper()
	market := chatstest.NewServer(t, append(options, chatstest.WithPreciseTimes())...).Market
	at := time.Now().Add(-time.Hour)
	for i := range 4 {
		messages := make([]chats.Message, 3*i+2)
		for n := range messages {
			at = at.Add(time.Second)
			messages[n] = chats.Message{CreatedAt: at, Sender: chats.SenderCustomer, Text: said}
		}
		market.AddConversation(chats.Chat{Customer: chats.Customer{Name: customer}}, messages...)
	}
	return market
}

// proxied serves the Market through a handler that may change its responses.
func proxied(t *testing.T, market http.Handler, change func(body []byte) []byte) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorded := httptest.NewRecorder()
		market.ServeHTTP(recorded, r)
		maps.Copy(w.Header(), recorded.Header())
		w.Header().Del("Content-Length")
		w.WriteHeader(recorded.Code)
		_, _ = w.Write(change(recorded.Body.Bytes()))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func config(market *chatstest.Market, address string) live.Config {
	return live.Config{BaseURL: address, Key: market.Key(), Business: market.Business()}
}

// run runs the live test against the unchanged Market.
func run(t *testing.T, market *chatstest.Market) *live.Report {
	t.Helper()
	address := proxied(t, market, func(body []byte) []byte { return body })
	report := live.Run(t, config(market, address))
	assert.NotContains(t, report.String(), customer)
	assert.NotContains(t, report.String(), said)
	return report
}

// failureRecorder records the failures of a test.
type failureRecorder struct {
	testing.TB
	errors []string
}

func (f *failureRecorder) Helper() {}

func (f *failureRecorder) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func (f *failureRecorder) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

// failures runs the live test and returns what it failed with.
func failures(t *testing.T, c live.Config) string {
	t.Helper()
	f := &failureRecorder{TB: t}
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

func TestRun_ReportsTheOrder(t *testing.T) {
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
			report := run(t, newMarket(t, chatstest.WithOrder(c.order)))
			t.Logf("\n%s", report)
			assert.Equal(t, c.want, report.Finding("order of messages"))
			assert.Equal(t, c.want, report.Finding("order of messages, with messageIdFrom"))
			assert.Equal(t, "newest first, by updatedAt", report.Finding("order of chats"))
			assert.Equal(t, "inclusive", report.Finding("messageIdFrom"))
			assert.Contains(t, report.Finding("fields and values outside the contract"), "none in ")
		})
	}
}

func TestRun_ReportsAnExclusiveSince(t *testing.T) {
	t.Parallel()
	market := newMarket(t, chatstest.WithExclusiveSince())
	client := market.Client()
	for range 3 { // not at once, so that there are free IDs between them
		require.NoError(t, client.SendText(t.Context(), market.Chats()[0].ID, said))
	}
	report := run(t, market)
	assert.Equal(t, "exclusive", report.Finding("messageIdFrom"))
	assert.Equal(t, "accepted: some later, none earlier", report.Finding("messageIdFrom that no message has"))
}

func TestRun_ReportsPageLimitsAndHeaders(t *testing.T) {
	t.Parallel()
	market := newMarket(t)
	for range 110 {
		market.CustomerSays(market.AddChat(chats.Chat{}), said)
		market.CustomerSays(market.Chats()[len(market.Chats())-1].ID, said)
	}
	report := run(t, market)
	assert.Equal(t, "20: 200; 21: 400; without: 10 a page", report.Finding("page limits of chats"))
	assert.Contains(t, report.Finding("page limits of messages"), "100: 200; 101: 400; without: ")
	assert.Contains(t, report.Finding("hourly limits"), "getChatHistory 10000")
	assert.NotContains(t, report.Finding("hourly limits"), "the contract says")
	assert.NotContains(t, report.Finding("limit headers"), "missing")
	assert.Equal(t, "changes between responses by -1", report.Finding("Remaining"))
	assert.Contains(t, report.Finding("Until"), "readable ")
}

func TestRun_ReportsAttachments(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options []chatstest.Option
		want    string
	}{
		"closed": {nil, "without the credential: 403; with it: opens, size as reported: true"},
		"open":   {[]chatstest.Option{chatstest.WithOpenFiles()}, "without the credential: 200; with it: opens, size as reported: true"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := chatstest.NewServer(t, c.options...)
			id := server.AddChat(chats.Chat{})
			server.CustomerSays(id, said, server.AddFile("photo.jpg", []byte("photo")))
			report := live.Run(t, config(server.Market, server.URL))
			assert.Contains(t, report.Finding("attachments"), c.want)
		})
	}
}

func TestRun_SendsTheKeyToNoOtherHost(t *testing.T) {
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
	assert.Contains(t, report.Finding("attachments"), "on another host; without the credential: 403; with it: not tried")
	assert.Empty(t, shown)
}

func TestRun_WritesToATestOrderOnly(t *testing.T) {
	t.Parallel()
	market := newMarket(t, chatstest.WithTrimmedTexts())
	c := config(market, proxied(t, market, func(body []byte) []byte { return body }))
	before := len(market.Chats())
	assert.NotContains(t, live.Run(t, c).String(), "a text is stored")
	assert.Len(t, market.Chats(), before)
	assert.Zero(t, market.Calls(chats.OpSendMessageToChat)+market.Calls(chats.OpSendFileToChat)+market.Calls(chats.OpCreateChat))

	c.Order = 77
	report := live.Run(t, c)
	assert.Equal(t, "the same chat: true", report.Finding("opening a chat twice"))
	assert.Equal(t, "without the spaces at its edges", report.Finding("a text is stored"))
	assert.Equal(t, "at once, name kept: true", report.Finding("a file is stored"))
}

func TestRun_FailsForWhatTheContractDoesNotHave(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ old, new, want string }{
		"a field":           {`"messageId":`, `"mood":"` + said + `","messageId":`, "getChatHistory: result.messages[].mood: unknown field"},
		"a field of a chat": {`"chatId":`, `"unread":3,"chatId":`, "getChats: result.chats[].unread: unknown field"},
		"an enum value":     {`"sender":"CUSTOMER"`, `"sender":"BOT"`, "getChatHistory: result.messages[].sender: unknown value BOT"},
		"a missing field":   {`"updatedAt":`, `"changedAt":`, `/result/chats/[]/updatedAt: property "updatedAt" is missing`},
		"a wrong type":      {`"message":"` + said + `"`, `"message":["` + said + `"]`, `/result/messages/[]/message: value must be a string`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			market := newMarket(t)
			address := proxied(t, market, func(body []byte) []byte {
				return bytes.ReplaceAll(body, []byte(c.old), []byte(c.new))
			})
			assert.Contains(t, failures(t, config(market, address)), c.want)
		})
	}
}

func TestRun_StopsAtAnInvalidKey(t *testing.T) {
	t.Parallel()
	market := newMarket(t)
	c := config(market, proxied(t, market, func(body []byte) []byte { return body }))
	c.Key = "wrong"
	assert.Contains(t, failures(t, c), "the list of chats: 401")
}

func TestRun_ReportsTooFewMessages(t *testing.T) {
	t.Parallel()
	server := chatstest.NewServer(t)
	report := live.Run(t, config(server.Market, server.URL))
	for _, question := range []string{"order of chats", "order of messages", "messageIdFrom", "page limits of messages"} {
		assert.Equal(t, live.TooFew, report.Finding(question), question)
	}
	assert.Equal(t, "unknown: none found", report.Finding("attachments"))
}

func TestFromEnv(t *testing.T) {
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
