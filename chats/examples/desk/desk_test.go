package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
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

// nothing is an environment without variables.
func nothing(string) string { return "" }

// run runs the program and gives its exit code and what it has printed.
func run(t *testing.T, w world) (code int, printed string) {
	t.Helper()
	return start(t, w)(t.Context())
}

func start(t *testing.T, w world) func(context.Context) (code int, printed string) {
	t.Helper()
	var out bytes.Buffer
	w.out, w.err = &out, &out
	if w.wrap == nil {
		w.wrap = func(next http.RoundTripper) http.RoundTripper { return contract.Transport(t, next) }
	}
	work, err := w.prepare()
	return func(ctx context.Context) (int, string) {
		if err == nil {
			err = work(ctx)
		}
		return w.close(err), out.String()
	}
}

// assertLines looks for texts in this order.
func assertLines(t *testing.T, printed string, texts ...string) {
	t.Helper()
	rest := printed
	for _, text := range texts {
		_, after, found := strings.Cut(rest, text)
		if !assert.True(t, found, "%q is not where it should be in:\n%s", text, printed) {
			return
		}
		rest = after
	}
}

func TestTheDemoIsAWholeConversation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		elsewhere := func(string) string { return "of no interest to the demo" }
		code, printed := run(t, world{demo: true, getenv: elsewhere})

		assert.Zero(t, code, printed)
		assert.Less(t, time.Since(began), 2*time.Second)
		assertLines(t, printed,
			"Chats that wait for the shop: 4\n",
			"  1  ", "Анна", "order 48211093\n",
			"  2  ", "Дмитрий", "return 7301288 of order 48190417\n",
			"  3  ", "Сергей", "order 48173302, a dispute\n",
			"  4  ", "Ольга", "a question without an order\n",

			"[1] Анна, order 48211093, chat ",
			"  Анна: Здравствуйте! Заказ обещали вчера",
			"  Shop: Здравствуйте, Анна!",
			"  Анна: (sticker)\n",
			"[2] Дмитрий",
			"  Дмитрий: Оформил возврат",
			"+ крышка-1.png, ",
			"+ крышка-2.png, ",
			"  Market: Возврат № 7301288 принят.",
			"[3] Сергей",
			"  Market's support: Здравствуйте! Подключаемся к разбору.",
			"  Сергей\n", "+ коробка.png, ",
			"[4] Ольга",
			"  Ольга: Добрый день!",

			"Answer which chat? [1-4, Enter for none] 1\n",
			"Text: Анна, посылка уже в вашем городе.",
			"Send this text to Анна? [y/N] y\n",
			"Posted at ",
			"Send a file to which chat? [1-4, Enter for none] 2\n",
			"File: ярлык-возврата.png\n",
			" to Дмитрий? [y/N] y\nPosted.\n",
			"Open a chat about which order? [number, Enter for none] 48215560\n",
			"Open a chat about order 48215560? [y/N] y\n",
			"It is chat [5]: the buyer, order 48215560, chat ",
			"Send this text to the buyer? [y/N] y\n",

			"Look what has arrived since? [y/N] y\n",
			"[1] Анна",
			"  Shop: Анна, посылка уже в вашем городе.",
			"  Анна: Завтра до 18 часов я дома.",
			"  Анна: (sticker)\n",
			"[2] Дмитрий",
			"  Shop\n", "+ ярлык-возврата.png, ",
			"  Дмитрий: Ярлык получил",
			"[4] Ольга",
			"  Ольга: И ещё: чёрный цвет",
			"[5] the buyer",
			"  Shop: Здравствуйте! Синий плед",
			"  the buyer: Здравствуйте! Да, серый тоже подойдёт.",
			"Look again? [y/N] n\n",
		)
		assert.Equal(t, 1, strings.Count(printed, "Оформил возврат"), "nothing is shown twice")
		assert.NotContains(t, printed, "Марина", "her chat waits for her, not for the shop")
	})
}

// shop is a small Market, posing as the real one.
type shop struct {
	market *chatstest.Market
	chat   chats.ChatID
}

func newShop(options ...chatstest.Option) *shop {
	market := chatstest.NewMarket(options...)
	chat := market.AddChat(chats.Chat{Customer: chats.Customer{Name: "Анна"}})
	market.CustomerSays(chat, "Когда приедет заказ?")
	return &shop{market, chat}
}

// attend works through the operator's lines and gives what was printed.
func (s *shop) attend(t *testing.T, lines ...string) (code int, printed string) {
	t.Helper()
	return run(t, world{
		getenv: s.getenv(s.market.Key()),
		in:     strings.NewReader(strings.Join(lines, "\n") + "\n"),
		wrap:   func(http.RoundTripper) http.RoundTripper { return contract.Transport(t, s.market.Transport()) },
	})
}

