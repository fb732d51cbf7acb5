package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noEnv(string) string { return "" }

// run runs the program and returns its exit code and output.
func run(t *testing.T, p program) (code int, printed string) {
	t.Helper()
	return start(t, p)(t.Context())
}

func start(t *testing.T, p program) func(context.Context) (code int, printed string) {
	t.Helper()
	var out bytes.Buffer
	p.out, p.errOut = &out, &out
	if p.wrap == nil {
		p.wrap = func(next http.RoundTripper) http.RoundTripper { return contract.Transport(t, next) }
	}
	work, err := p.prepare()
	return func(ctx context.Context) (int, string) {
		if err == nil {
			err = work(ctx)
		}
		return p.finish(err), out.String()
	}
}

// assertLines checks that printed contains the texts in this order.
func assertLines(t *testing.T, printed string, texts ...string) {
	t.Helper()
	rest := printed
	for _, text := range texts {
		_, after, found := strings.Cut(rest, text)
		if !assert.True(t, found, "%q is missing or out of order in:\n%s", text, printed) {
			return
		}
		rest = after
	}
}

func TestDemo_ShowsAWholeConversation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ignored := func(string) string { return "ignored by the demo" }
		code, printed := run(t, program{demo: true, getenv: ignored})

		assert.Zero(t, code, printed)
		assert.Less(t, time.Since(began), 2*time.Second)
		assertLines(t, printed,
			"A scripted demo on an in-memory Market. Nothing is sent to Yandex Market.\n",
			"Chats waiting for the shop: 4\n",
			"  1  ", "Анна (Anna)", "order 48211093\n",
			"  2  ", "Дмитрий", "return 7301288 of order 48190417\n",
			"  3  ", "Сергей", "order 48173302, a dispute\n",
			"  4  ", "Ольга", "a question without an order\n",

			"> client.Chats(ctx, chats.Filter{",

			"[1] Анна (Anna), order 48211093, chat ",
			"  Анна: Здравствуйте! Заказ обещали вчера", "(Hello! The order was due yesterday",
			"  Shop: Здравствуйте, Анна!",
			"  Анна: (sticker)\n",
			"[2] Дмитрий",
			"  Дмитрий: Оформил возврат",
			"+ IMG_2041.png, ",
			"+ IMG_2042.png, ",
			"  Market: Возврат № 7301288 принят.",
			"[3] Сергей",
			"  Market's support: Здравствуйте! Подключаемся к разбору.",
			"  Сергей\n", "+ IMG_0388.png, ",
			"[4] Ольга",
			"  Ольга: Добрый день!",
			"> client.History(ctx, chat.ID, last)",

			"Reply to which chat? [1-4, Enter for none] 1\n",
			"Text: Анна, посылка уже в вашем городе.", "(Anna, the parcel is in your city.",
			"Send this text to Анна? [y/N] y\n",
			"Posted at ", "> client.SendTextConfirmed(ctx, 70000001, text, chats.ConfirmAfter(",
			"Send a file to which chat? [1-4, Enter for none] 2\n",
			"File: ярлык-возврата.png\n", "(return-label.png)\n",
			" to Дмитрий? [y/N] y\nPosted.\n", "> client.SendFile(ctx, 70000002, \"ярлык-возврата.png\", file)",
			"Open a chat about which order? [number, Enter for none] 48215560\n",
			"Open a chat about order 48215560? [y/N] y\n",
			"> client.OpenChat(ctx, chats.AboutOrder(48215560))",
			"It is chat [5]: the customer, order 48215560, chat ",
			"Send this text to the customer? [y/N] y\n",

			"Check for new messages? [y/N] y\n",
			"[1] Анна",
			"  Shop: Анна, посылка уже в вашем городе.",
			"  Анна: Завтра до 18 часов я дома.",
			"  Анна: (sticker)\n",
			"[2] Дмитрий",
			"  Shop\n", "+ ярлык-возврата.png, ",
			"  Дмитрий: Ярлык получил",
			"[4] Ольга",
			"  Ольга: И ещё: чёрный цвет",
			"[5] the customer",
			"  Shop: Здравствуйте! Синий плед",
			"  the customer: Здравствуйте! Да, серый тоже подойдёт.",
			"Check again? [y/N] n\n",
		)
		assert.Equal(t, 1, strings.Count(printed, "Оформил возврат"), "nothing is shown twice")
		assert.NotContains(t, printed, "Марина", "her chat waits for her, not for the shop")
	})
}

// messageTime matches the time at the beginning of a message.
var messageTime = regexp.MustCompile(`(?m)^  (\d\d)\.(\d\d) (\d\d:\d\d)  \S`)

