// Package upload streams a caller's file as a multipart form. The caller's reader may block,
// panic or fail, and may have more or less content than its size suggests.
package upload

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/textproto"
	"reflect"
	"strings"
)

// Form is a multipart form around the caller's reader. It is streamed with a known length: head,
// content, tail. A nil Form stands for a request without a file.
type Form struct {
	head, tail  []byte
	contentType string
	content     io.Reader
	size        int64
	seeker      io.Seeker // nil if the content cannot be rewound
	start       int64     // initial position of the seeker
	inMemory    bool      // a Read of the content cannot block

	touched bool  // the content has been read from
	body    *body // of the last attempt
}

// InvalidError reports content that cannot be sent.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return e.Reason }

// New returns the form for a file. Content of known size is streamed; other content is first read
// into memory, up to maxSize. If ctx is done during that, a blocked reader is abandoned, and no
// further Read of it begins. The error is an [InvalidError], or the reason why the content could
// not be read.
func New(ctx context.Context, name string, content io.Reader, maxSize int64) (*Form, error) {
	if v := reflect.ValueOf(content); !v.IsValid() || (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil() {
		return nil, &InvalidError{"is nil"}
	}
	f := &Form{content: &checkedReader{content: content}}
	err := await(ctx, func() error { return f.measure(ctx, content, maxSize) })
	switch {
	case err != nil:
		return nil, err
	case f.size == 0:
		return nil, &InvalidError{"is empty"}
	case f.size > maxSize:
		return nil, &InvalidError{fmt.Sprintf("larger than %d bytes, the maximum that Market accepts", maxSize)}
	}
	return f, f.frame(name)
}

// ContentType returns the content type of the form.
func (f *Form) ContentType() string { return f.contentType }

// Size returns the size of the content.
func (f *Form) Size() int64 { return f.size }

// Length returns the length of the form.
func (f *Form) Length() int64 { return int64(len(f.head)) + f.size + int64(len(f.tail)) }

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

func (f *Form) measure(ctx context.Context, content io.Reader, maxSize int64) error {
	if isDirectory(content) {
		return &InvalidError{"is a directory"}
	}
	switch content.(type) {
	case *bytes.Reader, *bytes.Buffer, *strings.Reader:
		f.inMemory = true
	}
	if seeker, ok := content.(io.Seeker); ok {
		if start, err := seeker.Seek(0, io.SeekCurrent); err == nil { // a pipe is an *os.File too, and fails here
			return f.measureSeeker(ctx, seeker, start)
		}
	}
	if sized, ok := content.(interface{ Len() int }); ok {
		f.size = max(int64(sized.Len()), 0)
		return nil
	}
	var whole bytes.Buffer
	if _, err := whole.ReadFrom(io.LimitReader(contextReader{ctx, f.content}, maxSize+1)); err != nil {
		return fmt.Errorf("reading the file: %w", err)
	}
	reader := bytes.NewReader(whole.Bytes())
	f.content, f.seeker, f.size, f.inMemory = reader, reader, reader.Size(), true
	return nil
}

func (f *Form) measureSeeker(ctx context.Context, seeker io.Seeker, start int64) error {
	guarded := contextSeeker{ctx, seeker}
	end, err := guarded.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = guarded.Seek(start, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("measuring the file: %w", err)
	}
	f.seeker, f.start, f.size = seeker, start, max(end-start, 0)
	return nil
}

// frame builds the form around an empty part and splits it where the content goes.
func (f *Form) frame(name string) error {
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
	f.head, f.tail = form.Bytes()[:headLength], form.Bytes()[headLength:]
	f.contentType = w.FormDataContentType()
	return nil
}