func (s *shop) getenv(key string) func(string) string {
	variables := map[string]string{envKey: key, envBusiness: strconv.FormatInt(int64(s.market.Business()), 10)}
	return func(name string) string { return variables[name] }
}

func (s *shop) sent() int {
	return s.market.Calls(chats.OpSendMessageToChat) + s.market.Calls(chats.OpSendFileToChat) + s.market.Calls(chats.OpCreateChat)
}

func photo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "фото.jpg")
	require.NoError(t, os.WriteFile(path, []byte("a photo"), 0o600))
	return path
}

func TestNothingIsSentWithoutAYes(t *testing.T) {
	t.Parallel()
	for _, no := range []string{"n", "", "no", "yy", "1"} {
		s := newShop()
		code, printed := s.attend(t, "1", "Завтра.", no, "1", photo(t), no, "77", no, no)
		assert.Zero(t, code, printed)
		assertLines(t, printed,
			"The real Market, business 1234567.\n",
			"  Анна: Когда приедет заказ?",
			"Send this text to Анна? [y/N] Not sent.\n",
			"Send фото.jpg (0.0 KB) to Анна? [y/N] Not sent.\n",
			"Open a chat about order 77? [y/N] Not sent.\n",
			"Look what has arrived since? [y/N]",
		)
		assert.Zero(t, s.sent(), no)
	}
}

func TestAnOperatorWhoLeavesAgreesToNothing(t *testing.T) {
	t.Parallel()
	answers := []string{"1", "Завтра.", "y", "1", photo(t), "y", "77", "y", "Здравствуйте!", "y"}
	for left, sent := range []int{0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 4} {
		s := newShop()
		code, printed := s.attend(t, answers[:left]...)
		assert.Zero(t, code, printed)
		assert.Equal(t, sent, s.sent(), "after %q", answers[:left])
	}
}

func TestWhatIsAgreedToIsSent(t *testing.T) {
	t.Parallel()
	s := newShop(chatstest.WithOrder(chatstest.NewestFirst))
	code, printed := s.attend(t, "2", "1", "Завтра.", "y", "1", photo(t), "yes", "77", "да", "Здравствуйте!", "Y", "y", "n")
	assert.Zero(t, code, printed)
	assertLines(t, printed, "A number from 1 to 1, or Enter for none.", "It is chat [2]: the buyer, order 77", "Shop: Завтра.")

	messages := s.market.Messages(s.chat)
	require.Len(t, messages, 3)
	assert.Equal(t, "Завтра.", messages[1].Text)
	assert.Equal(t, "фото.jpg", messages[2].Files[0].Name)
	opened := s.market.Chats()[0]
	assert.Equal(t, chats.AboutOrder(77), opened.Subject)
	assert.Equal(t, "Здравствуйте!", s.market.Messages(opened.ID)[0].Text)
}

// What the buyer writes while the operator does is not lost.
func TestAMessageThatCrossesTheAnswerIsShown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		in, keyboard := io.Pipe()
		go func() {
			_, _ = io.WriteString(keyboard, "1\nЗавтра.\n")
			synctest.Wait() // until the desk has asked
			s.market.CustomerSays(s.chat, "Уже не нужно.")
			_, _ = io.WriteString(keyboard, "y\n\n\ny\n")
			_ = keyboard.Close()
		}()
		code, printed := run(t, world{
			getenv: s.getenv(s.market.Key()), in: in,
			wrap: func(http.RoundTripper) http.RoundTripper { return contract.Transport(t, s.market.Transport()) },
		})
		assert.Zero(t, code, printed)
		assertLines(t, printed, "Posted at ", "Look what has arrived", "Анна: Уже не нужно.", "Shop: Завтра.")
	})
}

func TestAChatThatIsOnTheDeskIsNotOpenedTwice(t *testing.T) {
	t.Parallel()
	s := newShop()
	order := strconv.FormatInt(int64(s.market.Chat(s.chat).Subject.Order), 10)
	_, printed := s.attend(t, "", "", order, "y", "Завтра.", "y", "y", "y", "n")
	assertLines(t, printed, "Send this text to Анна?", "[1] Анна", "Shop: Завтра.", "Look again? [y/N] Nothing new.")
	assert.NotContains(t, printed, "It is chat [2]")
	assert.Len(t, s.market.Messages(s.chat), 2)
}

func TestInMemoryWithoutAnEnvironment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		code, printed := run(t, world{getenv: nothing, in: strings.NewReader("")})
		assert.Zero(t, code)
		assertLines(t, printed, "A Market in memory: set YANDEX_MARKET_API_KEY", "Chats that wait for the shop: 4", "Answer which chat?")
	})
}

func TestCtrlCEndsTheQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		in, keyboard := io.Pipe()
		time.AfterFunc(time.Hour, cancel)
		code, printed := start(t, world{getenv: nothing, in: in})(ctx)
		assert.Zero(t, code)
		assert.True(t, strings.HasSuffix(printed, "Enter for none] \nStopped.\n"), printed)
		require.NoError(t, keyboard.Close())
	})
}

func TestAQuietShop(t *testing.T) {
	t.Parallel()
	s := newShop()
	s.market.FinishChat(s.chat)
	code, printed := s.attend(t, "", "y", "n")
	assert.Zero(t, code)
	assertLines(t, printed, "Chats that wait for the shop: 0", "Open a chat about which order?", "Nothing new.")
}

func TestABusyShop(t *testing.T) {
	t.Parallel()
	s := newShop()
	for range mostChats {
		s.market.CustomerSays(s.market.AddChat(chats.Chat{}), "Здравствуйте!")
	}
	_, printed := s.attend(t, "")
	assertLines(t, printed, "There are more: here are 20", "Chats that wait for the shop: 20", "[20] ", "Answer which chat? [1-20,")
}

func TestWhatFailsIsTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		getenv func(*shop) func(string) string
		want   string
	}{
		"half an environment": {
			func(*shop) func(string) string {
				return func(name string) string { return map[string]string{envKey: "x"}[name] }
			},
			"desk: YANDEX_MARKET_API_KEY and YANDEX_MARKET_BUSINESS_ID belong together",
		},
		"no number": {
			func(*shop) func(string) string { return func(string) string { return "x" } },
			`desk: YANDEX_MARKET_BUSINESS_ID must be a number, and is "x"`,
		},
		"a wrong key": {
			func(s *shop) func(string) string { return s.getenv("ACMA:x:y") },
			"\n  YANDEX_MARKET_API_KEY is not a key that Market knows.",
		},
		"another business": {
			func(s *shop) func(string) string {
				return func(name string) string { return map[string]string{envKey: s.market.Key(), envBusiness: "5"}[name] }
			},
			"YANDEX_MARKET_BUSINESS_ID must be its own cabinet",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop()
			code, printed := run(t, world{
				getenv: c.getenv(s), in: strings.NewReader(""),
				wrap: func(http.RoundTripper) http.RoundTripper { return contract.Transport(t, s.market.Transport()) },
			})
			assert.Equal(t, 1, code)
			assert.Contains(t, printed, c.want)
		})
	}
}

func TestTheSupportGetsItsTrace(t *testing.T) {
	t.Parallel()
	s := newShop()
	s.market.Fail(chats.OpGetChats, chatstest.RateLimitedHourly(time.Now().Add(time.Hour)))
	code, printed := s.attend(t)
	assert.Equal(t, 1, code)
	assertLines(t, printed, "hourly limit", "shares the allowance", "support will ask for this: traceparent 00-")
}

// One answer, file or order that fails leaves the rest of the work to be done.
func TestWhatFailsForOneChatDoesNotEndTheWork(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShop(chatstest.WithSubjects())
		s.market.Fail(chats.OpSendMessageToChat, chatstest.Status(http.StatusBadRequest,
			`{"status":"ERROR","errors":[{"code":"BAD_REQUEST","message":"Chat is closed"}]}`))
		code, printed := s.attend(t, "1", "Завтра.", "y", "1", "no such file", "77", "y", "n")
		assert.Zero(t, code)
		assertLines(t, printed,
			"sendMessageToChat: 400", "Chat is closed",
			"no such file or directory",
			"createChat: 404", "Order not found: '77'", "Is the number right",
			"Look what has arrived since?",
		)

		s.market.Fail(chats.OpSendFileToChat, chatstest.DropAfter())
		_, printed = s.attend(t, "", "1", photo(t), "y", "", "y", "n")
		assertLines(t, printed, "sendFileToChat", "Look into the chat before you send it again.", "Look what has", "+ фото.jpg")
	})
}

func TestTheTerminalGetsNothingButText(t *testing.T) {
	t.Parallel()
	s := newShop()
	s.market.CustomerSays(s.chat, "раз\x1b[2J\nдва\u202e", s.market.AddFile("a\x07.png", []byte("x")))
	_, printed := s.attend(t, "")
	assertLines(t, printed, "Анна: раз[2J два\n", "+ a.png, 0.0 KB\n")
}

func TestWordsThatAreNewerThanTheDesk(t *testing.T) {
	t.Parallel()
	chat := chats.Chat{Subject: chats.Subject{Kind: "GIFT"}}
	assert.Equal(t, "GIFT", about(chat))
	assert.Equal(t, "ROBOT", author(chat, "ROBOT"))
	assert.Equal(t, "5.0 MB", size(chats.MaxFileSize))
}