// Messages are dated as in the script, not with the two seconds of the demo.
func TestDemo_MessagesHaveDifferentAscendingTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, printed := run(t, program{demo: true, getenv: noEnv})
		_, conversations, _ := strings.Cut(printed, "\n\n[1]")
		var shown int
		for chat := range strings.SplitSeq(conversations, "\n\n") {
			var last string
			for _, m := range messageTime.FindAllStringSubmatch(chat, -1) {
				at := m[2] + m[1] + m[3] // sorts by month, day and time within a year
				if m[2] == "12" {
					at = "00" + at // the year before the bubble's
				}
				assert.Greater(t, at, last, chat)
				last = at
				shown++
			}
		}
		assert.Equal(t, 19, shown)
		assertLines(t, printed,
			"  1  01.01 08:32  Анна", "  2  01.01 09:56  Дмитрий", "  3  01.01 10:48  Сергей", "  4  01.01 11:26  Ольга")
	})
}

// A shop that works for real gets no comments.
func TestDesk_CommentsOnTheMarketInMemoryOnly(t *testing.T) {
	t.Parallel()
	s := newFixture()
	s.market.CustomerSays(s.chat, replyToAnna.text)
	_, printed := s.operate(t, "1", "Завтра.", "y", "", "", "y", "n")
	assertLines(t, printed, "Анна: "+replyToAnna.text, "Posted at ")
	assert.NotContains(t, printed, "client.")
	assert.NotContains(t, printed, replyToAnna.english)
}

func TestCommentary_DimsOneWholeLine(t *testing.T) {
	t.Parallel()
	for dim, want := range map[bool]string{true: "\x1b[2m> client.Chat(ctx, 7)\x1b[0m\n", false: "> client.Chat(ctx, 7)\n"} {
		var out bytes.Buffer
		commentary{on: true, dim: dim}.call(&out, "client.Chat(ctx, %d)", 7)
		assert.Equal(t, want, out.String())
	}
}

func TestScript_EveryTextHasATranslation(t *testing.T) {
	t.Parallel()
	translations := english()
	delete(translations, "") // a sticker or pictures alone
	for text, translation := range translations {
		assert.Regexp(t, `\p{Cyrillic}`, text)
		assert.Regexp(t, `^[ -~]+$`, translation, text)
	}
}

// fixture is an in-memory Market that the program takes for the real one.
type fixture struct {
	market *chatstest.Market
	chat   chats.ChatID
}

func newFixture(options ...chatstest.Option) *fixture {
	market := chatstest.NewMarket(options...)
	chat := market.AddChat(chats.Chat{Customer: chats.Customer{Name: "Анна"}})
	market.CustomerSays(chat, "Когда приедет заказ?")
	return &fixture{market, chat}
}

// operate runs the program with the operator's lines.
func (s *fixture) operate(t *testing.T, lines ...string) (code int, printed string) {
	t.Helper()
	return run(t, program{
		getenv: s.getenv(s.market.Key()),
		in:     strings.NewReader(strings.Join(lines, "\n") + "\n"),
		wrap:   func(http.RoundTripper) http.RoundTripper { return contract.Transport(t, s.market.Transport()) },
	})
}

func (s *fixture) getenv(key string) func(string) string {
	variables := map[string]string{envKey: key, envBusiness: strconv.FormatInt(int64(s.market.Business()), 10)}
	return func(name string) string { return variables[name] }
}

func (s *fixture) sent() int {
	return s.market.Calls(chats.OpSendMessageToChat) + s.market.Calls(chats.OpSendFileToChat) + s.market.Calls(chats.OpCreateChat)
}

func photo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "фото.jpg")
	require.NoError(t, os.WriteFile(path, []byte("a photo"), 0o600))
	return path
}

func TestDesk_TakesABaseURL(t *testing.T) {
	t.Parallel()
	server := chatstest.NewServer(t)
	id := server.AddChat(chats.Chat{Customer: chats.Customer{Name: "Анна"}})
	server.CustomerSays(id, "Где мой заказ?")
	variables := map[string]string{
		envKey: server.Key(), envBusiness: strconv.FormatInt(int64(server.Business()), 10), envBaseURL: server.URL,
	}
	code, printed := run(t, program{
		getenv: func(name string) string { return variables[name] },
		in:     strings.NewReader("1\nЗавтра.\ny\n"),
		wrap:   func(http.RoundTripper) http.RoundTripper { return contract.Transport(t, server.Transport()) },
	})
	assert.Zero(t, code, printed)
	assert.Contains(t, printed, "The Market at "+server.URL)
	assert.Equal(t, "Завтра.", server.Messages(id)[1].Text)
}

