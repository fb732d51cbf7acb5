package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

var (
	errNotRewindable = errors.New("the file's reader cannot be rewound")
	errFileGrew      = errors.New("the file is longer than its size")
)

// body is the body of one attempt. A separate goroutine writes it into a pipe, so that a
// caller's reader that blocks delays nothing else.
type body struct {
	*io.PipeReader
	pipe   *io.PipeWriter
	form   *Form
	detach func() bool // detaches the body from the attempt's context

	start     sync.Once
	done      chan struct{} // closed when the goroutine has ended
	readErr   error         // the error of the caller's reader; valid after done
	whole     bool          // the transport has read everything; valid after done
	tailBegun atomic.Bool   // if not set, the server cannot have the whole form

	mu      sync.Mutex
	closed  bool // no Read or Seek of the caller's reader may begin
	reading bool
}

// Open returns the body of an attempt, from its start. Call [Form.Stop] when the attempt has
// ended.
func (f *Form) Open(ctx context.Context) (io.ReadCloser, error) {
	if !f.Rewindable() {
		return nil, errNotRewindable
	}
	r, w := io.Pipe()
	b := &body{PipeReader: r, form: f, done: make(chan struct{})}
	b.detach = context.AfterFunc(ctx, func() { _ = w.CloseWithError(context.Cause(ctx)) })
	b.pipe, f.body = w, b
	return b, nil
}

// Rewindable reports whether the body can be opened again. The previous attempt must have been
// stopped.
func (f *Form) Rewindable() bool {
	if f.body != nil && f.leftBehind() {
		return false
	}
	return f.seeker != nil || !f.touched
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	b.start.Do(func() { go b.write(b.pipe) })
	return b.PipeReader.Read(p)
}

func (b *body) write(w *io.PipeWriter) {
	defer close(b.done)
	b.readErr = errReaderExited // in case writeForm does not return
	defer func() { _ = w.CloseWithError(b.readErr) }()
	err := b.writeForm(w)
	if b.readErr == errReaderExited { //nolint:errorlint // our own error, never wrapped
		b.readErr = nil
	}
	_ = w.CloseWithError(err)
}

func (b *body) writeForm(w *io.PipeWriter) error {
	err := b.rewind()
	if err == nil {
		_, err = w.Write(b.form.head)
	}
	if err == nil {
		err = b.writeContent(w)
	}
	if err == nil {
		b.tailBegun.Store(true)
		_, err = w.Write(b.form.tail)
		b.whole = err == nil
	}
	return err
}

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// writeContent writes the caller's content and tries to read one more byte. If the content is
// longer than measured, the form must not be completed.
func (b *body) writeContent(w io.Writer) error {
	buf, _ := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for remaining, ended := b.form.size, false; !ended; {
		part := buf[:min(int64(len(buf)), remaining+1)]
		n, err := b.readContent(part)
		remaining -= int64(n)
		if ended = err == io.EOF && remaining == 0; ended { //nolint:errorlint // a reader ends with a bare io.EOF
			err = nil
		}
		switch {
		case err == io.EOF: //nolint:errorlint // as above
			err = fmt.Errorf("the file ended %d bytes short of its size: %w", remaining, io.ErrUnexpectedEOF)
		case remaining < 0:
			err = errFileGrew
		}
		if err != nil {
			return b.readFailed(err)
		}
		if n > 0 {
			if _, err := w.Write(part[:n]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *body) readContent(p []byte) (n int, err error) {
	err = b.use(func() error {
		b.form.touched = true
		n, err = b.form.content.Read(p)
		return err
	})
	return n, err
}

// readFailed records the error of the caller's reader and returns it wrapped by fmt, which calls
// its Error method safely. That method may panic.
func (b *body) readFailed(err error) error {
	if err == nil || err == errAttemptOver { //nolint:errorlint // our own error, never wrapped
		return err
	}
	b.readErr = fmt.Errorf("reading the file: %w", err)
	return b.readErr
}

// rewind seeks to the start of the content, unless nothing has been read. Like a Read, a Seek may
// block.
func (b *body) rewind() error {
	if !b.form.touched {
		return nil
	}
	return b.readFailed(b.use(func() error {
		if _, err := b.form.seeker.Seek(b.form.start, io.SeekStart); err != nil {
			return fmt.Errorf("rewinding the file: %w", err)
		}
		return nil
	}))
}

// Unsent reports whether the server certainly has not posted the file, because the end of the form
// was never read.
func (f *Form) Unsent() bool { return f != nil && !f.body.tailBegun.Load() }

// Whole reports whether the transport has read the whole form.
func (f *Form) Whole() bool { return f == nil || !f.leftBehind() && f.body.whole }
