package chats

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/ymchats/ymchats-go/chats/internal/callerctx"
	"github.com/ymchats/ymchats-go/chats/internal/envelope"
	"github.com/ymchats/ymchats-go/chats/internal/msgtext"
	"github.com/ymchats/ymchats-go/chats/internal/upload"
	"github.com/ymchats/ymchats-go/gen"
)

// SendText posts a text of 1 to 4,096 characters at most once (POST
// /v2/businesses/{id}/chats/message). The request is retried only if it was certainly not
// processed: after a 420 or 429, or if no connection could be made. [SplitText] splits a longer
// text.
//
// A nil error means that the message was posted. [ErrOutcomeUnknown] means that it may have
// been posted; its documentation says what to do then. Any other error means that it was
// certainly not posted. A Client sends messages to the same chat one at a time.
//
// Errors: [ArgumentError], [Error].
func (c *Client) SendText(ctx context.Context, id ChatID, text string) error {
	if err := cmp.Or(checkID("chat", id), checkText(text)); err != nil {
		return err
	}
	return c.sendOnce(ctx, c.textMessage(id, text))
}

// SplitText splits a text into parts that [Client.SendText] accepts, each of at most
// [MaxTextLength] characters. A character is a Unicode code point, as in the API. SplitText
// prefers to split after a paragraph, then after a sentence or line, then after a word. A word that
// is too long is split, if possible, where that does not change how its characters are displayed.
// Only the whitespace at the splits, and parts without a visible character, are dropped. A text
// that is short enough is returned unchanged; a blank text has no parts. Invalid UTF-8 is kept,
// with each byte counting as a character, but SendText refuses it.
func SplitText(text string) (parts []string) { return msgtext.Split(text, MaxTextLength) }

// SendFile posts a file of 1 byte to 5 MiB ([MaxFileSize]) at most once, like
// [Client.SendText] (POST /v2/businesses/{id}/chats/file/send). name is the file name that
// the customer sees: valid UTF-8 of 255 bytes at most, without a path or control characters.
//
// A reader with a known size (a file, a bytes.Reader, anything with Seek or Len) is streamed
// from its current position. Any other reader is first buffered in memory; SendFile returns if
// ctx is done in the meantime. SendFile does not close content. The request is aborted, nothing
// is posted and an error is returned if reading or rewinding fails, if a hundred Reads in a
// row return nothing, or if content turns out to be shorter or longer than its size. Content that
// cannot be rewound is not sent again once it has been read from.
//
// SendFile starts no Read or Seek of content after it has returned. A Read or Seek that is
// blocked when ctx is done is abandoned. While content is being streamed, a Read or Seek that is
// still blocked when RetryPolicy.AttemptTimeout expires is abandoned as well.
//
// Errors: [ArgumentError], [Error].
func (c *Client) SendFile(ctx context.Context, id ChatID, name string, content io.Reader) error {
	file, err := c.fileMessage(ctx, id, name, content)
	if err != nil {
		return err
	}
	return c.sendOnce(ctx, file)
}

// outgoing is a message to be sent to a chat.
type outgoing struct {
	doubtKey
	began, ended time.Time // of the last request
	// newCall returns a call that sends the message.
	newCall func() *call
	// equals reports whether a message has the same content.
	equals func(Message) bool
	// resembles reports whether a message may be this one if the server alters content when it
	// stores it.
	resembles func(Message) bool
}

// sendOnce sends a message without confirming it.
func (c *Client) sendOnce(ctx context.Context, out *outgoing) error {
	unlock, err := c.lockChat(ctx, out)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err = c.send(ctx, out, c.config.retry.MaxAttempts, nil); err == nil {
		c.notePlain(out)
	}
	return err
}

// notePlain records a send that was accepted but not confirmed. If an earlier such send may
// not be visible yet either, no message can show that both are, so plainFrom is set to a time
// in the future.
func (c *Client) notePlain(out *outgoing) {
	since := out.began
	if out.ended.Sub(c.plain.Get(out.doubtKey)) < c.config.retry.searchTime() {
		since = out.ended.Add(time.Hour)
	}
	c.plain.Set(out.doubtKey, out.ended)
	c.plainFrom.Set(out.doubtKey, since)
}

// lockChat waits until no other send to the chat is running.
func (c *Client) lockChat(ctx context.Context, out *outgoing) (unlock func(), err error) {
	if unlock, err = c.sendLocks.Lock(ctx, out.chat); err != nil {
		return nil, &Error{Business: c.business, Operation: out.op, cause: err}
	}
	return unlock, nil
}

// send makes at most attempts requests and returns how many it has made. prepare runs before
// each of them.
func (c *Client) send(
	ctx context.Context, out *outgoing, attempts int, prepare func(context.Context) error,
) (made int, err error) {
	call := out.newCall()
	call.maxAttempts, call.prepare = attempts, prepare
	call.decode = func(r *response) error { // there is no result
		_, err := envelope.Decode[any](r.envelope(), nil)
		return err
	}
	err = ErrOutcomeUnknown // unless perform returns: a hook or transport may panic
	defer func() {
		if errors.Is(err, ErrOutcomeUnknown) {
			c.doubts.Set(out.doubtKey, time.Now())
		}
	}()
	err = c.perform(ctx, call)
	out.ended = time.Now()
	out.began = out.ended.Add(-call.duration)
	return call.attempts, err
}

func (c *Client) textMessage(id ChatID, text string) *outgoing {
	content := msgtext.Normalize(text)
	return &outgoing{
		doubtKey: doubtKey{id, OpSendMessageToChat, content},
		newCall: func() *call {
			req, err := gen.NewSendMessageToChatRequest(c.base, int64(c.business),
				&gen.SendMessageToChatParams{ChatID: int64(id)}, gen.SendMessageToChatRequest{Text: text})
			return newCall(c.business, OpSendMessageToChat, req, err)
		},
		equals:    func(m Message) bool { return msgtext.Normalize(m.Text) == content },
		resembles: func(m Message) bool { return m.Text != "" || len(m.Files) == 0 },
	}
}

// fileMessage checks the arguments and measures the content.
func (c *Client) fileMessage(ctx context.Context, id ChatID, name string, content io.Reader) (*outgoing, error) {
	if err := cmp.Or(checkID("chat", id), checkFileName(name)); err != nil {
		return nil, err
	}
	form, err := upload.New(ctx, name, content, MaxFileSize)
	if invalid, ok := as[*upload.InvalidError](err); ok {
		return nil, badArgument("file content", "%s", invalid.Reason)
	}
	if err != nil {
		return nil, &Error{Business: c.business, Operation: OpSendFileToChat, cause: callerctx.HideOthers(ctx, err)}
	}
	return &outgoing{
		doubtKey: doubtKey{id, OpSendFileToChat, fmt.Sprintf("%d bytes: %s", form.Size(), name)},
		newCall: func() *call {
			// The reader is attached afterwards, because the builder would hide its length.
			req, err := gen.NewSendFileToChatRequestWithBody(c.base, int64(c.business),
				&gen.SendFileToChatParams{ChatID: int64(id)}, form.ContentType(), http.NoBody)
			call := newCall(c.business, OpSendFileToChat, req, err)
			if call.upload = form; err == nil {
				req.ContentLength = form.Length()
			}
			return call
		},
		equals: func(m Message) bool {
			return slices.ContainsFunc(m.Files, func(f File) bool {
				return f.Name == name && (f.Size <= 0 || f.Size == form.Size())
			})
		},
		resembles: func(m Message) bool { return m.Text == "" || len(m.Files) > 0 },
	}, nil
}
