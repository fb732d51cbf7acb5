package chats

import (
	"cmp"
	"context"
	"io"
	"net/http"

	"github.com/ymchats/ymchats-go/gen"
)

// SendText posts a text of 1 to 4,096 characters at most once
// (POST /v2/businesses/{id}/chats/message). It is retried only if it is certain that
// nothing was processed: after a 420, or if no connection could be made.
//
// A nil error means that the message was posted. [ErrOutcomeUnknown] means that it may have
// been posted: read the history before sending again, or use [Client.SendTextConfirmed].
//
// Errors: [ArgumentError], [Error].
func (c *Client) SendText(ctx context.Context, id ChatID, text string) error {
	if err := cmp.Or(checkID("chat", id), checkText(text)); err != nil {
		return err
	}
	_, err := c.sendText(ctx, id, text, c.config.retry.MaxAttempts)
	return err
}

// sendText makes at most attempts requests and returns how many it made.
func (c *Client) sendText(ctx context.Context, id ChatID, text string, attempts int) (made int, err error) {
	req, err := gen.NewSendMessageToChatRequest(c.base(), int64(c.business),
		&gen.SendMessageToChatParams{ChatID: int64(id)}, gen.SendMessageToChatRequest{Text: text})
	call, err := newCall(OpSendMessageToChat, req, err)
	if err != nil {
		return 0, err
	}
	call.maxAttempts = attempts
	call.decode = decodeSend
	err = c.perform(ctx, call)
	return call.attempts, err
}

// decodeSend decodes the response to a send, which has no result.
func decodeSend(r *response) error {
	_, err := decode[any](r, nil)
	return err
}

// SendFile posts a file of 1 byte to 5 MiB ([MaxFileSize]) at most once, like
// [Client.SendText] (POST /v2/businesses/{id}/chats/file/send). name is the file name that
// the customer sees, without a path.
//
// A reader with a known size (a file, a bytes.Reader, anything with Seek or Len) is
// streamed from its current position; any other reader is buffered in memory first; that
// read is not cancelled by ctx. SendFile does not close content, and does not read it after
// it has returned. If reading fails, the request is aborted, nothing is posted, and the
// reader's error is returned. A reader that cannot be rewound is not sent again after a
// 420.
//
// Errors: [ArgumentError], [Error].
func (c *Client) SendFile(ctx context.Context, id ChatID, name string, content io.Reader) error {
	if err := cmp.Or(checkID("chat", id), checkFileName(name)); err != nil {
		return err
	}
	up, err := newUpload(name, content)
	if err != nil {
		return err
	}
	// The reader is attached afterwards, because the builder would hide its length.
	req, err := gen.NewSendFileToChatRequestWithBody(c.base(), int64(c.business),
		&gen.SendFileToChatParams{ChatID: int64(id)}, up.contentType, http.NoBody)
	call, err := newCall(OpSendFileToChat, req, err)
	if err != nil {
		return err
	}
	up.attach(req)
	call.upload, call.decode = up, decodeSend
	return c.perform(ctx, call)
}
