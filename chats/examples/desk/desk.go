package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"

	"github.com/ymchats/ymchats-go/chats"
)

// mostChats is how many chats the desk takes on at once.
const mostChats = 20

// desk shows the chats of a shop and sends what its operator agrees to.
type desk struct {
	client   *chats.Client
	out      io.Writer
	open     opener
	operator *operator

	taken []*conversation
}

// conversation is a chat on the desk, and the last message of it that was shown.
type conversation struct {
	chats.Chat

	last chats.MessageID
}

// run works through everything once, with the operator's lines from in.
func (d *desk) run(ctx context.Context, in io.Reader, echo bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.operator = newOperator(ctx, in, d.out, echo)
	for _, step := range []func(context.Context) error{
		d.takeWaiting, d.showAll, d.answer, d.sendFile, d.openChat, d.showNews,
	} {
		err := step(ctx)
		switch {
		case err == nil:
		case errors.Is(err, errLeft):
			return nil
		case ctx.Err() == nil && isOfOneChat(err):
			d.say("%s\n", explain(err)) // the others can still be worked on
		default:
			return err
		}
	}
	return nil
}

// takeWaiting lists the chats that wait for the shop, the longest waiting first.
func (d *desk) takeWaiting(ctx context.Context) error {
	waiting := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
	for chat, err := range d.client.Chats(ctx, waiting) {
		if err != nil {
			return err
		}
		if len(d.taken) == mostChats {
			d.say("There are more: here are %d, the rest comes when these are answered.\n", mostChats)
			break
		}
		d.taken = append(d.taken, &conversation{Chat: chat})
	}
	slices.SortFunc(d.taken, func(a, b *conversation) int {
		return cmp.Or(a.UpdatedAt.Compare(b.UpdatedAt), cmp.Compare(a.ID, b.ID))
	})
	d.list()
	return nil
}

func (d *desk) showAll(ctx context.Context) error {
	_, err := d.showUnseen(ctx)
	return err
}

// showUnseen prints what stands in the chats after the last messages that were shown.
func (d *desk) showUnseen(ctx context.Context) (shown int, err error) {
	for i, c := range d.taken {
		n, err := d.showSince(ctx, i+1, c)
		if err != nil {
			return shown, err
		}
		shown += n
	}
	return shown, nil
}

// showSince prints one chat from c.last on, without a word where there is nothing.
// History is ascending, so that one id is all there is to keep.
func (d *desk) showSince(ctx context.Context, number int, c *conversation) (shown int, err error) {
	for message, err := range d.client.History(ctx, c.ID, c.last) {
		if err != nil {
			return shown, err
		}
		if shown == 0 {
			d.say("\n[%d] %s\n", number, title(c.Chat))
		}
		d.show(c.Chat, message)
		c.last = message.ID
		shown++
	}
	return shown, nil
}

func (d *desk) answer(ctx context.Context) error {
	c, err := d.choose(ctx, "\nAnswer which chat?")
	if c == nil {
		return err
	}
	return d.write(ctx, c)
}

// choose gives nil where the operator wants none of the chats.
func (d *desk) choose(ctx context.Context, question string) (*conversation, error) {
	if len(d.taken) == 0 {
		return nil, nil
	}
	most := int64(len(d.taken))
	n, err := d.operator.number(ctx, fmt.Sprintf("%s [1-%d, Enter for none]", question, most), most)
	if n == 0 {
		return nil, err
	}
	return d.taken[n-1], nil
}

// write posts a text. It leaves c.last alone: the buyer may have written between that
// message and this one.
func (d *desk) write(ctx context.Context, c *conversation) error {
	text, err := d.operator.ask(ctx, "Text:")
	if err != nil || text == "" {
		return err
	}
	if agreed, err := d.agreed(ctx, "Send this text to %s?", buyer(c.Chat)); !agreed {
		return err
	}
	message, err := d.client.SendTextConfirmed(ctx, c.ID, text, chats.ConfirmAfter(c.last))
	if err != nil {
		return err
	}
	d.say("Posted at %s as message %d.\n", clock(message.CreatedAt), message.ID)
	return nil
}

// agreed is where everything passes that the desk sends.
func (d *desk) agreed(ctx context.Context, format string, args ...any) (bool, error) {
	agreed, err := d.operator.agrees(ctx, fmt.Sprintf(format, args...))
	if err == nil && !agreed {
		d.say("Not sent.\n")
	}
	return agreed, err
}

func (d *desk) sendFile(ctx context.Context) error {
	c, err := d.choose(ctx, "\nSend a file to which chat?")
	if c == nil {
		return err
	}
	path, err := d.operator.ask(ctx, "File:")
	if err != nil || path == "" {
		return err
	}
	file, err := d.open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	name := filepath.Base(path)
	if agreed, err := d.agreed(ctx, "Send %s (%s) to %s?", name, size(info.Size()), buyer(c.Chat)); !agreed {
		return err
	}
	if err := d.client.SendFile(ctx, c.ID, name, file); err != nil {
		return err
	}
	d.say("Posted.\n")
	return nil
}

func (d *desk) openChat(ctx context.Context) error {
	order, err := d.operator.number(ctx, "\nOpen a chat about which order? [number, Enter for none]", math.MaxInt64)
	if order == 0 {
		return err
	}
	if agreed, err := d.agreed(ctx, "Open a chat about order %d?", order); !agreed {
		return err
	}
	id, err := d.client.OpenChat(ctx, chats.AboutOrder(chats.OrderID(order)))
	if err != nil {
		return err
	}
	c, err := d.take(ctx, id)
	if err != nil {
		return err
	}
	return d.write(ctx, c)
}

// take puts a chat on the desk, unless it is there already.
func (d *desk) take(ctx context.Context, id chats.ChatID) (*conversation, error) {
	for _, c := range d.taken {
		if c.ID == id {
			return c, nil
		}
	}
	chat, err := d.client.Chat(ctx, id)
	if err != nil {
		return nil, err
	}
	c := &conversation{Chat: chat}
	d.taken = append(d.taken, c)
	d.say("It is chat [%d]: %s\n", len(d.taken), title(chat))
	_, err = d.showSince(ctx, len(d.taken), c)
	return c, err
}

// showNews prints what has arrived in the desk's chats, as often as it is asked to.
func (d *desk) showNews(ctx context.Context) error {
	for question := "\nLook what has arrived since?"; ; question = "\nLook again?" {
		if yes, err := d.operator.agrees(ctx, question); !yes {
			return err
		}
		shown, err := d.showUnseen(ctx)
		if err != nil {
			return err
		}
		if shown == 0 {
			d.say("Nothing new.\n")
		}
	}
}
