package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ymchats/ymchats-go/chats"
	"github.com/ymchats/ymchats-go/chats/notify"
)

// reader prints what is new in the chats that it is told of.
//
// It reads the history and not the one message that the push names: a history page
// is taken from an allowance of 10,000 an hour, a single message from one of 1,000;
// several pushes for a chat cost one page together; and a message whose push got
// lost, or that is never announced, a sticker, comes along with the next.
//
// What was printed last is kept in memory only. For a program that must handle every
// message once, across restarts, see package inbox.
type reader struct {
	client *chats.Client
	out    io.Writer

	mu    sync.Mutex
	woken map[chats.ChatID]bool
	some  chan struct{} // holds something while a chat is woken

	// Of the goroutine that reads:
	last   map[chats.ChatID]chats.MessageID
	pause  map[chats.ChatID]time.Duration // before the next try
	onRead func(chats.MessageID)          // for the demo
}

func newReader(client *chats.Client, out io.Writer) *reader {
	return &reader{
		client: client, out: out,
		woken: map[chats.ChatID]bool{},
		some:  make(chan struct{}, 1),
		last:  map[chats.ChatID]chats.MessageID{}, pause: map[chats.ChatID]time.Duration{}, onRead: func(chats.MessageID) {},
	}
}

// handle puts the event aside and returns: Market waits for the answer, and sends
// nothing else before it has it.
func (r *reader) handle(_ context.Context, event notify.Event) error {
	switch e := event.(type) {
	case notify.ChatCreated:
		r.wake(e.Chat)
	case notify.MessageSent:
		r.wake(e.Chat)
	}
	return nil
}

func (r *reader) wake(id chats.ChatID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.woken[id] = true
	select {
	case r.some <- struct{}{}:
	default:
	}
}

func (r *reader) take() map[chats.ChatID]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.woken
	r.woken = map[chats.ChatID]bool{}
	return taken
}

// The pause after a chat could not be read doubles from the one to the other.
const (
	firstPause   = 5 * time.Second
	longestPause = 5 * time.Minute
)

// run reads the chats that were woken, until the context ends.
func (r *reader) run(ctx context.Context) {
	for {
		select {
		case <-r.some:
		case <-ctx.Done():
			return
		}
		for id := range r.take() {
			if err := r.read(ctx, id); ctx.Err() == nil {
				r.conclude(id, err)
			}
		}
	}
}

// conclude has a chat that could not be read looked at again. One that does not exist
// is left: a push proves nothing, and whoever makes chats up must not use up the hour.
func (r *reader) conclude(id chats.ChatID, err error) {
	switch {
	case err == nil:
		delete(r.pause, id)
	case errors.Is(err, chats.ErrNotFound):
		delete(r.pause, id)
		_, _ = fmt.Fprintf(r.out, "chat %d is not ours: %v\n", id, err)
	default:
		pause := max(r.pause[id], firstPause)
		r.pause[id] = min(2*pause, longestPause)
		_, _ = fmt.Fprintf(r.out, "chat %d cannot be read, tried again in %s: %v\n", id, pause, err)
		time.AfterFunc(pause, func() { r.wake(id) })
	}
}

func (r *reader) read(ctx context.Context, id chats.ChatID) error {
	for message, err := range r.client.History(ctx, id, r.last[id]) {
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(r.out, "chat %d, %s %s: %s\n", id, message.CreatedAt.Format("15:04:05"), message.Sender, said(message))
		r.last[id] = message.ID
		r.onRead(message.ID)
	}
	return nil
}

func said(message chats.Message) string {
	switch {
	case message.Text != "":
		return message.Text
	case len(message.Files) > 0:
		return "[" + message.Files[0].Name + "]"
	default:
		return "[sticker]"
	}
}
