package chats_test

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/internal/contract"
)

// The functions that the pages show are here as they are there, and run.

func answerAll(ctx context.Context, client *chats.Client) error {
	waiting := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
	var list []chats.Chat
	for chat, err := range client.Chats(ctx, waiting) {
		if err != nil {
			return err
		}
		list = append(list, chat)
	}
	for _, chat := range list {
		text := "Здравствуйте! Разбираемся, скоро ответим." // "Hello! We are looking into it and will reply soon."
		if _, err := client.SendTextConfirmed(ctx, chat.ID, text); err != nil {
			return err
		}
	}
	return nil
}

func TestAnswerAll_LostResponsePostsOnce(t *testing.T) {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{Customer: chats.Customer{Name: "Анна"}})
	market.CustomerSays(chat, "Здравствуйте! Где мой заказ?")     // "Hello! Where is my order?"
	market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter()) // posted, but the response is lost

	if err := answerAll(t.Context(), market.Client()); err != nil {
		t.Fatal(err)
	}

	messages := market.Messages(chat)
	if len(messages) != 2 || messages[1].Sender != chats.SenderPartner {
		t.Errorf("want one reply, got %+v", messages)
	}
}

func TestAnswerAll_ServerErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket()
		chat := market.AddChat(chats.Chat{})
		market.CustomerSays(chat, "Здравствуйте!") // "Hello!"
		market.Fail(chats.OpGetChats, chatstest.HTML(502), chatstest.DropBefore())
		market.Fail(chats.OpSendMessageToChat, chatstest.Status(503, "")) // not posted

		if err := answerAll(t.Context(), market.Client()); err != nil {
			t.Fatal(err)
		}
		if got := len(market.Messages(chat)); got != 2 {
			t.Errorf("got %d messages, want the customer's and one reply", got)
		}
	})
}

func TestAnswerAll_UndocumentedBehaviour(t *testing.T) {
	for name, option := range map[string]chatstest.Option{
		"newest first":      chatstest.WithOrder(chatstest.NewestFirst),
		"newest page first": chatstest.WithOrder(chatstest.NewestPageFirst),
		"exclusive since":   chatstest.WithExclusiveSince(),
		"empty pages":       chatstest.WithEmptyPages(),
		"duplicates":        chatstest.WithDuplicates(),
		"history lags":      chatstest.WithHistoryLag(5 * time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket(option)
				chat := market.AddChat(chats.Chat{})
				market.CustomerSays(chat, "Здравствуйте!")                    // "Hello!"
				market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter()) // posted, but the response is lost

				if err := answerAll(t.Context(), market.Client()); err != nil {
					t.Fatal(err)
				}
				if got := len(market.Messages(chat)); got != 2 {
					t.Errorf("got %d messages, want the customer's and one reply", got)
				}
			})
		})
	}
}

// retryAfter reports whether another attempt may help, and how long to wait before it.
func retryAfter(err error) (time.Duration, bool) {
	var failed *chats.Error
	switch {
	case !errors.As(err, &failed), errors.Is(err, chats.ErrOutcomeUnknown), errors.Is(err, chats.ErrUnconfirmed):
		return 0, false // in doubt: see the table
	case failed.Limit != nil:
		return max(time.Until(failed.Limit.Until), time.Minute), true // Until is zero for the parallel limit
	case errors.Is(err, chats.ErrServer), errors.Is(err, chats.ErrProtocol), failed.StatusCode == 0:
		return time.Minute, true
	}
	return 0, false // log it: failed.Details and failed.TraceParent say more
}

