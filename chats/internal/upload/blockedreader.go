package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
)

var (
	errAttemptOver  = errors.New("the attempt has ended")
	errReaderExited = errors.New("the reader ended its goroutine")
)

// await runs do, which calls the caller's reader, in a separate goroutine and waits until
// do returns or ctx is done. In the latter case the goroutine is abandoned.
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

func recoverReader(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("the reader panicked: %v", v)
	}
}

// use calls do, which uses the caller's reader, unless the attempt has ended.
func (b *body) use(do func() error) (err error) {
	if !b.setReading(true) {
		return errAttemptOver
	}
	defer b.setReading(false)
	defer recoverReader(&err)
	return do()
}

func (b *body) setReading(reading bool) (ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = reading && !b.closed
	return !b.closed
}

// Stop ends the attempt. net/http may read a body even after it has returned a response. Once
// Stop has returned, no new Read or Seek of the caller's reader begins. Stop waits for one in
// progress until ctx is done, and then abandons it. It returns the reader's error, if there is one.
func (f *Form) Stop(ctx context.Context) error {
	if f == nil {
		return nil
	}
	b := f.body
	b.detach()
	b.start.Do(func() { close(b.done) })
	b.mu.Lock()
	b.closed = true
	mayBlock := b.reading && !f.inMemory
	b.mu.Unlock()
	_ = b.pipe.CloseWithError(errAttemptOver)
	if mayBlock {
		select {
		case <-b.done:
		case <-ctx.Done():
		}
	} else {
		<-b.done
	}
	if f.leftBehind() {
		return nil
	}
	return b.readErr
}

// leftBehind reports whether the goroutine of the last attempt is still running, because a Read or
// Seek of the caller's reader blocks.
func (f *Form) leftBehind() bool {
	select {
	case <-f.body.done:
		return false
	default:
		return true
	}
}

// contextReader begins no Read once ctx is done.
type contextReader struct {
	ctx     context.Context //nolint:containedctx // the reader's interface has none
	content io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.content.Read(p)
}

// contextSeeker begins no Seek once ctx is done, because an earlier one may have been abandoned.
type contextSeeker struct {
	ctx    context.Context //nolint:containedctx // the seeker's interface has none
	seeker io.Seeker
}

func (s contextSeeker) Seek(offset int64, whence int) (int64, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.seeker.Seek(offset, whence)
}