func TestDesk_SendsNothingWithoutConfirmation(t *testing.T) {
	t.Parallel()
	for _, no := range []string{"n", "", "no", "yy", "1"} {
		s := newFixture()
		code, printed := s.operate(t, "1", "Завтра.", no, "1", photo(t), no, "77", no, no)
		assert.Zero(t, code, printed)
		assertLines(t, printed,
			"The real Market, business 1234567.\n",
			"  Анна: Когда приедет заказ?",
			"Send this text to Анна? [y/N] Not sent.\n",
			"Send фото.jpg (0.0 KB) to Анна? [y/N] Not sent.\n",
			"Open a chat about order 77? [y/N] Not sent.\n",
			"Check for new messages? [y/N]",
		)
		assert.Zero(t, s.sent(), no)
	}
}

func TestDesk_EndOfInputConfirmsNothing(t *testing.T) {
	t.Parallel()
	lines := []string{"1", "Завтра.", "y", "1", photo(t), "y", "77", "y", "Здравствуйте!", "y"}
	for left, sent := range []int{0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4} {
		s := newFixture()
		code, printed := s.operate(t, lines[:left]...)
		assert.Zero(t, code, printed)
		assert.Equal(t, sent, s.sent(), "after %q", lines[:left])
	}
}

func TestDesk_SendsWhatIsConfirmed(t *testing.T) {
	t.Parallel()
	s := newFixture(chatstest.WithOrder(chatstest.NewestFirst))
	code, printed := s.operate(t, "2", "1", "Завтра.", "y", "1", photo(t), "yes", "77", "да", "Здравствуйте!", "Y", "y", "n")
	assert.Zero(t, code, printed)
	assertLines(t, printed, "Enter a number from 1 to 1", "It is chat [2]: the customer, order 77", "Shop: Завтра.")

	messages := s.market.Messages(s.chat)
	require.Len(t, messages, 3)
	assert.Equal(t, "Завтра.", messages[1].Text)
	assert.Equal(t, "фото.jpg", messages[2].Files[0].Name)
	opened := s.market.Chats()[0]
	assert.Equal(t, chats.AboutOrder(77), opened.Subject)
	assert.Equal(t, "Здравствуйте!", s.market.Messages(opened.ID)[0].Text)
}

func TestDesk_ShowsMessageThatCrossesTheReply(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newFixture()
		in, keyboard := io.Pipe()
		go func() {
			_, _ = io.WriteString(keyboard, "1\nЗавтра.\n")
			synctest.Wait() // until the desk has asked
			s.market.CustomerSays(s.chat, "Уже не нужно.")
			_, _ = io.WriteString(keyboard, "y\n\n\ny\n")
			_ = keyboard.Close()
		}()
		code, printed := run(t, program{
			getenv: s.getenv(s.market.Key()), in: in,
			wrap: func(http.RoundTripper) http.RoundTripper { return contract.Transport(t, s.market.Transport()) },
		})
		assert.Zero(t, code, printed)
		assertLines(t, printed, "Posted at ", "Check for new messages?", "Анна: Уже не нужно.", "Shop: Завтра.")
	})
}

func TestDesk_KeepsOneConversationPerChat(t *testing.T) {
	t.Parallel()
	s := newFixture()
	order := strconv.FormatInt(int64(s.market.Chat(s.chat).Subject.Order), 10)
	_, printed := s.operate(t, "", "", order, "y", "Завтра.", "y", "y", "y", "n")
	assertLines(t, printed, "Send this text to Анна?", "[1] Анна", "Shop: Завтра.", "Check again? [y/N] No new messages.")
	assert.NotContains(t, printed, "It is chat [2]")
	assert.Len(t, s.market.Messages(s.chat), 2)
}

func TestProgram_RunsInMemoryWithoutEnvironment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		code, printed := run(t, program{getenv: noEnv, in: strings.NewReader("")})
		assert.Zero(t, code)
		assertLines(t, printed, "An in-memory Market with scripted customers. Nothing is sent to Yandex Market.\n", "set YANDEX_MARKET_API_KEY", "Chats waiting for the shop: 4", "Reply to which chat?")
	})
}

func TestProgram_CtrlCEndsTheQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		in, keyboard := io.Pipe()
		time.AfterFunc(time.Hour, cancel)
		code, printed := start(t, program{getenv: noEnv, in: in})(ctx)
		assert.Zero(t, code)
		assert.True(t, strings.HasSuffix(printed, "Enter for none] \nStopped.\n"), printed)
		require.NoError(t, keyboard.Close())
	})
}

func TestDesk_NoChatsWaiting(t *testing.T) {
	t.Parallel()
	s := newFixture()
	s.market.FinishChat(s.chat)
	code, printed := s.operate(t, "", "y", "n")
	assert.Zero(t, code)
	assertLines(t, printed, "Chats waiting for the shop: 0", "Open a chat about which order?", "No new messages.")
}

