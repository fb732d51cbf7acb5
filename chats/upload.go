package chats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"net/textproto"
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

	mu      chanMutex
	touched bool        // the content has been read from
	readErr error       // the content's own error
	current *uploadBody // of the current attempt
}

// chanMutex is held while the caller's reader reads, however long that takes. It is a
// channel, because waiting for a sync.Mutex stops the clock of testing/synctest.
type chanMutex chan struct{}

func (m chanMutex) Lock()   { m <- struct{}{} }
func (m chanMutex) Unlock() { <-m }

// newUpload returns the upload of a file. Content of known size is streamed; other content
// is read into memory first, up to the limit.
func newUpload(name string, content io.Reader) (*upload, error) {
	if content == nil {
		return nil, badArgument("file content", "is nil")
	}
	if isDirectory(content) {
		return nil, badArgument("file content", "is a directory")
	}
	u := &upload{content: content, mu: make(chanMutex, 1)}
	if err := u.measure(); err != nil {
		return nil, err
	}
	switch {
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

func (u *upload) measure() error {
	if seeker, ok := u.content.(io.Seeker); ok {
		if start, err := seeker.Seek(0, io.SeekCurrent); err == nil { // a pipe is an *os.File too, and fails here
			return u.measureSeeker(seeker, start)
		}
	}
	if sized, ok := u.content.(interface{ Len() int }); ok {
		u.size = max(int64(sized.Len()), 0)
		return nil
	}
	whole, err := io.ReadAll(io.LimitReader(u.content, MaxFileSize+1))
	if err != nil {
		return fileError("reading", err)
	}
	reader := bytes.NewReader(whole)
	u.content, u.seeker, u.size = reader, reader, reader.Size()
	return nil
}

// fileError returns the error of a reader that failed before anything was sent.
func fileError(doing string, err error) error {
	return &Error{Operation: OpSendFileToChat, cause: fmt.Errorf("%s the file: %w", doing, err)}
}

func (u *upload) measureSeeker(seeker io.Seeker, start int64) error {
	end, err := seeker.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = seeker.Seek(start, io.SeekStart)
	}
	if err != nil {
		return fileError("measuring", err)
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

// attach sets the upload as the body of a request.
func (u *upload) attach(req *http.Request) {
	req.ContentLength = int64(len(u.head)) + u.size + int64(len(u.tail))
	req.GetBody = u.open
}

func (u *upload) rewindable() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seeker != nil || !u.touched
}

var (
	errNotRewindable = errors.New("the file's reader cannot be rewound")
	errAttemptOver   = errors.New("the attempt has ended")
)

// open returns the body from its start. The previous body cannot be read any more.
func (u *upload) open() (io.ReadCloser, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.touched {
		if u.seeker == nil {
			return nil, errNotRewindable
		}
		if _, err := u.seeker.Seek(u.start, io.SeekStart); err != nil {
			return nil, fmt.Errorf("rewinding the file: %w", err)
		}
	}
	u.readErr = nil // a failure of a previous attempt does not count
	u.current = &uploadBody{upload: u, reader: io.MultiReader(
		bytes.NewReader(u.head), &contentReader{u, u.size}, bytes.NewReader(u.tail),
	)}
	return u.current, nil
}

// stop ends the attempt. net/http may read a body even after it has returned a response;
// once stop has returned, the caller's reader is not read any more. stop returns the
// reader's error, if it failed.
func (u *upload) stop() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.current = nil
	return u.readErr
}

// uploadBody is the body of one attempt. It hides the WriteTo of a MultiReader, which would
// allocate a buffer for every file.
type uploadBody struct {
	upload *upload
	reader io.Reader
}

func (b *uploadBody) Read(p []byte) (int, error) {
	b.upload.mu.Lock()
	defer b.upload.mu.Unlock()
	if b.upload.current != b {
		return 0, errAttemptOver
	}
	return b.reader.Read(p)
}

func (b *uploadBody) Close() error { return nil }

// contentReader reads exactly as many bytes of the content as were measured.
type contentReader struct {
	upload    *upload
	remaining int64
}

func (r *contentReader) Read(p []byte) (int, error) {
	if r.remaining == 0 {
		return 0, io.EOF
	}
	r.upload.touched = true
	n, err := r.upload.content.Read(p[:min(int64(len(p)), r.remaining)])
	r.remaining -= int64(n)
	if err == io.EOF && r.remaining > 0 {
		err = fmt.Errorf("the file ended %d bytes short of its size: %w", r.remaining, io.ErrUnexpectedEOF)
	}
	if err != nil && err != io.EOF {
		r.upload.readErr = err
	}
	return n, err
}
