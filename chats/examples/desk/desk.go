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

// maxChats is the maximum number of chats on the desk.
const maxChats = 20

// desk shows the chats of a shop and sends what the operator confirms.
type desk struct {
	client   *chats.Client
	out      io.Writer
	openFile opener
	comment  commentary
	operator *operator

	conversations []*conversation
}

// conversation is a chat on the desk, with the ID of the last message shown.
type conversation struct {
	chats.Chat

	last chats.MessageID
}

// run goes through all steps once, reading the operator's lines from in.
func (d *desk) run(ctx context.Context, in io.Reader, echo bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.operator = newOperator(ctx, in, d.out, echo)
	for _, step := range []func(context.Context) error{
		d.listWaiting, d.showAll, d.reply, d.sendFile, d.openChat, d.showNew,
	} {
		err := step(ctx)
		switch {
		case err == nil:
		case errors.Is(err, errInputEnded):
			return nil
		case ctx.Err() == nil && concernsOneStep(err):
			d.say("%s\n", explain(err))
		default:
			return err
		}
	}
	return nil
}

// listWaiting lists the chats that are waiting for the shop, the longest waiting first.
func (d *desk) listWaiting(ctx context.Context) error {
	more := false
	waiting := chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}}
	for chat, err := range d.client.Chats(ctx, waiting) {
		if err != nil {
			return err
		}
		if more = len(d.conversations) == maxChats; more {
			break
		}
		d.conversations = append(d.conversations, &conversation{Chat: chat})
	}
	slices.SortFunc(d.conversations, func(a, b *conversation) int {
		return cmp.Or(a.UpdatedAt.Compare(b.UpdatedAt), cmp.Compare(a.ID, b.ID))
	})
	if more {
		d.say("More than %d chats are waiting. Start the desk again for the others.\n", maxChats)
	}
	d.printList()
	d.call("client.Chats(ctx, chats.Filter{Statuses: []chats.Status{chats.StatusWaitingForPartner}})")
	return nil
}

func (d *desk) showAll(ctx context.Context) error {
	_, err := d.showUnseen(ctx)
	return err
}

// showUnseen prints the messages of all conversations that have not been shown yet.
func (d *desk) showUnseen(ctx context.Context) (shown int, err error) {
	for i, c := range d.conversations {
		n, err := d.showSince(ctx, i+1, c)
		if err != nil {
			return shown, err
		}
		shown += n
	}
	if len(d.conversations) > 0 {
		d.call("client.History(ctx, chat.ID, last) for each chat: every message after the last one shown, in order")
	}
	return shown, nil
}

// showSince prints the messages of one conversation after c.last. History is ascending,
// so only one ID has to be kept.
func (d *desk) showSince(ctx context.Context, number int, c *conversation) (shown int, err error) {
	for message, err := range d.client.History(ctx, c.ID, c.last) {
		if err != nil {
			return shown, err
		}
		if shown == 0 {
			d.say("\n[%d] %s\n", number, d.title(c.Chat))
		}
		d.printMessage(c.Chat, message)
		c.last = message.ID
		shown++
	}
	return shown, nil
}

func (d *desk) reply(ctx context.Context) error {
	c, err := d.choose(ctx, "\nReply to which chat?")
	if c == nil {
		return err
	}
	return d.write(ctx, c)
}

// choose returns nil if the operator chooses none of the conversations.
func (d *desk) choose(ctx context.Context, question string) (*conversation, error) {
	if len(d.conversations) == 0 {
		return nil, nil
	}
	count := int64(len(d.conversations))
	n, err := d.operator.number(ctx, fmt.Sprintf("%s [1-%d, Enter for none]", question, count), count)
	if n == 0 {
		return nil, err
	}
	return d.conversations[n-1], nil
}

// write posts a text. It leaves c.last alone, because the customer may have written
// between that message and this one.
func (d *desk) write(ctx context.Context, c *conversation) error {
	text, err := d.operator.ask(ctx, "Text:")
	if err != nil || text == "" {
		return err
	}
	d.comment.translate(d.out, "     ", text)
	if confirmed, err := d.confirmed(ctx, "Send this text to %s?", customer(c.Chat)); !confirmed {
		return err
	}
	message, err := d.client.SendTextConfirmed(ctx, c.ID, text, chats.ConfirmAfter(c.last))
	if err != nil {
		return err
	}
	d.say("Posted at %s as message %d.\n", formatTime(message.CreatedAt), message.ID)
	d.call("client.SendTextConfirmed(ctx, %d, text, chats.ConfirmAfter(%d)): posted once and found in the history", c.ID, c.last)
	return nil
}

// confirmed asks the operator for confirmation. Everything that the desk sends passes
// through it.
func (d *desk) confirmed(ctx context.Context, format string, args ...any) (bool, error) {
	yes, err := d.operator.confirms(ctx, fmt.Sprintf(format, args...))
	if err == nil && !yes {
		d.say("Not sent.\n")
	}
	return yes, err
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
	d.comment.translate(d.out, "     ", path)
	file, err := d.openFile(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	name := filepath.Base(path)
	if confirmed, err := d.confirmed(ctx, "Send %s (%s) to %s?", name, formatSize(info.Size()), customer(c.Chat)); !confirmed {
		return err
	}
	if err := d.client.SendFile(ctx, c.ID, name, file); err != nil {
		return err
	}
	d.say("Posted.\n")
	d.call("client.SendFile(ctx, %d, %q, file): sent at most once", c.ID, name)
	return nil
}

func (d *desk) openChat(ctx context.Context) error {
	order, err := d.operator.number(ctx, "\nOpen a chat about which order? [number, Enter for none]", math.MaxInt64)
	if order == 0 {
		return err
	}
	if confirmed, err := d.confirmed(ctx, "Open a chat about order %d?", order); !confirmed {
		return err
	}
	id, err := d.client.OpenChat(ctx, chats.AboutOrder(chats.OrderID(order)))
	if err != nil {
		return err
	}
	d.call("client.OpenChat(ctx, chats.AboutOrder(%d)): the existing chat, if there is one", order)
	c, err := d.add(ctx, id)
	if err != nil {
		return err
	}
	return d.write(ctx, c)
}

// add puts a chat on the desk, unless it is there already.
func (d *desk) add(ctx context.Context, id chats.ChatID) (*conversation, error) {
	for _, c := range d.conversations {
		if c.ID == id {
			return c, nil
		}
	}
	chat, err := d.client.Chat(ctx, id)
	if err != nil {
		return nil, err
	}
	c := &conversation{Chat: chat}
	d.conversations = append(d.conversations, c)
	d.say("It is chat [%d]: %s\n", len(d.conversations), d.title(chat))
	_, err = d.showSince(ctx, len(d.conversations), c)
	return c, err
}

// showNew prints new messages for as long as the operator asks for them.
func (d *desk) showNew(ctx context.Context) error {
	for question := "\nCheck for new messages?"; ; question = "\nCheck again?" {
		if yes, err := d.operator.confirms(ctx, question); !yes {
			return err
		}
		shown, err := d.showUnseen(ctx)
		if err != nil {
			return err
		}
		if shown == 0 {
			d.say("No new messages.\n")
		}
	}
}
