package chatstest_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
)

// A customer asks a question, the program under test replies, and the chat shows what the
// customer sees.
func Example() {
	ctx := context.Background()
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{Customer: chats.Customer{Name: "Анна"}})
	market.CustomerSays(chat, "Здравствуйте! Где мой заказ?")

	if err := market.Client().SendText(ctx, chat, "Уже в пути"); err != nil {
		fmt.Println(err)
	}

	for _, message := range market.Messages(chat) {
		fmt.Printf("%s: %s\n", message.Sender, message.Text)
	}
	fmt.Println(market.Chat(chat).Status)
	// Output:
	// CUSTOMER: Здравствуйте! Где мой заказ?
	// PARTNER: Уже в пути
	// WAITING_FOR_CUSTOMER
}

// Two attempts fail, then the request succeeds.
func ExampleMarket_Fail() {
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{})
	market.Fail(chats.OpGetChat, chatstest.HTML(http.StatusBadGateway), chatstest.DropBefore())

	policy := chats.RetryPolicy{BaseDelay: 1, MaxDelay: 1}
	got, err := market.Client(chats.WithRetry(policy)).Chat(context.Background(), chat)
	fmt.Println(got.Status, err, market.Calls(chats.OpGetChat))
	// Output: NEW <nil> 3
}
