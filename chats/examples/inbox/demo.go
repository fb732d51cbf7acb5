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

// demo runs the inbox twice on a Market in memory and one SQLite file. What is
// written while nobody runs is printed after the second start.
func demo(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "inbox")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	market := chatstest.NewMarket()
	chat := market.AddChat(chats.Chat{Subject: chats.AboutOrder(55_210_044), Customer: chats.Customer{Name: "Мария"}})

	first := []string{"Здравствуйте! Можно перенести заказ на субботу?", "", "Спасибо!"} // "" is a sticker
	fmt.Fprintln(out, "The first start: what is written from now on.")
	if err := follow(ctx, market, filepath.Join(dir, "inbox.db"), chat, first, out); err != nil {
		return err
	}
	market.CustomerSays(chat, "Вы ещё здесь?")
	fmt.Fprintln(out, "The second start: what was written meanwhile comes first.")
	return follow(ctx, market, filepath.Join(dir, "inbox.db"), chat, []string{"В субботу после двух удобно."}, out)
}

// follow runs the inbox until it has printed everything that the buyer writes.
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
	var buyer sync.WaitGroup
	defer buyer.Wait()
	buyer.Go(func() { write(ctx, market, handler, chat, texts, last) })
	printed := printer(out)
	return in.Run(ctx, func(ctx context.Context, d inbox.Delivery) error {
		defer last.handled(d.Message.ID)
		return printed(ctx, d)
	})
}

// write is the buyer. The inbox of a first start delivers what is written after it
// has begun to follow the business, so the buyer waits for its first sweep.
func write(
	ctx context.Context, market *chatstest.Market, handler http.Handler, chat chats.ChatID, texts []string, last *lastMessage,
) {
	for swept := market.Calls(chats.OpGetChats); market.Calls(chats.OpGetChats) < swept+2 && ctx.Err() == nil; {
		<-time.After(10 * time.Millisecond)
	}
	var message chats.MessageID
	for _, text := range texts {
		message = market.CustomerSays(chat, text)
		if text != "" { // Market announces no stickers
			sent := notify.MessageSent{Business: market.Business(), Chat: chat, Message: message, At: time.Now()}
			market.Notify(ctx, handler, sent) //nolint:bodyclose // it is in memory
		}
	}
	last.is(message)
}

// lastMessage ends the demo when the last message has been handled.
type lastMessage struct {
	mu         sync.Mutex
	seen, want chats.MessageID
	stop       func()
}

func (l *lastMessage) handled(id chats.MessageID) { l.update(&l.seen, id) }
func (l *lastMessage) is(id chats.MessageID)      { l.update(&l.want, id) }

func (l *lastMessage) update(field *chats.MessageID, id chats.MessageID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*field = max(*field, id)
	if l.want != 0 && l.seen >= l.want {
		l.stop()
	}
}