func TestRetryAfter_NeitherHotLoopNorSecondPost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault chatstest.Fault
		read  time.Duration // 0 if it must not be tried again
		send  time.Duration
	}{
		"parallel":      {chatstest.RateLimitedParallel(), time.Minute, time.Minute},
		"quota":         {chatstest.RateLimitedHourly(synctestStart.Add(20 * time.Minute)), 20 * time.Minute, 20 * time.Minute},
		"no connection": {chatstest.Refused(), time.Minute, time.Minute},
		"dropped":       {chatstest.DropAfter(), time.Minute, 0},
		"server":        {chatstest.Status(500, ""), time.Minute, 0},
		"gateway":       {chatstest.HTML(404), time.Minute, 0},
		"not found":     {chatstest.Status(404, envelope), 0, 0},
		"rate limit":    {retryLater(429, "600"), 10 * time.Minute, 10 * time.Minute},
		"bad request":   {chatstest.Status(400, ""), 0, 0},
		"success":       {chatstest.OK(), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				market := chatstest.NewMarket()
				transport := &http.Client{Transport: contract.Transport(t, market.Transport())}
				client := market.Client(chats.WithHTTPClient(transport), chats.WithRetry(chats.RetryPolicy{MaxAttempts: 1}))
				chat := market.AddChat(chats.Chat{})
				market.Fail(chats.OpGetChat, c.fault)
				market.Fail(chats.OpSendMessageToChat, c.fault)

				_, err := client.Chat(t.Context(), chat)
				wait, again := retryAfter(err)
				assert.Equal(t, c.read, wait)
				assert.Equal(t, c.read > 0, again)
				wait, again = retryAfter(client.SendText(t.Context(), chat, "Завтра"))
				assert.Equal(t, c.send, wait)
				assert.Equal(t, c.send > 0, again)
			})
		})
	}
}

// synctestStart is the time at which every bubble begins.
var synctestStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestDocs_ShownFunctionsRun(t *testing.T) {
	t.Parallel()
	source, shown := readRepo(t, "chats/readme_test.go"), 0
	for _, page := range goPages(t) {
		for _, block := range goBlocks(t, page) {
			if regexp.MustCompile(`(?m)^func `).MatchString(block) && !strings.HasPrefix(block, "package ") {
				assert.Contains(t, source, "\n"+block, page)
				shown++
			}
		}
	}
	assert.Equal(t, 5, shown)
}

func TestDocs_BlocksSendAtMostOnce(t *testing.T) {
	t.Parallel()
	send := regexp.MustCompile(`\.Send[A-Z]\w*\(`)
	for _, page := range goPages(t) {
		for _, block := range goBlocks(t, page) {
			assert.LessOrEqual(t, len(send.FindAllString(block, -1)), 1, "%s: pasted whole, this sends twice: %s", page, block)
		}
	}
	first := goBlocks(t, "README.md")[0]
	assert.Contains(t, first, "package main")
	assert.NotRegexp(t, `\.(Send|Open)[A-Z]`, first, "the first program only reads")
}

func TestReadme_IsAnEntryPage(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"README.md", "README.ru.md"} {
		assert.LessOrEqual(t, strings.Count(readRepo(t, page), "\n"), 250, "%s: move details to chats/docs", page)
	}
}

// section is what two languages of one section have in common, each sorted.
type section struct{ code, links, numbers []string }

func TestReadme_LanguagesAgree(t *testing.T) {
	t.Parallel()
	english, russian := sections(readRepo(t, "README.md")), sections(readRepo(t, "README.ru.md"))
	require.Len(t, russian, len(english))
	for i, want := range english {
		assert.Equal(t, want, russian[i], "section %d", i)
	}
	comments := regexp.MustCompile(` *// .*`)
	code := func(name string) []string {
		blocks := goBlocks(t, name)
		for i, block := range blocks {
			blocks[i] = comments.ReplaceAllString(block, "")
		}
		return blocks
	}
	assert.Equal(t, code("README.md"), code("README.ru.md"))
}

func sections(page string) (all []section) {
	prose := fence.ReplaceAllString(page, "")
	separator := strings.NewReplacer("\u00a0", "", ",", "", ".", "")
	for _, text := range regexp.MustCompile(`(?m)^##+ .*$`).Split(prose, -1) {
		var s section
		s.code = append(s.code, regexp.MustCompile("`[^`]+`").FindAllString(text, -1)...)
		for _, match := range markdownLink.FindAllStringSubmatch(text, -1) {
			s.links = append(s.links, strings.ReplaceAll(match[1], ".ru.", "."))
		}
		text = markdownLink.ReplaceAllString(text, "")
		for _, match := range regexp.MustCompile(`\d[\d.,\x{a0}]*\d|\d`).FindAllString(text, -1) {
			s.numbers = append(s.numbers, separator.Replace(match))
		}
		slices.Sort(s.code)
		slices.Sort(s.links)
		slices.Sort(s.numbers)
		all = append(all, s)
	}
	return all
}
