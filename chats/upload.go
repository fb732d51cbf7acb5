package chats

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/textproto"
	"strings"
)

// upload is a multipart form around the caller's reader. It is streamed with a known
// length: head, content, tail.
type upload struct {
	head, tail  []byte
	contentType string
	content     io.Reader
	size        int64
	seeker      io.Seeker // nil if the content cannot be rewound
	start       int64     // initial position of the seeker
	inMemory    bool      // a Read of the content cannot block

	touched bool        // the content has been read from
	body    *uploadBody // of the last attempt
}

// newUpload returns the upload of a file. Content of known size is streamed; other content
// is read into memory first, up to the limit. If ctx ends first, a blocked reader is
// abandoned.
func newUpload(ctx context.Context, name string, content io.Reader) (*upload, error) {
	if content == nil {
		return nil, badArgument("file content", "is nil")
	}
	u := &upload{content: content}
	err := await(ctx, func() error { return u.measure(content) })
	switch {
	case errors.Is(err, ErrInvalidArgument):
		return nil, err
	case err != nil:
		return nil, &Error{Operation: OpSendFileToChat, cause: hideContextErrors(ctx, err)}
	case u.size == 0:
		return nil, badArgument("file content", "is empty")
	case u.size > MaxFileSize:
		return nil, fileTooLarge()
	}
	return u, u.frame(name)
}

// isDirectory reports whether content is an open directory. Its measured size would depend
// on the file system.
func isDirectory(content io.Reader) bool {
	file, ok := content.(fs.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.IsDir()
}

func fileTooLarge() error {
	return badArgument("file content", "larger than %d bytes, the maximum that Market accepts", MaxFileSize)
}

func (u *upload) measure(content io.Reader) error {
	if isDirectory(content) {
		return badArgument("file content", "is a directory")
	}
	switch content.(type) {
	case *bytes.Reader, *bytes.Buffer, *strings.Reader:
		u.inMemory = true
	}
	if seeker, ok := content.(io.Seeker); ok {
		if start, err := seeker.Seek(0, io.SeekCurrent); err == nil { // a pipe is an *os.File too, and fails here
			return u.measureSeeker(seeker, start)
		}
	}
	if sized, ok := content.(interface{ Len() int }); ok {
		u.size = max(int64(sized.Len()), 0)
		return nil
	}
	var whole bytes.Buffer
	if _, err := whole.ReadFrom(io.LimitReader(content, MaxFileSize+1)); err != nil {
		return fmt.Errorf("reading the file: %w", err)
	}
	reader := bytes.NewReader(whole.Bytes())
	u.content, u.seeker, u.size, u.inMemory = reader, reader, reader.Size(), true
	return nil
}

func (u *upload) measureSeeker(seeker io.Seeker, start int64) error {
	end, err := seeker.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = seeker.Seek(start, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("measuring the file: %w", err)
	}
	u.seeker, u.start, u.size = seeker, start, max(end-start, 0)
	return nil
}

// frame builds the form around an empty part and splits it where the content goes.
func (u *upload) frame(name string) error {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	header := textproto.MIMEHeader{}
	header.Set("Content-Disposition", multipart.FileContentDisposition("file", name))
	header.Set("Content-Type", contentTypeOf(name))
	if _, err := w.CreatePart(header); err != nil {
		return err
	}
	headLength := form.Len()
	if err := w.Close(); err != nil {
		return err
	}
	u.head, u.tail = form.Bytes()[:headLength], form.Bytes()[headLength:]
	u.contentType = w.FormDataContentType()
	return nil
}

// length returns the length of the body.
func (u *upload) length() int64 { return int64(len(u.head)) + u.size + int64(len(u.tail)) }

// await runs do, which calls the caller's reader, in a separate goroutine and waits until
// do returns or ctx ends. In the latter case the goroutine is abandoned.
func await(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errReaderExited
		defer func() { done <- err }()
		defer recoverReader(&err)
		err = do()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
