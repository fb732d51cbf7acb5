// Command consumer greets every customer who is waiting for the shop. It is an example of a
// user's program: a separate module that imports only public packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"

	"github.com/ymchats/ymchats-go/chats"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Getenv, os.Stdout)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "consumer:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, getenv func(string) string, out io.Writer) error {
	business, err := strconv.ParseInt(getenv("YANDEX_MARKET_BUSINESS_ID"), 10, 64)
	if err != nil {
		return errors.New("set YANDEX_MARKET_BUSINESS_ID to the ID of your business, and YANDEX_MARKET_API_KEY")
	}
	client, err := chats.New(chats.BusinessID(business), chats.APIKey(getenv("YANDEX_MARKET_API_KEY")))
	if err != nil {
		return err
	}
	return answerWaiting(ctx, client, "Здравствуйте! Мы прочитали ваше сообщение и скоро ответим.", out)
}

// answerWaiting answers every chat that is waiting for the shop and prints each customer's last
// message. A failure in one chat does not affect the others.
func answerWaiting(ctx context.Context, client *chats.Client, text string, out io.Writer) error {
	// Read the whole list first, because an answered chat leaves the list.
	var waiting []chats.Chat
	for chat, err := range client.Chats(ctx, chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}) {
		if err != nil {
			return err
		}
		waiting = append(waiting, chat)
	}
	var failed error
	for _, chat := range waiting {
		if err := answer(ctx, client, chat, text, out); err != nil {
			failed = errors.Join(failed, fmt.Errorf("chat %d: %w", chat.ID, err))
		}
		if errors.Is(failed, chats.ErrRateLimited) || ctx.Err() != nil {
			break // the next answer would fail, too
		}
	}
	return failed
}

func answer(ctx context.Context, client *chats.Client, chat chats.Chat, text string, out io.Writer) error {
	var last chats.Message
	for message, err := range client.History(ctx, chat.ID, 0) {
		if err != nil {
			return err
		}
		last = message
	}
	if last.Sender != chats.SenderCustomer {
		return nil
	}
	posted, err := client.SendTextConfirmed(ctx, chat.ID, text, chats.ConfirmAfter(last.ID))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s wrote %q and was answered at %s\n",
		chat.Customer.Name, last.Text, posted.CreatedAt.UTC().Format("15:04:05"))
	return err
}