func TestDesk_LimitsItsConversations(t *testing.T) {
	t.Parallel()
	s := newFixture()
	for range maxChats {
		s.market.CustomerSays(s.market.AddChat(chats.Chat{}), "Здравствуйте!")
	}
	_, printed := s.operate(t, "")
	assertLines(t, printed, "More than 20 chats are waiting.", "Chats waiting for the shop: 20", "[20] ", "Reply to which chat? [1-20,")
}

func TestProgram_ExplainsFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		getenv func(*fixture) func(string) string
		want   string
	}{
		"one variable only": {
			func(*fixture) func(string) string {
				return func(name string) string { return map[string]string{envKey: "x"}[name] }
			},
			"desk: set both YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID, or neither for an in-memory Market",
		},
		"no number": {
			func(*fixture) func(string) string { return func(string) string { return "x" } },
			`desk: YANDEX_MARKET_BUSINESS_ID is "x", want a number`,
		},
		"a wrong key": {
			func(s *fixture) func(string) string { return s.getenv("ACMA:x:y") },
			"\n  YANDEX_MARKET_API_KEY is not a valid key.",
		},
		"another business": {
			func(s *fixture) func(string) string {
				return func(name string) string { return map[string]string{envKey: s.market.Key(), envBusiness: "5"}[name] }
			},
			"YANDEX_MARKET_BUSINESS_ID must be the cabinet of the key",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFixture()
			code, printed := run(t, program{
				getenv: c.getenv(s), in: strings.NewReader(""),
				wrap: func(http.RoundTripper) http.RoundTripper { return contract.Transport(t, s.market.Transport()) },
			})
			assert.Equal(t, 1, code)
			assert.Contains(t, printed, c.want)
		})
	}
}

func TestExplain_NamesTheTraceParent(t *testing.T) {
	t.Parallel()
	s := newFixture()
	s.market.Fail(chats.OpGetChats, chatstest.RateLimitedHourly(time.Now().Add(time.Hour)))
	code, printed := s.operate(t)
	assert.Equal(t, 1, code)
	assertLines(t, printed, "hourly limit", "share the quota", "For Market's support: traceparent 00-")
}

func TestDesk_GoesOnAfterAFailedStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(chatstest.WithSubjects())
		s.market.Fail(chats.OpSendMessageToChat, chatstest.Status(http.StatusBadRequest,
			`{"status":"ERROR","errors":[{"code":"BAD_REQUEST","message":"Chat is closed"}]}`))
		code, printed := s.operate(t, "1", "Завтра.", "y", "1", "no such file", "77", "y", "n")
		assert.Zero(t, code)
		assertLines(t, printed,
			"sendMessageToChat: 400", "Chat is closed",
			"open no such file: ",
			"createChat: 404", "Order not found: '77'", "Check the number",
			"Check for new messages?",
		)

		s.market.Fail(chats.OpSendFileToChat, chatstest.DropAfter())
		_, printed = s.operate(t, "", "1", photo(t), "y", "", "y", "n")
		assertLines(t, printed, "sendFileToChat", "Check the chat before sending it again.", "Check for new messages?", "+ фото.jpg")
	})
}

func TestDesk_PrintsNoControlSequences(t *testing.T) {
	t.Parallel()
	s := newFixture()
	s.market.CustomerSays(s.chat, "раз\x1b[2J\nдва\u202e", s.market.AddFile("a\x07.png", []byte("x")))
	_, printed := s.operate(t, "")
	assertLines(t, printed, "Анна: раз[2J два\n", "+ a.png, 0.0 KB\n")
}

func TestShow_PassesUnknownValuesThrough(t *testing.T) {
	t.Parallel()
	chat := chats.Chat{Subject: chats.Subject{Kind: "GIFT"}}
	assert.Equal(t, "GIFT", subject(chat))
	assert.Equal(t, "ROBOT", author(chat, "ROBOT"))
	assert.Equal(t, "5.0 MB", formatSize(chats.MaxFileSize))
}

func TestDesk_GoesOnAfterAnAlteredText(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(chatstest.WithStoredText(strings.ToUpper))
		code, printed := s.operate(t, "1", "Завтра.", "y", "", "", "y", "n")
		assert.Zero(t, code)
		assertLines(t, printed, "the server accepted it: do not send it again", "Check for new messages?", "Shop: ЗАВТРА.")
	})
}

func TestProgram_CtrlCAfterASendSaysThatItWasAccepted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newFixture(chatstest.WithHistoryLag(time.Hour))
		time.Sleep(time.Hour) // until the history shows the customer's message
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		code, printed := start(t, program{
			getenv: s.getenv(s.market.Key()), in: strings.NewReader("1\nЗавтра.\ny\n"),
			wrap: func(http.RoundTripper) http.RoundTripper { return contract.Transport(t, s.market.Transport()) },
		})(ctx)
		assert.Equal(t, 1, code)
		assertLines(t, printed, "Send this text to Анна?", "the server accepted it: do not send it again")
	})
}
