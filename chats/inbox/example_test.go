package inbox_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
)

// Every message of every chat, handled by several workers, until the context
// is done. With a store that lasts it goes on after a restart where it was.
func ExampleInbox_Run() {
	market := chatstest.NewMarket()
	id := market.AddChat(chats.Chat{Customer: chats.Customer{Name: "Anna"}})
	market.CustomerSays(id, "When will it arrive?")
	market.CustomerSays(id, "Hello?")

	in, err := inbox.New(market.Client(), inbox.NewMemoryStore(),
		inbox.WithSenders(chats.SenderCustomer), inbox.WithStartTime(time.Now().Add(-time.Hour)))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = in.Run(ctx, func(_ context.Context, d inbox.Delivery) error {
		fmt.Printf("%s: %s\n", d.Chat.Customer.Name, d.Message.Text)
		if d.Message.Text == "Hello?" {
			cancel()
		}
		return nil
	})
	fmt.Println("ended with", err)
	// Output:
	// Anna: When will it arrive?
	// Anna: Hello?
	// ended with <nil>
}

// One message after the other, in a loop. Leaving it leaves the last message
// unhandled.
func ExampleInbox_Messages() {
	market := chatstest.NewMarket()
	id := market.AddChat(chats.Chat{})
	market.CustomerSays(id, "When will it arrive?")
	market.CustomerSays(id, "Hello?")

	in, err := inbox.New(market.Client(), inbox.NewMemoryStore(), inbox.WithStartTime(time.Time{}))
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		for d, err := range in.Messages(context.Background()) {
			if err != nil {
				fmt.Println(err)
				return
			}
			fmt.Println(d.Message.Text)
			if d.Message.Text == "Hello?" {
				break
			}
		}
	}
	// Output:
	// When will it arrive?
	// Hello?
	// Hello?
}

// For a health check or a page of one's own.
func ExampleInbox_Status() {
	market := chatstest.NewMarket()
	in, err := inbox.New(market.Client(), inbox.NewMemoryStore())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := in.Wake(context.Background(), 70000001); err != nil { // as a push does
		fmt.Println(err)
		return
	}
	status, err := in.Status(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(status.Role, status.Chats, status.Due, len(status.Failing))
	// Output:
	// idle 1 1 0
}
