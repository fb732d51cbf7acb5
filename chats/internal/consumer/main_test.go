package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

const greeting = "Здравствуйте! Скоро ответим."

// texts returns what the shop wrote to a chat.
func texts(market *chatstest.Market, id chats.ChatID) []string {
	var all []string
	for _, message := range market.Messages(id) {
		if message.Sender == chats.SenderPartner {
			all = append(all, message.Text)
		}
	}
	return all
}

func TestAnswerWaiting_AnswersEachChatOnce(t *testing.T) {
	t.Parallel()
	market := chatstest.NewMarket()
	asked := market.AddChat(chats.Chat{Customer: chats.Customer{Name: "Анна"}})
	market.CustomerSays(asked, "Где мой заказ?")
	silent := market.AddChat(chats.Chat{})

	var out strings.Builder
	for range 2 {
		if err := answerWaiting(t.Context(), market.Client(), greeting, &out); err != nil {
			t.Fatal(err)
		}
	}

	if got := texts(market, asked); !slices.Equal(got, []string{greeting}) {
		t.Errorf("the customer reads %q", got)
	}
	if got := texts(market, silent); len(got) > 0 {
		t.Errorf("a chat without a question got %q", got)
	}
	if !strings.HasPrefix(out.String(), `Анна wrote "Где мой заказ?"`) {
		t.Error(out.String())
	}
}

// The response to a send is lost, and later the hourly quota is exhausted. In a
// testing/synctest bubble neither takes real time.
func TestAnswerWaiting_Failures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		market := chatstest.NewMarket(chatstest.WithOrder(chatstest.NewestFirst))
		id := market.AddChat(chats.Chat{})
		market.CustomerSays(id, "Где мой заказ?")
		market.Fail(chats.OpSendMessageToChat, chatstest.DropAfter())
		client := market.Client()

		if err := answerWaiting(t.Context(), client, greeting, io.Discard); err != nil {
			t.Fatal(err)
		}
		if got := texts(market, id); !slices.Equal(got, []string{greeting}) {
			t.Errorf("the customer reads %q", got)
		}

		market.CustomerSays(id, "Когда?")
		market.Fail(chats.OpSendMessageToChat, chatstest.RateLimitedHourly(time.Now().Add(time.Hour)))
		if err := answerWaiting(t.Context(), client, greeting, io.Discard); !errors.Is(err, chats.ErrRateLimited) {
			t.Errorf("want ErrRateLimited, got: %v", err)
		}
		time.Sleep(time.Hour)
		if err := answerWaiting(t.Context(), client, greeting, io.Discard); err != nil {
			t.Error(err)
		}
	})
}

func TestRun_NeedsACredential(t *testing.T) {
	t.Parallel()
	env := map[string]string{}
	getenv := func(name string) string { return env[name] }
	if err := run(t.Context(), getenv, io.Discard); err == nil || !strings.Contains(err.Error(), "BUSINESS_ID") {
		t.Errorf("without a business: %v", err)
	}
	env["YANDEX_MARKET_BUSINESS_ID"] = "1234567"
	if err := run(t.Context(), getenv, io.Discard); !errors.Is(err, chats.ErrInvalidArgument) {
		t.Errorf("without a key: %v", err)
	}
}
