package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/notify"
)

// demo lets a buyer of a Market in memory write, and Market push.
func demo(ctx context.Context, out io.Writer) error {
	market := chatstest.NewMarket()
	return story(ctx, market, newReader(market.Client(), out))
}

func story(ctx context.Context, market *chatstest.Market, reader *reader) error {
	handler, err := newHandler(reader)
	if err != nil {
		return err
	}
	read := make(chan chats.MessageID, 100)
	reader.onRead = func(message chats.MessageID) { read <- message }
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); reader.run(ctx) }()
	defer func() { stop(); <-done }()

	chat := market.AddChat(chats.Chat{Subject: chats.AboutOrder(55_210_044), Customer: chats.Customer{Name: "Мария"}})
	err = push(ctx, market, handler, notify.ChatCreated{Business: market.Business(), Chat: chat, At: time.Now()})
	for _, text := range []string{"Здравствуйте! Можно перенести заказ на субботу?", "И ещё: чехол есть в комплекте?", "", "Спасибо!"} {
		message := market.CustomerSays(chat, text)
		if text == "" {
			continue // a sticker: Market does not announce it, and it comes along with the next
		}
		sent := notify.MessageSent{Business: market.Business(), Chat: chat, Message: message, At: time.Now()}
		// Market may send an event twice; it is handled once.
		err = errors.Join(err, push(ctx, market, handler, sent), push(ctx, market, handler, sent), await(ctx, read, message))
	}
	return err
}

func push(ctx context.Context, market *chatstest.Market, handler http.Handler, event notify.Event) error {
	answer := market.Notify(ctx, handler, event)
	if answer == nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the push %T was not taken", event)
	}
	return answer.Body.Close()
}

// await returns when the reader has come to the message.
func await(ctx context.Context, read <-chan chats.MessageID, message chats.MessageID) error {
	for {
		select {
		case id := <-read:
			if id == message {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Second):
			return fmt.Errorf("message %d was not read", message)
		}
	}
}
