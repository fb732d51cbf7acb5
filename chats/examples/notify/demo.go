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

// demo runs the script on an in-memory Market.
func demo(ctx context.Context, out io.Writer) error {
	_, _ = fmt.Fprintln(out, "Demo: a scripted customer on an in-memory Market. Nothing is sent to Yandex Market.")
	market := chatstest.NewMarket()
	return script(ctx, market, newReader(market.Client(), out))
}

// script makes a customer write and Market push, and waits until every message has been
// read.
func script(ctx context.Context, market *chatstest.Market, reader *reader) error {
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
	for _, text := range []string{
		"Здравствуйте! Можно перенести заказ на субботу?", // Hello! Can the order be moved to Saturday?
		"И ещё: чехол есть в комплекте?",                  // And is a case included?
		"",         // a sticker: Market does not announce it, and it is read with the next message
		"Спасибо!", // Thank you!
	} {
		message := market.CustomerSays(chat, text)
		if text == "" {
			continue
		}
		sent := notify.MessageSent{Business: market.Business(), Chat: chat, Message: message, At: time.Now()}
		// Market may send an event twice; it is handled once.
		err = errors.Join(err, push(ctx, market, handler, sent), push(ctx, market, handler, sent), await(ctx, read, message))
	}
	return err
}

func push(ctx context.Context, market *chatstest.Market, handler http.Handler, event notify.Event) error {
	response := market.Notify(ctx, handler, event)
	if response == nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("push of %T failed", event)
	}
	return response.Body.Close()
}

// await returns when the message has been read.
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
