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

// reader prints the new messages of the chats that pushes name.
//
// It reads the history instead of the one message that the push names: a page of
// history counts against a quota of 10,000 per hour, a single message against one of
// 1,000; several pushes for a chat may share one page; and a message whose push was lost,
// or that is never announced (a sticker), is read with the next one.
//
// The last printed message of a chat is kept in memory only. For a program that must
// handle every message across restarts, see package inbox.
type reader struct {
	client *chats.Client
	out    io.Writer

	mu      sync.Mutex
	pending map[chats.ChatID]bool
	ready   chan struct{} // holds a value while a chat is pending

	// Used by run only:
	last    map[chats.ChatID]chats.MessageID
	backoff map[chats.ChatID]time.Duration // before the next retry
	retries map[chats.ChatID]*time.Timer   // one per chat, however many pushes name it
	onRead  func(chats.MessageID)          // for the demo
}

func newReader(client *chats.Client, out io.Writer) *reader {
	return &reader{
		client: client, out: out,
		pending: map[chats.ChatID]bool{},
		ready:   make(chan struct{}, 1),
		last:    map[chats.ChatID]chats.MessageID{},
		backoff: map[chats.ChatID]time.Duration{},
		retries: map[chats.ChatID]*time.Timer{},
		onRead:  func(chats.MessageID) {},
	}
}

func newHandler(reader *reader, options ...notify.Option) (*notify.Handler, error) {
	return notify.NewHandler("notify-example", chats.Version, reader.handle, options...)
}

// handle queues the chat of an event and returns, because Market sends nothing else until
// it has the response.
func (r *reader) handle(_ context.Context, event notify.Event) error {
	if _, chat := notify.ChatOf(event); chat != 0 {
		r.enqueue(chat)
	}
	return nil
}

func (r *reader) enqueue(id chats.ChatID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pending[id] = true
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// drain returns the pending chats and clears them.
func (r *reader) drain() map[chats.ChatID]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	pending := r.pending
	r.pending = map[chats.ChatID]bool{}
	return pending
}

// The delay before a failed chat is read again doubles from minBackoff to maxBackoff.
const (
	minBackoff = 5 * time.Second
	maxBackoff = 5 * time.Minute
)

// run reads the pending chats until ctx is done.
func (r *reader) run(ctx context.Context) {
	for {
		select {
		case <-r.ready:
		case <-ctx.Done():
			return
		}
		for id := range r.drain() {
			if err := r.read(ctx, id); ctx.Err() == nil {
				r.finish(id, err)
			}
		}
	}
}

// finish schedules a retry for a chat that could not be read. A chat that does not exist
// is dropped: pushes are not authenticated, and made-up chats must not use up the quota.
func (r *reader) finish(id chats.ChatID, err error) {
	if retry := r.retries[id]; retry != nil {
		retry.Stop()
		delete(r.retries, id)
	}
	switch {
	case err == nil:
		delete(r.backoff, id)
	case errors.Is(err, chats.ErrNotFound):
		delete(r.backoff, id)
		_, _ = fmt.Fprintf(r.out, "chat %d does not exist: %v\n", id, err)
	default:
		delay := max(r.backoff[id], minBackoff)
		r.backoff[id] = min(2*delay, maxBackoff)
		_, _ = fmt.Fprintf(r.out, "reading chat %d failed, retry in %s: %v\n", id, delay, err)
		r.retries[id] = time.AfterFunc(delay, func() { r.enqueue(id) })
	}
}

func (r *reader) read(ctx context.Context, id chats.ChatID) error {
	for message, err := range r.client.History(ctx, id, r.last[id]) {
		if err != nil {
			var failed *chats.Error
			if errors.As(err, &failed) && failed.ResumeAfter != nil {
				r.last[id] = *failed.ResumeAfter // what has been printed may have gaps
			}
			return err
		}
		_, _ = fmt.Fprintf(r.out, "chat %d, %s %s: %s\n", id, message.CreatedAt.Format("15:04:05"), message.Sender, content(message))
		r.last[id] = message.ID
		r.onRead(message.ID)
	}
	return nil
}

// content returns the text of a message, or a description of what it has instead.
func content(message chats.Message) string {
	switch {
	case message.Text != "":
		return message.Text
	case len(message.Files) > 0:
		return "[" + message.Files[0].Name + "]"
	default:
		return "[sticker]"
	}
}
