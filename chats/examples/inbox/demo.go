package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/chatstest"
	"github.com/ymchats/ymchats-go/chats/inbox"
	"github.com/ymchats/ymchats-go/chats/notify"
)

// demo runs the inbox twice on an in-memory Market and one SQLite file. The message that
// arrives between the runs is printed after the second start.
func demo(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "inbox")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{Subject: chats.AboutOrder(55_210_044), Customer: chats.Customer{Name: "Мария"}})

	first := []string{
		"Здравствуйте! Можно перенести заказ на субботу?", // Hello! Can the order be moved to Saturday?
		"",         // a sticker
		"Спасибо!", // Thank you!
	}
	_, _ = fmt.Fprintln(out, "Demo: a scripted customer on an in-memory Market. Nothing is sent to Yandex Market.")
	_, _ = fmt.Fprintln(out, "First run: the messages that arrive from now on.")
	if err := follow(ctx, market, filepath.Join(dir, "inbox.db"), chat, first, out); err != nil {
		return err
	}
	market.CustomerSays(chat, "Вы ещё здесь?") // Are you still there?
	_, _ = fmt.Fprintln(out, "Second start: first the message that arrived in between.")
	second := []string{"В субботу после двух удобно."} // Saturday after two suits me.
	return follow(ctx, market, filepath.Join(dir, "inbox.db"), chat, second, out)
}

// follow runs the inbox until it has printed everything that the customer writes.
func follow(
	ctx context.Context, market *chatstest.Market, file string, chat chats.ChatID, texts []string, out io.Writer,
) error {
	store, closeStore, err := openStore(ctx, file, "")
	if err != nil {
		return err
	}
	defer closeStore()
	in, err := inbox.New(market.Client(), store, inbox.WithPollInterval(time.Second))
	if err != nil {
		return err
	}
	handler, err := wake(in)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	last := &lastMessage{stop: stop}
	var customer sync.WaitGroup
	defer customer.Wait()
	customer.Go(func() { write(ctx, market, handler, chat, texts, last) })
	printed := printer(out)
	return in.Run(ctx, func(ctx context.Context, d inbox.Delivery) error {
		defer last.handled(d.Message.ID)
		return printed(ctx, d)
	})
}

// write acts as the customer. In its first run the inbox delivers only what is written
// after the inbox has started, so the customer waits for a sweep.
func write(
	ctx context.Context, market *chatstest.Market, handler http.Handler, chat chats.ChatID, texts []string, last *lastMessage,
) {
	for swept := market.Calls(chats.OpGetChats); market.Calls(chats.OpGetChats) < swept+2 && ctx.Err() == nil; {
		<-time.After(10 * time.Millisecond)
	}
	var message chats.MessageID
	for _, text := range texts {
		message = market.CustomerSays(chat, text)
		if text != "" { // Market does not announce stickers
			sent := notify.MessageSent{Business: market.Business(), Chat: chat, Message: message, At: time.Now()}
			market.Notify(ctx, handler, sent) //nolint:bodyclose // in memory
		}
	}
	last.wait(message)
}

// lastMessage stops the demo after the last message has been handled.
type lastMessage struct {
	mu         sync.Mutex
	seen, want chats.MessageID
	stop       func()
}

func (l *lastMessage) handled(id chats.MessageID) { l.update(&l.seen, id) }
func (l *lastMessage) wait(id chats.MessageID)    { l.update(&l.want, id) }

func (l *lastMessage) update(field *chats.MessageID, id chats.MessageID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*field = max(*field, id)
	if l.want != 0 && l.seen >= l.want {
		l.stop()
	}
}
